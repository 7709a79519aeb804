"""Check a decoded object against its definition: drop what is unknown, refuse wrong types, print values canonically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from podstead.objects.definitions import Definition, definition, go_type
from podstead.objects.leaves import EXACT, LEAVES, ZEROS, Leaf, MismatchError

# Where a value stands: (the place above it, segment, name of the innermost struct). A segment is a struct's field
# (str), a list's index (int) or a map's key (a tuple of it). Paths are spelled out only for what is reported.
Where = tuple[Any, Any, str]
Check = Callable[[Any, Where, "Problems"], Any]

MAX_PROBLEMS = 100  # as many as Kubernetes reports


class WrongValueError(Exception):
    """A value that no field may hold, with the text that Go's decoder gives for it."""


class Problems:
    """Unknown fields that were found and dropped, as paths (spec.containers[0].foo), each once."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}

    def add(self, where: Where, name: str) -> None:
        if len(self.unknown) < MAX_PROBLEMS:
            self.unknown[spell((where, name, ""))] = None


def spell(where: Where) -> str:
    """A path with indexes and map keys: spec.containers[0].foo."""
    parts: list[str] = []
    place: Where | None = where
    while place is not None:
        segment = place[1]
        if isinstance(segment, int):
            parts.append(f"[{segment}]")
        elif segment is not None:
            parts.append("." + (segment[0] if isinstance(segment, tuple) else segment))
        place = place[0]
    return "".join(reversed(parts)).removeprefix(".")


def _wrong(error: MismatchError, where: Where) -> WrongValueError:
    """Word a mismatch as encoding/json does: the struct, then the fields that lead there, without indexes or keys."""
    fields: list[str] = []
    place: Where | None = where
    while place is not None:
        if isinstance(place[1], str):
            fields.append(place[1])
        place = place[0]
    target = f"struct field {where[2]}.{'.'.join(reversed(fields))}" if fields else "value"
    return WrongValueError(f"json: cannot unmarshal {error.found} into Go {target} of type {error.wanted}")


class _Empty:
    """What an empty list or map is taken for: nothing, as Go's `omitempty` does."""


_EMPTY = _Empty()


def _leaf_check(leaf: Leaf) -> Check:
    def check(value: Any, where: Where, problems: Problems) -> Any:
        try:
            return leaf(value)
        except MismatchError as error:
            raise _wrong(error, where) from None
        except ValueError as error:
            raise WrongValueError(str(error)) from None

    return check


def _list_check(type_: str) -> Check:
    inner = type_[2:]
    exact = EXACT.get(inner)
    check_item = _check_for(inner)
    wanted = go_type(type_)

    def check(value: Any, where: Where, problems: Problems) -> Any:
        if type(value) is not list:
            raise _wrong(MismatchError(value, wanted), where)
        if not value:
            return _EMPTY
        items = []
        struct = where[2]
        for index, item in enumerate(value):
            if type(item) is exact:
                items.append(item)
            elif item is None:
                items.append(_zero(inner))
            else:
                checked = check_item(item, (where, index, struct), problems)
                items.append(item.copy() if checked is _EMPTY else checked)
        return items

    return check


def _map_check(type_: str) -> Check:
    inner = type_[11:]
    exact = EXACT.get(inner)
    check_item = _check_for(inner)
    wanted = go_type(type_)

    def check(value: Any, where: Where, problems: Problems) -> Any:
        if type(value) is not dict:
            raise _wrong(MismatchError(value, wanted), where)
        if not value:
            return _EMPTY
        items = {}
        struct = where[2]
        for key, item in value.items():
            if type(item) is exact:
                items[key] = item
            elif item is None:
                items[key] = _zero(inner)
            else:
                checked = check_item(item, (where, (key,), struct), problems)
                items[key] = item.copy() if checked is _EMPTY else checked
        return items

    return check


def _zero(type_: str) -> Any:
    if type_.startswith("[]"):
        return []
    if type_.startswith("map[") or type_ == "object":
        return {}
    if type_[0] == "#":
        leaf = definition(type_[1:]).leaf
        return _zero(leaf) if leaf else {}
    return ZEROS.get(type_)


def _struct_check(target: Definition) -> Check:
    struct = target.struct
    wanted = go_type("#" + target.name)
    # Filled on the first use, so that a definition that no object uses is never decoded.
    plans: dict[str, tuple[type | None, Check, bool]] = {}
    fields = target.fields

    def plan(name: str) -> tuple[type | None, Check, bool] | None:
        field = fields.get(name)
        if field is None:
            return None
        plans[name] = EXACT.get(field.type), _check_for(field.type), field.required
        return plans[name]

    def check(value: Any, where: Where, problems: Problems) -> Any:
        if type(value) is not dict:
            raise _wrong(MismatchError(value, wanted), where)
        kept = {}
        for name, item in value.items():
            how = plans.get(name) or plan(name)
            if how is None:
                problems.add(where, name)
            elif type(item) is how[0]:
                kept[name] = item
            elif item is not None:
                checked = how[1](item, (where, name, struct), problems)
                if checked is not _EMPTY:
                    kept[name] = checked
                elif how[2]:
                    kept[name] = item.copy()
        return kept

    return check


@cache
def _check_for(type_: str) -> Check:
    if type_.startswith("[]"):
        return _list_check(type_)
    if type_.startswith("map[string]"):
        return _map_check(type_)
    if type_[0] != "#":
        return _leaf_check(LEAVES[type_])
    resolved: list[Check] = []

    def check(value: Any, where: Where, problems: Problems) -> Any:
        if not resolved:
            resolved.append(checker(type_[1:]))
        return resolved[0](value, where, problems)

    return check


@cache
def checker(name: str) -> Check:
    """Return the check of a definition: takes a value, where it stands and a Problems; returns a checked copy."""
    target = definition(name)
    return _leaf_check(LEAVES[target.leaf]) if target.leaf else _struct_check(target)


def check_value(name: str, value: Any) -> tuple[Any, Sequence[str]]:
    """Return a checked copy of a value, and the paths of the unknown fields that were dropped.

    Raises WrongValueError for the first value of a wrong type or form. Nulls and empty optional lists and maps are
    dropped, as Go's decoder and `omitempty` would. Free-form values (RawExtension, JSON, FieldsV1) are not copied.
    """
    problems = Problems()
    checked = checker(name)(value, (None, None, definition(name).struct), problems)
    return checked, tuple(problems.unknown)
