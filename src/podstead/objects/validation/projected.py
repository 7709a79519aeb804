"""Validation of volumes that show API objects as files: secret, configMap, downwardAPI, and projected of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each, file_mode, ids, local_path, needs, one_of
from podstead.objects.validation.env import VOLUME_FIELDS, field_ref, resource_field_ref
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
Errors = Iterator[FieldError]

KEY_TYPES = ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096")
_MIN_TOKEN_SECONDS = 10 * 60
_MAX_TOKEN_SECONDS = 1 << 32
_MIN_CERTIFICATE_SECONDS = 3600
_MAX_CERTIFICATE_SECONDS = 91 * 86400
_SIGNER_LENGTH = 571


def secret(source: Object, path: str) -> Errors:
    yield from needs(source, path, "secretName")
    yield from _defaults(source, path)
    yield from _items(source, path)


def config_map(source: Object, path: str) -> Errors:
    yield from needs(source, path, "name")
    yield from _defaults(source, path)
    yield from _items(source, path)


def downward_api(source: Object, path: str) -> Errors:
    yield from _defaults(source, path)
    for file in source.get("items") or ():
        # The volume is named, not the item.
        yield from _file(file, path)


def projected(source: Object, path: str) -> Errors:
    yield from _defaults(source, path)
    taken: set[str] = set()
    for index, entry in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        given = [kind for kind in _PROJECTIONS if entry.get(kind) is not None]
        for kind in given:
            yield from _PROJECTIONS[kind](entry[kind], f"{at}.{kind}", path)
            yield from _conflicts(kind, entry[kind], taken, path)
        if len(given) > 1:
            yield meta.forbidden(at, "may not specify more than 1 volume type per source")


def _defaults(source: Object, path: str) -> Errors:
    yield from file_mode(source, "defaultMode", path)
    yield from ids(source, ("defaultUser",), path)


def _items(source: Object, path: str) -> Errors:
    for index, item in enumerate(source.get("items") or ()):
        at = f"{path}.items[{index}]"
        yield from needs(item, at, "key", "path")
        yield from local_path(item.get("path") or "", f"{at}.path")
        yield from file_mode(item, "mode", at)
        yield from ids(item, ("user",), at)


def _file(file: Object, path: str) -> Errors:
    yield from needs(file, path, "path")
    yield from local_path(file.get("path") or "", f"{path}.path")
    field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
    if field is not None:
        yield from field_ref(field, VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            yield meta.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        yield from resource_field_ref(resource, f"{path}.resourceFieldRef", in_volume=True)
    else:
        yield meta.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from file_mode(file, "mode", path)
    yield from ids(file, ("user",), path)


def _named(source: Object, path: str, _volume: str) -> Errors:
    yield from needs(source, path, "name")
    yield from _items(source, path)


def _downward(source: Object, path: str, _volume: str) -> Errors:
    for file in source.get("items") or ():
        yield from _file(file, path)


def _token(source: Object, path: str, volume: str) -> Errors:
    seconds = source.get("expirationSeconds") or 0
    if seconds < _MIN_TOKEN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
        yield meta.invalid(f"{path}.expirationSeconds", seconds, detail)
    if seconds > _MAX_TOKEN_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
        yield meta.invalid(f"{path}.expirationSeconds", seconds, detail)
    # The path is named as if it were the volume's.
    target = source.get("path") or ""
    yield from local_path(target, f"{volume}.path") if target else (meta.required(f"{volume}.path"),)
    yield from ids(source, ("user",), path)


def _trust_bundle(source: Object, path: str, _volume: str) -> Errors:
    """Certificates to trust, by a bundle's name or by signer (KEP-3257)."""
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        yield meta.invalid(path, dict(source), "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield meta.required(f"{path}.name", "must be a valid object name")
        for problem in _bundle_name_problems(name):
            yield meta.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {problem}")
        if source.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            yield meta.invalid(f"{path}.labelSelector", source["labelSelector"], detail)
    elif signer is not None:
        if not signer:
            yield meta.required(f"{path}.signerName", "must be a valid signer name")
        yield from signer_name(signer, f"{path}.signerName")
        yield from label_selector(source.get("labelSelector"), f"{path}.labelSelector")
    else:
        yield meta.required(path, "either name or signerName must be specified")
    yield from needs(source, path, "path")
    yield from local_path(source.get("path") or "", f"{path}.path")
    yield from ids(source, ("user",), path)


def _bundle_name_problems(name: str) -> list[str]:
    """`domain:path:name` for a signer's bundle, else a plain name."""
    return meta.dns_subdomain_problems(name.rpartition(":")[2])


def signer_name(signer: str, path: str) -> Errors:
    """`domain.example/path`: what signs certificates."""
    if not signer:
        yield meta.required(path)
        return
    domain, slash, name = signer.partition("/")
    if not slash or "/" in name:
        yield meta.invalid(
            path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        )
        return
    for problem in meta.dns_subdomain_problems(domain):
        yield meta.invalid(path, domain, f"validating label {meta.quoted(domain)}: {problem}")
    if "." not in domain:
        yield meta.invalid(path, signer, "should be a domain with at least two segments separated by dots")
    yield from each(
        path, name, [f"validating label {meta.quoted(name)}: {p}" for p in meta.dns_subdomain_problems(name)]
    )
    if len(signer.encode()) > _SIGNER_LENGTH:
        yield meta.longer_than(path, _SIGNER_LENGTH)


def _pod_certificate(source: Object, path: str, _volume: str) -> Errors:
    """A key and its certificate for the pod (KEP-4317)."""
    yield from signer_name(source.get("signerName") or "", f"{path}.signerName")
    yield from one_of(source.get("keyType"), KEY_TYPES, f"{path}.keyType")
    seconds = source.get("maxExpirationSeconds")
    if seconds is not None and seconds < _MIN_CERTIFICATE_SECONDS:
        detail = f"if provided, maxExpirationSeconds must be >= {_MIN_CERTIFICATE_SECONDS}"
        yield meta.invalid(f"{path}.maxExpirationSeconds", seconds, detail)
    if seconds is not None and seconds > _MAX_CERTIFICATE_SECONDS:
        detail = f"if provided, maxExpirationSeconds must be <= {_MAX_CERTIFICATE_SECONDS}"
        yield meta.invalid(f"{path}.maxExpirationSeconds", seconds, detail)
    targets = {field: source.get(field) or "" for field in _CERTIFICATE_PATHS}
    for field, target in targets.items():
        yield from local_path(target, f"{path}.{field}")
    if not any(targets.values()):
        detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        yield meta.required(path, detail)
    yield from ids(source, ("user",), path)


_CERTIFICATE_PATHS = ("credentialBundlePath", "keyPath", "certificateChainPath")
_PROJECTIONS: dict[str, Callable[[Object, str, str], Errors]] = {
    "secret": _named,
    "configMap": _named,
    "downwardAPI": _downward,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _trust_bundle,
    "podCertificate": _pod_certificate,
}


def _conflicts(kind: str, source: Object, taken: set[str], path: str) -> Errors:
    """Paths of a projected volume that two of its sources would write; where the token goes is not looked at."""
    targets: list[str]
    if kind == "podCertificate":
        targets = [source.get(field) or "" for field in _CERTIFICATE_PATHS]
    elif kind == "clusterTrustBundle":
        targets = [source.get("path") or ""]
    else:
        targets = [item.get("path") or "" for item in source.get("items") or ()]
    for target in filter(None, targets):
        if target in taken:
            named = source.get("name") or "" if kind in ("secret", "configMap") else target
            yield meta.invalid(path, named, "conflicting duplicate paths")
        taken.add(target)
