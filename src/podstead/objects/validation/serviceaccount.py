"""Validation of service accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.objects.errors import FieldError
from podstead.objects.validation import objectmeta

Object = Mapping[str, Any]


def validate(account: Object) -> list[FieldError]:
    return objectmeta.validate(account, namespaced=True)


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return [*objectmeta.validate_update(new, old), *validate(new)]
