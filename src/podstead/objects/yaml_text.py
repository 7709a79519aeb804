"""YAML as Kubernetes reads and writes it: the JSON values of one document, by the rules of its library (go-yaml 2).

Where YAML libraries differ, this follows Kubernetes: a date stays text, `1:30` too, `0777` is octal, `yes` is true, and
`1.0` becomes 1, since Go writes it so in JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from podstead.objects.decoding import MAX_DEPTH
from podstead.objects.errors import StatusError, bad_request

if TYPE_CHECKING:
    import yaml

MEDIA_TYPE = "application/yaml"

_MAX_ALIASED = 200_000
"""How many values aliases may repeat in all: what a bomb of aliases would make is refused before it is made."""

_TAG = "tag:yaml.org,2002:"
_MERGE: Any = object()  # the key of a mapping whose fields become those of the mapping around it
_CONSTANTS: dict[str, Any] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
for _words, _value in (("true on yes y", True), ("false off no n", False)):
    for _word in _words.split():
        _CONSTANTS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_INTEGER = 80  # characters: 64 bits in binary, sign, prefix and some zeros
_EXACT_UP_TO = 1e21  # from here on Go writes a float with an exponent


class _YamlError(ValueError):
    """Why a text is not what is wanted; the place is added by whoever knows it."""


def resolve(text: str) -> Any:
    """Return what a plain (unquoted) scalar stands for. Raises ValueError for .inf and .nan, which JSON has not."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    number = text.replace("_", "")
    if len(number) <= _LONGEST_INTEGER and _INTEGER.fullmatch(number):
        value = _integer(number)
        if -(1 << 63) <= value < 1 << 64:
            return value
    if _FLOAT.fullmatch(number) and math.isfinite(float(number)):
        return _float(number)
    if _INFINITE.fullmatch(text):
        raise _YamlError(f"{text} is no value that JSON has")
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits[0] == "0" else 10)
    value = int(digits, base)
    return -value if text[0] == "-" else value


