"""Which repositories a short image name may stand for: Docker Hub, or what the user's registries.conf says.

Only the file that CONTAINERS_REGISTRIES_CONF names counts here: a distribution's own file has aliases that would turn
`centos` into another image than the one that Docker and a manifest's author mean. See containers-registries.conf(5),
`unqualified-search-registries` and `aliases`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from podstead.node.images.references import InvalidReference, Reference, is_loopback, parse
from podstead.node.runtime.base import PullFailed

_parsed: tuple[tuple[str, int, int], dict[str, object]] | None = None


def candidates(reference: Reference, text: str) -> list[Reference]:
    """Return what to try, in order; `text` is `reference` as it was written. Raises PullFailed on a bad file."""
    settings = _settings() if reference.short else {}
    aliases, searched = settings.get("aliases"), settings.get("unqualified-search-registries")
    if not isinstance(aliases, dict) and not isinstance(searched, list):
        return [reference]
    repository = text.partition("@")[0]
    head, slash, last = repository.rpartition("/")
    repository = f"{head}{slash}{last.partition(':')[0]}"
    alias = aliases.get(repository) if isinstance(aliases, dict) else None
    names = [str(alias)] if alias else [f"{domain}/{repository}" for domain in searched or ()]  # type: ignore[attr-defined]
    try:
        found = [parse(name) for name in names]
    except InvalidReference as error:
        path = os.environ["CONTAINERS_REGISTRIES_CONF"]
        raise PullFailed(f"{path} turns {repository!r} into a bad name: {error}", "ErrImagePull") from error
    return [replace(name, tag=reference.tag, digest=reference.digest) for name in found] or [reference]


def local_candidates(reference: Reference, text: str) -> list[Reference]:
    """Return under which names a local image may be meant, in order: also Docker's, and podman's localhost/NAME."""
    found = candidates(reference, text)
    if reference.short:
        path = reference.path.removeprefix("library/")
        found += [reference, replace(reference, domain="localhost", path=path)]
    return found


def transport_options(domain: str, certificates: Path | None = None) -> list[str]:
    """Return skopeo's options for TLS: a registry of this machine is not verified unless there are certificates to
    verify it by, in `certificates` or in one of the certs.d directories that skopeo reads itself.
    """
    if certificates is not None:
        return ["--src-cert-dir", str(certificates)]
    return ["--src-tls-verify=false"] if is_loopback(domain) and not _has_authority(domain) else []


def _has_authority(domain: str) -> bool:
    own = Path("~/.config/containers/certs.d").expanduser()
    for directory in (own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")):
        if (directory / domain).is_dir():  # the first one counts
            return any((directory / domain).glob("*.crt"))
    return False


def has_auth_file() -> bool:
    """Whether the user of this node has logged in to some registry (containers-auth.json(5))."""
    if name := os.environ.get("REGISTRY_AUTH_FILE"):
        return Path(name).exists()
    docker = os.environ.get("DOCKER_CONFIG") or "~/.docker"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    files = (f"{runtime}/containers/auth.json", f"{runtime}/auth.json", "~/.config/containers/auth.json")
    return any(Path(file).expanduser().exists() for file in (*files, f"{docker}/config.json", "~/.dockercfg"))


def _settings() -> dict[str, object]:
    global _parsed
    name = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    if not name:
        return {}
    import tomllib

    try:
        status = Path(name).stat()
        stamp = (name, status.st_mtime_ns, status.st_size)
        if _parsed is None or _parsed[0] != stamp:
            _parsed = (stamp, tomllib.loads(Path(name).read_text()))
    except OSError as error:
        raise PullFailed(
            f"cannot read {name}: {error.strerror} (CONTAINERS_REGISTRIES_CONF names it)", "ErrImagePull"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PullFailed(f"{name} is not a registries.conf: {error} (correct it)", "ErrImagePull") from error
    return _parsed[1]
