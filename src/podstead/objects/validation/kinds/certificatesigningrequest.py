"""Validation of certificate signing requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import each

Object = Mapping[str, Any]


def validate(request: Object) -> Iterator[FieldError]:
    spec = request.get("spec") or {}
    if not spec.get("usages"):
        yield meta.required("spec.usages")
    if not spec.get("request"):
        yield meta.invalid("spec.request", "", "PEM block type must be CERTIFICATE REQUEST")
    signer = spec.get("signerName") or ""
    if not signer:
        yield meta.required("spec.signerName")
    elif "/" not in signer:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield meta.invalid("spec.signerName", signer, detail)
    else:
        yield from each("spec.signerName", signer, meta.dns_subdomain_problems(signer.partition("/")[0]))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        yield meta.invalid(
            "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
        )
