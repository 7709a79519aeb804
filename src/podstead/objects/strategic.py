"""Strategic merge patch: a merge patch that knows the schema, merges lists by key and obeys directives in the patch.

$patch: replace | delete           in a map, or in an item of a list that is merged
$retainKeys: [FIELD, ...]          all other fields of the map go
$setElementOrder/FIELD: [...]      the order of a list that is merged: its keys, or its values where it holds text
$deleteFromPrimitiveList/FIELD     values that leave a list

Which lists are merged, and by what, is the schema's `patch_strategy` and `patch_merge_key`; all others are replaced.
Source: Kubernetes community documentation, "Strategic Merge Patch" and "Preserve order in strategic merge patch".
Where that page and the API server differ, the page is followed: `$patch: delete` takes the field away as null does, and
`$patch: replace` in a map that is new keeps the map. Nothing given is changed; what a patch leaves alone is shared.
Failures are StatusErrors: 400 for a patch that cannot be understood, 422 for lists of lists.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podstead.objects.definitions import Definition, definition
from podstead.objects.errors import StatusError, bad_request

Object = Mapping[str, Any]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder"
_REMOVE = "$deleteFromPrimitiveList"
_MAX_DEPTH = 200
_GONE = object()
"""What is left of a value whose patch says `$patch: delete`."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a field is patched. `type` is written as in `definitions.Field`, `key` is the merge key of a list of maps."""

    type: str = "any"
    strategy: str = ""
    key: str = ""


def strategic_merge_patch(target: Definition, obj: Object, patch: Any) -> dict[str, Any]:
    """Return `obj`, which is a `target`, with the patch (decoded JSON) applied."""
    if not isinstance(patch, dict):
        kind = {"list": "array", "str": "string", "bool": "bool", "NoneType": "null"}.get(
            type(patch).__name__, "number"
        )
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    if _deeper_than(patch, _MAX_DEPTH):
        raise bad_request(f"error decoding patch: objects are nested more than {_MAX_DEPTH} deep")
    merged = _merge_map(obj, patch, f"#{target.name}")
    return {} if merged is _GONE else merged


