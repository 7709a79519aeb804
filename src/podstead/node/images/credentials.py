"""Registries' credentials: which of them a reference asks for, and how pull secrets spell them.

The rules are those of Kubernetes' documentation, "Images", "Interpretation of config.json": a registry is a host with
globs in its labels, maybe a port, maybe a path; what names the longest path is tried first, then in the given order.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from podstead.node.images.references import DEFAULT_DOMAIN, Reference
from podstead.node.runtime.base import RegistryAuth

_HUB = "index.docker.io"
_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


class BadPullSecret(ValueError):
    """A secret holds no credentials that can be read; the message says what is wrong with it."""


def from_secret(secret: Mapping[str, Any], origin: str) -> list[RegistryAuth]:
    """Return the credentials in a Secret object of the two types for them, as `origin`'s; none in one of another type.

    Raises BadPullSecret.
    """
    key = _KEYS.get(secret.get("type") or "")
    if key is None:
        return []
    try:
        content = json.loads(base64.b64decode((secret.get("data") or {})[key]))
        entries = content.get("auths") or {} if key == ".dockerconfigjson" else content
        return [_entry(registry, entry, origin) for registry, entry in entries.items()]
    except KeyError:
        raise BadPullSecret(f"it has no {key}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise BadPullSecret(f"its {key} cannot be read: {error}") from error


def _entry(registry: str, entry: Mapping[str, Any], origin: str) -> RegistryAuth:
    user, password = entry.get("username") or "", entry.get("password") or ""
    if encoded := entry.get("auth") or "":
        try:
            user, colon, password = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise ValueError(f"auth of {registry} is not base64 of USER:PASSWORD")
    return RegistryAuth(registry, user, password, origin)


def matching(auths: Iterable[RegistryAuth], reference: Reference) -> list[RegistryAuth]:
    """Return what may open `reference`'s repository, in the order to try; each pair of name and password once."""
    found = [(_normalized(auth.registry), auth) for auth in auths]
    fitting = [(key, auth) for key, auth in found if _matches(key, reference)]
    fitting.sort(key=lambda pair: (_path_length(pair[0]), pair[0]), reverse=True)
    once: dict[tuple[str, str], RegistryAuth] = {}
    for _, auth in fitting:
        once.setdefault((auth.username, auth.password), auth)
    return list(once.values())


def auth_file(auth: RegistryAuth, reference: Reference) -> str:
    """Return the content of an auth file (containers-auth.json(5)) with `auth` for `reference`'s registry."""
    encoded = base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()
    return json.dumps({"auths": {reference.domain: {"auth": encoded}}})


def _normalized(registry: str) -> str:
    """HOST[:PORT][/PATH] of what may be written as a URL, with the API's version as its first component."""
    name = registry.removeprefix("https://").removeprefix("http://")
    host, _, path = name.partition("/")
    if path in ("v1", "v2"):
        path = ""
    path = path.removeprefix("v1/").removeprefix("v2/").rstrip("/")
    return f"{host}/{path}" if path else host


def _path_length(key: str) -> int:
    return len(key.partition("/")[2])


def _matches(key: str, reference: Reference) -> bool:
    host, slash, path = key.partition("/")
    if slash and not f"{reference.path}/".startswith(f"{path}/"):
        return False
    if reference.domain == DEFAULT_DOMAIN and host in (_HUB, DEFAULT_DOMAIN):
        return True
    if host.startswith("["):  # an IPv6 address, no glob
        return host == reference.domain
    labels, port = _split(host)
    wanted, wanted_port = _split(reference.domain)
    return port == wanted_port and len(labels) == len(wanted) and all(map(fnmatchcase, wanted, labels))


def _split(host: str) -> tuple[Sequence[str], str]:
    name, _, port = host.partition(":")
    return name.split("."), port
