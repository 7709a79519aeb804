"""Secrets: the write-only stringData becomes data; selectable by type."""

from __future__ import annotations

import base64
from typing import ClassVar

from podstead.registry.strategies.base import Object, Strategy, text


class SecretStrategy(Strategy):
    """A Secret's `stringData` overrides `data` key by key and is never stored or shown."""

    extra_field_labels: ClassVar[frozenset[str]] = frozenset({"type"})

    def prepare_for_create(self, new: Object) -> None:
        merge_string_data(new)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        merge_string_data(new)
        # A type left out means the one it has, which cannot change.
        new["type"] = new.get("type") or old.get("type", "Opaque")

    def fields(self, obj: Object) -> dict[str, str]:
        return {"type": text(obj.get("type"))}


def merge_string_data(secret: Object) -> None:
    plain = secret.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}