def go_text(value: Any) -> str:
    """Print decoded JSON as Go's %v does, which is how the API's messages show patches: `map[a:[1 2]]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


# -- maps


def _merge_map(original: Object, patch: Object, type_: str) -> Any:
    """Return the merged map, or _GONE."""
    if _PATCH in patch:
        return plain(patch)
    merged = _retained(original, patch)
    for name in _names(patch):
        rule = _rule(type_, name)
        if f"{_ORDER}/{name}" in patch:
            _merge_ordered(merged, name, patch, rule)
        elif name in patch:
            _put(merged, name, _merge_value(merged.get(name), patch[name], rule))
        if f"{_REMOVE}/{name}" in patch and name in merged:
            merged[name] = _without(merged[name], patch[f"{_REMOVE}/{name}"])
    return merged


def _names(patch: Object) -> Iterable[str]:
    """Return the fields that a patch says something of, each once."""
    names: dict[str, None] = {}
    for key in patch:
        if key.startswith((_ORDER, _REMOVE)):
            directive, slash, name = key.partition("/")
            if not slash or not name or directive not in (_ORDER, _REMOVE):
                raise _bad_order() if key.startswith(_ORDER) else _bad_removal()
            names[name] = None
        elif key != _RETAIN:
            names[key] = None
    return names


def _rule(type_: str, name: str) -> _Rule:
    if type_.startswith("map[string]"):
        return _Rule(type_[len("map[string]") :])
    field = definition(type_[1:]).fields.get(name) if type_[:1] == "#" else None
    if field is None:
        return _Rule()
    strategy = next((each for each in field.patch_strategy if each != "retainKeys"), "")
    return _Rule(field.type, strategy, field.patch_merge_key)


def _retained(original: Object, patch: Object) -> dict[str, Any]:
    """Return a copy of `original` with the fields that `$retainKeys` lists, or all where the patch does not have it."""
    if _RETAIN not in patch:
        return dict(original)
    listed = patch[_RETAIN]
    if not isinstance(listed, list):
        raise _bad_retained()
    retained = {name for name in listed if isinstance(name, str)}
    for key, value in patch.items():
        if value is not None and key not in retained and not key.startswith((_RETAIN, _ORDER, _REMOVE)):
            raise _bad_retained()
    return {key: value for key, value in original.items() if key in retained}


def _merge_value(original: Any, value: Any, rule: _Rule) -> Any:
    """Return what `original` (None: there is none) becomes, or _GONE."""
    if value is None:
        return _GONE
    if isinstance(value, dict) and isinstance(original, dict) and rule.strategy != "replace":
        return _merge_map(original, value, rule.type)
    if isinstance(value, list) and isinstance(original, list) and rule.strategy == "merge":
        return _merge_list(original, value, rule, None)
    return plain(value)


def _put(merged: dict[str, Any], name: str, value: Any) -> None:
    if value is _GONE:
        merged.pop(name, None)
    else:
        merged[name] = value


def plain(value: Any) -> Any:
    """Return a patch's value as it is taken where there is nothing to merge it with: without directives and nulls.

    _GONE stands for a map that is deleted, or an item of a list that is only there for its directive.
    """
    if isinstance(value, dict):
        return _plain_map(value)
    if isinstance(value, list):
        # An item with a directive speaks of the list, or of an item that is not there.
        return [plain(item) for item in value if not (isinstance(item, dict) and _directive(item))]
    return value


def _plain_map(value: Object) -> Any:
    if _directive(value) == "delete":
        return _GONE
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if item is not None and not key.startswith((_PATCH, _RETAIN, _ORDER, _REMOVE)):
            _put(kept, key, plain(item))
    return kept


def _directive(value: Object) -> str:
    """Return `replace`, `delete` or "" (none); raises StatusError 400 for any other."""
    if _PATCH not in value:
        return ""
    directive = value[_PATCH]
    if directive not in ("replace", "delete"):
        raise bad_request(f"unknown patch type: {go_text(directive)} in map: {go_text(value)}")
    return str(directive)


# -- lists


def _merge_ordered(merged: dict[str, Any], name: str, patch: Object, rule: _Rule) -> None:
    """Merge and order a field for which the patch has `$setElementOrder`."""
    order, original, changes = patch[f"{_ORDER}/{name}"], merged.get(name, ()), patch.get(name, ())
    for given, where in ((order, patch), (original, merged), (changes, patch)):
        if given != () and not isinstance(given, list):
            raise bad_request(f"expected a []interface {{}}, but received a {_go_type(given)} in map: {go_text(where)}")
    if rule.strategy != "merge":
        raise _bad_order()
    if name in merged or name in patch:
        merged[name] = _merge_list(original, changes, rule, order)


def _merge_list(original: Sequence[Any], changes: Sequence[Any], rule: _Rule, order: Sequence[Any] | None) -> list[Any]:
    """Merge lists whose strategy is merge. The order is that of `order` (else of the patch), then that of the list."""
    if not _of_maps(original, changes, order or ()):
        if rule.key and (changes or order):
            raise bad_request(
                f"expected a map[string]interface {{}}, but received a {_go_type([*changes, *(order or ())][0])}"
            )
        both = {_identity(item): item for item in (*original, *changes)}
        _check_order(changes, order, _identity)
        return _ordered(list(both.values()), changes if order is None else order, original, _identity)
    if not rule.key:
        raise bad_request("cannot merge lists without merge key for type struct")

    def key(item: Object) -> Hashable:
        return _identity(item.get(rule.key))

    for item in (*changes, *(order or ())):
        if rule.key not in item and _directive_of_item(item) != "replace":
            raise bad_request(f"map: {go_text(item)} does not contain declared merge key: {rule.key}")
    said = [item for item in changes if not _directive_of_item(item)]
    _check_order(said, order, key)
    merged = _merge_items(original, changes, said, rule, key)
    return _ordered(merged, said if order is None else order, original, key)


def _merge_items(
    original: Sequence[Any], changes: Sequence[Any], said: Sequence[Any], rule: _Rule, key: Callable[[Any], Hashable]
) -> list[Any]:
    """Merge lists of maps: `said` are those of `changes` that hold no directive."""
    directives = {(_directive_of_item(item), key(item)) for item in changes}
    if any(directive == "replace" for directive, _ in directives):
        return plain(list(said))  # type: ignore[no-any-return]
    merged = [item for item in original if ("delete", key(item)) not in directives]
    places: dict[Hashable, int] = {}
    for place, item in enumerate(merged):
        places.setdefault(key(item), place)
    for item in said:
        place = places.setdefault(key(item), len(merged))
        if place == len(merged):
            merged.append(plain(item))
        else:
            merged[place] = _merge_map(merged[place], item, rule.type[len("[]") :])
    return merged


def _directive_of_item(item: Object) -> str:
    if item.get(_PATCH) == "merge":
        raise bad_request("merging lists cannot yet be specified in the patch")
    return _directive(item)


def _without(original: Any, removed: Any) -> list[Any]:
    if not isinstance(removed, list) or not isinstance(original, list) or _of_maps(original, removed):
        raise _bad_removal()
    gone = {_identity(item) for item in removed}
    return [item for item in original if _identity(item) not in gone]


def _ordered(
    merged: Iterable[Any], order: Iterable[Any], live: Iterable[Any], key: Callable[[Any], Hashable]
) -> list[Any]:
    """Put items that `order` has in its order, and the others in between where the live list had them."""
    ranks, places = _first(order, key), _first(live, key)
    last = len(places)
    listed: list[Any] = []
    others: list[Any] = []
    for item in merged:
        (listed if key(item) in ranks else others).append(item)
    listed.sort(key=lambda item: ranks[key(item)])
    others.sort(key=lambda item: places.get(key(item), last))
    result: list[Any] = []
    waiting = iter(others)
    other = next(waiting, None)
    for item in listed:
        before = places.get(key(item), -1)
        while other is not None and places.get(key(other), last) < before:
            result.append(other)
            other = next(waiting, None)
        result.append(item)
    return result + ([] if other is None else [other, *waiting])


def _first(items: Iterable[Any], key: Callable[[Any], Hashable]) -> dict[Hashable, int]:
    """Return the place at which each key is first."""
    places: dict[Hashable, int] = {}
    for place, item in enumerate(items):
        places.setdefault(key(item), place)
    return places


def _check_order(said: Sequence[Any], order: Sequence[Any] | None, key: Callable[[Any], Hashable]) -> None:
    """Raise StatusError 400 where the patch's own list has items that `order` does not have, or in another order."""
    if not order:
        return
    following = iter(order)
    for item in said:
        if not any(key(each) == key(item) for each in following):
            in_patch, wanted = go_text(list(said)), go_text(list(order))
            raise bad_request(f"The order in patch list:\n{in_patch}\n doesn't match {_ORDER} list:\n{wanted}\n")


def _of_maps(*lists: Sequence[Any]) -> bool:
    """Tell whether lists hold maps rather than values; raises StatusError where they mix types, or hold lists."""
    kinds = {_go_type(item) for each in lists for item in each}
    if "[]interface {}" in kinds:
        raise StatusError(422, "Invalid", "lists of lists are not supported", {})
    if len(kinds) > 1:
        raise bad_request(f"list element types are not identical: {', '.join(sorted(kinds))}")
    return "map[string]interface {}" in kinds


def _identity(value: Any) -> Hashable:
    """Return what tells a value from another: true is not 1."""
    if isinstance(value, dict | list):
        raise bad_request(f"a list cannot be merged by a key that is a {_go_type(value)}")
    return type(value), value


def _go_type(value: Any) -> str:
    names = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64"}
    return "<nil>" if value is None else names.get(type(value), "float64")


# -- what is wrong with a patch


def _bad_order() -> StatusError:
    return bad_request("invalid patch format of setElementOrder list")


def _bad_removal() -> StatusError:
    return bad_request("invalid patch format of primitive list")


def _bad_retained() -> StatusError:
    return bad_request("invalid patch format of retainKeys")


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [item for each in level for item in _items(each)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