def _float(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT_UP_TO else value


def decode_yaml(body: bytes, *, kind: str = "", duplicates: bool = True) -> tuple[Any, list[str]]:
    """Return what a body says as JSON values, and the path of every field that it says twice (spec.containers[0].name).

    The last of duplicates counts. `kind` is what the body should be, for the message. Raises a 400 for what is not
    YAML, for a second document, and for aliases that would repeat too much.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader()
    try:
        for event in yaml.parse(body, Loader=loader):
            reader.take(event)
    except _YamlError as error:
        raise _refused(kind, f"yaml: {reader.where()}{error}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _refused(kind, f"yaml: {line}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise _refused(kind, f"yaml: {str(error).splitlines()[0]}") from error
    return reader.value, list(dict.fromkeys(reader.duplicates)) if duplicates else []


def _refused(kind: str, problem: str) -> StatusError:
    wanted = f" (must be of type {kind})" if kind else ""
    return bad_request(f"the object provided is unrecognized{wanted}: couldn't get version/kind; {problem}")


class _Level:
    """A list or mapping that is being read. `size` counts the values in it and `depth` the levels below it."""

    __slots__ = ("anchor", "depth", "key", "merged", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: Any = None
        """What the next value belongs to, _MERGE for a mapping's `<<`, None where a key comes next."""
        self.merged: list[dict[str, Any]] = []
        self.size = 1
        self.depth = 0


class _Anchored(NamedTuple):
    """What an alias repeats."""

    value: Any
    size: int
    depth: int


class _Reader:
    """Makes a value of the parser's events, without recursion."""

    def __init__(self) -> None:
        self.value: Any = None
        self.duplicates: list[str] = []
        self._levels: list[_Level] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._documents = 0
        self._aliased = 0
        self._line = 0
        self._handlers: dict[str, Callable[[Any], None]] = {
            "ScalarEvent": self._scalar,
            "MappingStartEvent": lambda event: self._begin(event, {}),
            "SequenceStartEvent": lambda event: self._begin(event, []),
            "MappingEndEvent": self._end,
            "SequenceEndEvent": self._end,
            "AliasEvent": self._alias,
            "DocumentStartEvent": self._document,
        }

    def where(self) -> str:
        return f"line {self._line}: "

    def take(self, event: yaml.Event) -> None:
        """Take the parser's next event. Raises _YamlError."""
        if event.start_mark is not None:
            self._line = event.start_mark.line + 1
        handler = self._handlers.get(type(event).__name__)
        if handler is not None:
            handler(event)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _YamlError("only one document is taken in a request")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        value: Any = event.value
        if event.tag:
            value = _tagged(event.tag, event.value)
        elif event.implicit[0]:
            value = resolve(event.value)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._put(value, 1, 0, is_merge=event.implicit[0] and event.value == "<<")

    def _begin(self, event: yaml.CollectionStartEvent, value: dict[str, Any] | list[Any]) -> None:
        if len(self._levels) >= MAX_DEPTH:
            raise _YamlError("exceeded max depth")
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            raise _YamlError(f"unsupported tag {event.tag}")
        if self._levels and isinstance(self._levels[-1].value, dict) and self._levels[-1].key is None:
            raise _YamlError("a list or mapping cannot be a key")
        self._levels.append(_Level(value, event.anchor))
        if event.anchor:
            self._anchors[event.anchor] = None  # an alias within would never end

    def _end(self, _: yaml.Event) -> None:
        level = self._levels.pop()
        value: Any = level.value
        for other in level.merged:
            value = {**other, **value}
        if level.anchor:
            self._anchors[level.anchor] = _Anchored(value, level.size, level.depth)
        self._put(value, level.size, level.depth)

    def _alias(self, event: yaml.AliasEvent) -> None:
        anchor = event.anchor or ""
        if anchor not in self._anchors:
            raise _YamlError(f"unknown anchor '{anchor}' referenced")
        found = self._anchors[anchor]
        if found is None:
            raise _YamlError(f"anchor '{anchor}' value contains itself")
        self._aliased += found.size
        if self._aliased > _MAX_ALIASED or len(self._levels) + found.depth > MAX_DEPTH:
            raise _YamlError("document contains excessive aliasing")
        self._put(msgspec.json.decode(msgspec.json.encode(found.value)), found.size, found.depth)

    def _put(self, value: Any, size: int, depth: int, *, is_merge: bool = False) -> None:
        if not self._levels:
            self.value = value
            return
        level = self._levels[-1]
        level.size += size
        level.depth = max(level.depth, depth + 1)
        if isinstance(level.value, list):
            level.value.append(value)
        elif level.key is None:
            level.key = _MERGE if is_merge else _key(value)
        else:
            if level.key is _MERGE:
                level.merged += _mappings(value)
            elif level.key in level.value:
                self.duplicates.append(self._path())
            if level.key is not _MERGE:
                level.value[level.key] = value
            level.key = None

    def _path(self) -> str:
        parts = (f"[{len(at.value)}]" if isinstance(at.value, list) else f".{at.key}" for at in self._levels)
        return "".join(parts).removeprefix(".")


def _mappings(value: Any) -> list[dict[str, Any]]:
    """What a `<<` adds, the most important first."""
    others = value if isinstance(value, list) else [value]
    if not all(isinstance(other, dict) for other in others):
        raise _YamlError("map merge requires map or sequence of maps as the value")
    return others


def _key(value: Any) -> str:
    """A key as text, which is all that JSON has."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _YamlError("unsupported map key of type: null")


def _tagged(tag: str, text: str) -> Any:
    """A scalar whose type is written before it: `!!str 5`."""
    kind = tag.removeprefix(_TAG)
    if kind in ("str", "!"):
        return text
    if kind == "binary":
        return _binary(text)
    value = resolve(text)
    fits = {"int": type(value) is int, "bool": type(value) is bool, "null": value is None}
    fits["float"] = type(value) in (int, float)
    if not fits.get(kind, kind == "timestamp"):
        raise _YamlError(f"cannot decode `{text}` as a {tag}" if kind in fits else f"unsupported tag {tag}")
    return text if kind == "timestamp" else value


def _binary(text: str) -> str:
    from base64 import b64decode

    try:
        return b64decode("".join(text.split()), validate=True).decode()
    except ValueError as error:
        raise _YamlError("!!binary value contains invalid base64 data, or what is no UTF-8") from error


def encode_yaml(value: Any) -> bytes:
    """Return JSON values as a YAML document that any reader takes for the same: keys sorted, lines of text as lines."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = "|" if "\n" in data else '"' if _looks_like_something_else(data) else None
        return dumper.represent_scalar(f"{_TAG}str", data, style=style)

    Dumper.add_representer(str, text)
    written: bytes = yaml.dump(
        value,
        Dumper=Dumper,
        encoding="utf-8",
        allow_unicode=True,
        default_flow_style=False,
        sort_keys=True,
        width=1 << 20,
    )
    return written


def _looks_like_something_else(text: str) -> bool:
    """Whether some reader would take an unquoted text for a number, a time, a truth value or null."""
    try:
        return resolve(text) != text or text[:1] in "+-.0123456789" or text in ("<<", "=")
    except ValueError:
        return True
