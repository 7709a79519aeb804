"""Validation of cluster trust bundles (KEP-3257)."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.projected import signer_name

Object = Mapping[str, Any]

_MAX_BYTES = 1 << 20
_BLOCK = re.compile(r"^-----BEGIN ([^-\n]*)-----[ \t\r]*\n(.*?)^-----END \1-----", re.MULTILINE | re.DOTALL)
_OMITTED = "<value omitted>"
_PATH = "spec.trustBundle"


def validate(bundle: Object) -> Iterator[FieldError]:
    spec = bundle.get("spec") or {}
    signer = spec.get("signerName") or ""
    yield from _name((bundle.get("metadata") or {}).get("name") or "", signer)
    if signer:
        yield from signer_name(signer, "spec.signerName")
    yield from _certificates(spec.get("trustBundle") or "")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if after.get("trustBundle") != before.get("trustBundle"):
        yield from _certificates(after.get("trustBundle") or "")
    if (after.get("signerName") or "") != (before.get("signerName") or ""):
        yield meta.invalid("spec.signerName", after.get("signerName") or "", "field is immutable")


def _name(name: str, signer: str) -> Iterator[FieldError]:
    """A signer's bundle is named after it; others have no colon."""
    path, prefix = "metadata.name", f"{signer.replace('/', ':')}:" if signer else ""
    if not name:
        return
    if not name.startswith(prefix):
        yield meta.invalid(path, name, f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")
    elif not signer and ":" in name:
        yield meta.invalid(path, name, 'ClusterTrustBundle without signer name must not have ":" in its name')
    else:
        for problem in meta.dns_subdomain_problems(name.removeprefix(prefix)):
            yield meta.invalid(path, name, problem)


def _certificates(text: str) -> Iterator[FieldError]:
    if len(text.encode()) > _MAX_BYTES:
        yield meta.longer_than(_PATH, _MAX_BYTES)
        return
    anchors: dict[bytes, list[int]] = {}
    wrong = False
    for index, block in enumerate(_BLOCK.finditer(text)):
        problem, content = _anchor(block[1], block[2])
        if problem:
            wrong = True
            yield meta.invalid(_PATH, _OMITTED, f"entry {index} {problem}")
        anchors.setdefault(content, []).append(index)
    if wrong:
        return
    if not anchors:
        yield meta.invalid(_PATH, _OMITTED, "at least one trust anchor must be provided")
    for indices in anchors.values():
        if len(indices) > 1:
            yield meta.invalid(_PATH, _OMITTED, f"duplicate trust anchor (indices [{' '.join(map(str, indices))}])")


def _anchor(kind: str, body: str) -> tuple[str, bytes]:
    """Return what is wrong with one block, and its bytes."""
    from cryptography import x509

    if kind != "CERTIFICATE":
        return f"has bad block type: {kind}", b""
    if ":" in body:
        return "has PEM block headers", b""
    try:
        content = b64decode(body)
        constraints = x509.load_der_x509_certificate(content).extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return "does not have the CA bit set", b""
    except ValueError:
        return "does not parse as X.509", b""
    return "" if constraints.value.ca else "does not have the CA bit set", content
