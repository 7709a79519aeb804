"""Kubernetes' definitions and resources, read from the generated file and decoded one by one as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

DATA = Path(__file__).with_name("data")
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = META + "ObjectMeta"
LIST_META = META + "ListMeta"
DELETE_OPTIONS = META + "DeleteOptions"
STATUS = META + "Status"
PATCH = META + "Patch"


class Field(msgspec.Struct, frozen=True):
    """One field of a definition.

    `type` is written as Go would: string, bool, int32, int64, float64, bytes, any, object (any JSON object), []T,
    map[string]T, or #DEFINITION. `list_type` is atomic, set, map or "" (atomic); `patch_strategy` holds merge, replace
    and retainKeys as strategic merge patch understands them.
    """

    name: str
    type: str
    required: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    patch_strategy: tuple[str, ...] = ()
    patch_merge_key: str = ""

    @property
    def element(self) -> str:
        """The type within all lists and maps: `[]map[string]T` has T."""
        return element(self.type)

    @property
    def reference(self) -> str | None:
        """The definition that the field, or what is in its list or map, refers to."""
        return reference(self.type)


class Definition(msgspec.Struct, frozen=True):
    """One definition: a struct with fields, or where `leaf` is set a type of its own (quantity, time, any ...)."""

    name: str
    fields: dict[str, Field]
    kinds: tuple[tuple[str, str, str], ...] = ()
    """(group, version, kind) of each object that this is."""
    map_type: str = ""
    leaf: str = ""

    @property
    def struct(self) -> str:
        """The struct's bare name: PodSpec."""
        return self.name.rpartition(".")[2]


def element(type_: str) -> str:
    """The type within all lists and maps."""
    while type_.startswith(("[]", "map[string]")):
        type_ = type_[2:] if type_[0] == "[" else type_[11:]
    return type_


def reference(type_: str) -> str | None:
    """The definition that a type, or what is in its list or map, refers to."""
    inner = element(type_)
    return inner[1:] if inner[0] == "#" else None


def go_type(type_: str) -> str:
    """A type as Go prints it: `[]v1.Container`."""
    if type_.startswith("[]"):
        return "[]" + go_type(type_[2:])
    if type_.startswith("map[string]"):
        return "map[string]" + go_type(type_[11:])
    if type_[0] == "#":
        return ".".join(type_.rsplit(".", 2)[-2:])
    return {"bytes": "[]uint8", "object": "map[string]interface {}", "any": "interface {}"}.get(type_, type_)


@cache
def _lines() -> dict[str, str]:
    """Each entry of the generated file, still encoded, by its key."""
    entries: dict[str, str] = {}
    for line in (DATA / "schema.tsv").read_text(encoding="ascii").splitlines():
        key, tab, value = line.partition("\t")
        if tab:
            entries[key] = value
    return entries


@cache
def definition(name: str) -> Definition:
    """Return a definition by its full name (io.k8s.api.core.v1.Pod). Raises KeyError."""
    raw = msgspec.json.decode(_lines()[name])
    if "type" in raw:
        return Definition(name, {}, leaf=raw["type"])
    required = raw.get("required", ())
    fields = {field: _field(field, value, field in required) for field, value in raw["fields"].items()}
    return Definition(name, fields, tuple(map(tuple, raw.get("kinds", ()))), raw.get("map-type", ""))


def _field(name: str, value: Any, required: bool) -> Field:
    if isinstance(value, str):
        return Field(name, value, required)
    type_, extensions = value
    strategy = extensions.get("patch-strategy", "")
    return Field(
        name,
        type_,
        required,
        extensions.get("list-type", ""),
        tuple(extensions.get("list-map-keys", ())),
        extensions.get("map-type", ""),
        tuple(strategy.split(",")) if strategy else (),
        extensions.get("patch-merge-key", ""),
    )


@cache
def _names_by_kind() -> dict[tuple[str, str, str], str]:
    """The definition's name of each (group, version, kind): the first of those that say so."""
    names: dict[tuple[str, str, str], str] = {}
    for name, line in _lines().items():
        _, found, rest = line.partition('"kinds":')
        if found:
            kinds = msgspec.json.decode(rest[: rest.index("]]") + 2])
            for group, version, kind in kinds:
                names.setdefault((group, version, kind), name)
    return names


@cache
def definition_of(group: str, version: str, kind: str) -> Definition:
    """Return the definition of a kind. Raises KeyError."""
    name = _names_by_kind().get((group, version, kind))
    if name is None:
        raise KeyError(f"{group}/{version} {kind}" if group else f"{version} {kind}")
    return definition(name)


def reachable(name: str) -> frozenset[str]:
    """All definitions that a definition refers to, directly or through others, itself included."""
    found: set[str] = set()
    wanted = [name]
    while wanted:
        each = wanted.pop()
        if each not in found:
            found.add(each)
            wanted.extend(filter(None, (field.reference for field in definition(each).fields.values())))
    return frozenset(found)


def definition_names() -> Iterator[str]:
    """All definitions' names, sorted."""
    return (name for name in _lines() if name[0] != "@")


def resource_entries() -> Iterator[tuple[str, str, str]]:
    """(group, version, plural) of every resource of Kubernetes, served here or not."""
    for name in _lines():
        if name[0] == "@":
            group, version, plural = name[1:].split("/")
            yield group, version, plural


@cache
def resource_entry(group: str, version: str, plural: str) -> dict[str, Any]:
    """Return a resource's kind, namespaced, verbs and subresources as generated. Raises KeyError."""
    entry: dict[str, Any] = msgspec.json.decode(_lines()[f"@{group}/{version}/{plural}"])
    return entry


@cache
def reviewed() -> dict[str, Any]:
    """The reviewed file: defaults, enums, short names and categories, each with its source."""
    content: dict[str, Any] = msgspec.json.decode((DATA / "reviewed.json").read_bytes())
    return content


def split_path(path: str) -> tuple[str, str]:
    """Split a reviewed path `DEFINITION.field` into both."""
    name, _, field = path.rpartition(".")
    return name, field


@cache
def enums() -> dict[str, dict[str, tuple[str, ...]]]:
    """Allowed values by definition and field."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for entry in reviewed()["enums"]:
        name, field = split_path(entry["path"])
        found.setdefault(name, {})[field] = tuple(entry["values"])
    return found


def enum(name: str, field: str) -> tuple[str, ...]:
    """The values that a field allows, in Kubernetes' order of messages (sorted), or () where any is."""
    return enums().get(name, {}).get(field, ())


class DefaultValue(msgspec.Struct, frozen=True):
    """A plain default. `zero`: an explicit "" or 0 counts as left out, since the field is no pointer in Go."""

    field: str
    value: Any
    zero: bool


@cache
def default_values() -> dict[str, list[DefaultValue]]:
    """Plain defaults by definition."""
    found: dict[str, list[DefaultValue]] = {}
    for entry in reviewed()["defaults"]:
        name, field = split_path(entry["path"])
        found.setdefault(name, []).append(DefaultValue(field, entry["value"], entry.get("zero", False)))
    return found


def plain_defaults(name: str) -> dict[str, Any]:
    """A definition's plain defaults by field."""
    return {each.field: each.value for each in default_values().get(name, ())}
