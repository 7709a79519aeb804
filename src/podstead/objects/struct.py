"""The base of typed, read-only views of objects."""

from __future__ import annotations

import msgspec


class Struct(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Read-only, named as the API names its fields, empty fields left out on the way back.

    Nothing is required: what is missing is for validation to name, and a status may have been patched to anything.
    A field with a `default_factory` is written though it is empty.
    """
