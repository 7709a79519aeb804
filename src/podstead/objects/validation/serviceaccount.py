"""Validation of service accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

Object = Mapping[str, Any]


def validate(account: Object) -> list[FieldError]:
    return meta.validate_object_meta(account.get("metadata") or {}, namespaced=True)


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return meta.validate_object_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
