"""What a status must have for everybody who reads it: its lists are kept by name or by type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError

_REQUIRED = {
    "conditions": ("type", "status"),
    "containerStatuses": ("name",),
    "initContainerStatuses": ("name",),
    "ephemeralContainerStatuses": ("name",),
    "addresses": ("type", "address"),
}


def validate_keys(status: Mapping[str, Any] | None) -> Iterator[FieldError]:
    """Yield an error for each missing part of an entry that the schema of core/v1 says is required."""
    for field, parts in _REQUIRED.items():
        for index, entry in enumerate((status or {}).get(field) or ()):
            yield from (meta.required(f"status.{field}[{index}].{part}") for part in parts if not entry.get(part))
