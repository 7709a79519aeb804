"""Validation of secrets. What is in `data` is never shown."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta
from podstead.objects.validation.configmap import MAX_SIZE, decoded_size, immutable_data_errors

Object = Mapping[str, Any]

SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def validate(secret: Object) -> list[FieldError]:
    return [*objectmeta.validate(secret, namespaced=True), *_data(secret), *_typed(secret)]


def validate_update(new: Object, old: Object) -> list[FieldError]:
    errors = objectmeta.validate_update(new, old)
    kind = new.get("type") or old.get("type") or ""
    if kind != (old.get("type") or ""):
        errors.append(meta.invalid("type", kind, meta.IMMUTABLE))
    if old.get("immutable"):
        errors += immutable_data_errors(new, old, ("data",))
    return [*errors, *validate(new)]


def _data(secret: Object) -> Iterator[FieldError]:
    data = secret.get("data") or {}
    for key in data:
        yield from (meta.invalid(f"data[{key}]", key, problem) for problem in meta.data_key_problems(key))
    if sum(map(decoded_size, data.values())) > MAX_SIZE:
        yield meta.longer_than("data", MAX_SIZE)


def _typed(secret: Object) -> Iterator[FieldError]:
    """What a secret of a known type has to hold (kubernetes.io, "Secrets", types)."""
    data, kind = secret.get("data") or {}, secret.get("type") or ""
    if kind == SERVICE_ACCOUNT_TOKEN:
        annotations = (secret.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(SERVICE_ACCOUNT_NAME):
            yield meta.required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME}]")
    elif kind in _JSON_KEYS:
        key = _JSON_KEYS[kind]
        if key not in data:
            yield meta.required(f"data[{key}]")
        elif not _is_json_object(data[key]):
            yield meta.invalid(f"data[{key}]", "<secret contents redacted>", "must be a JSON object")
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            yield from (meta.required(f"data[{key}]") for key in ("username", "password"))
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            yield meta.required("data[ssh-privatekey]")
    elif kind == "kubernetes.io/tls":
        yield from (meta.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data)


def _is_json_object(encoded: str) -> bool:
    try:
        return isinstance(json.loads(base64.b64decode(encoded, validate=True)), dict)
    except (binascii.Error, ValueError, RecursionError):
        return False
