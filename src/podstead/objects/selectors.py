"""Label and field selectors: parsing as the API parses them, and matching.

Grammar: kubernetes.io, "Labels and Selectors" and "Field Selectors". Parsing raises ValueError with the words that the
API answers with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from podstead.objects import meta


class Operator(Enum):
    """What a requirement asks of a label; values are the text forms."""

    IN = "in"
    NOT_IN = "notin"
    EQUALS = "="
    NOT_EQUALS = "!="
    EXISTS = "exists"
    NOT_EXISTS = "!"
    GREATER = "gt"
    LESS = "lt"


_BINARY = "in, notin, =, ==, !=, gt, lt"
_SYMBOLS = {
    "=": Operator.EQUALS,
    "==": Operator.EQUALS,
    "!=": Operator.NOT_EQUALS,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}
_WORDS = {"in": Operator.IN, "notin": Operator.NOT_IN}
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}\Z")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` is empty for EXISTS and NOT_EXISTS."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN | Operator.EQUALS:
                return value is not None and value in self.values
            case Operator.NOT_IN | Operator.NOT_EQUALS:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.NOT_EXISTS:
                return value is None
        number, bound = _integer(value), _integer(next(iter(self.values)))
        if number is None or bound is None:
            return False
        return number > bound if self.operator is Operator.GREATER else number < bound

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.NOT_EXISTS:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator.value} ({values})"
            case Operator.GREATER:
                return f"{self.key}>{values}"
            case Operator.LESS:
                return f"{self.key}<{values}"
        return f"{self.key}{self.operator.value}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements hold. An empty selector matches everything."""

    requirements: tuple[Requirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.requirements

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms hold. A term is (path, `=` or `!=`, value); a field that is not there is empty."""

    requirements: tuple[tuple[str, str, str], ...] = ()

    @property
    def empty(self) -> bool:
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(path, "") == value) is (op == "=") for path, op, value in self.requirements)


@lru_cache(maxsize=256)
def parse_label_selector(text: str) -> LabelSelector:
    """Parse `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises ValueError."""
    return LabelSelector(tuple(sorted(_Parser(text).requirements(), key=lambda requirement: requirement.key)))


def label_selector_from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return what a metav1.LabelSelector object selects: matchLabels and matchExpressions together.

    Raises ValueError. None has to be decided by the caller (its meaning differs by field); here it selects everything.
    """
    selector = selector or {}
    requirements = [
        _requirement(key, Operator.IN, [value]) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    operators = {
        "In": Operator.IN,
        "NotIn": Operator.NOT_IN,
        "Exists": Operator.EXISTS,
        "DoesNotExist": Operator.NOT_EXISTS,
    }
    for expression in selector.get("matchExpressions") or ():
        operator = operators.get(expression.get("operator", ""))
        if operator is None:
            raise ValueError(f"{meta.quoted(expression.get('operator', ''))} is not a valid label selector operator")
        requirements.append(_requirement(expression.get("key", ""), operator, expression.get("values") or ()))
    return LabelSelector(tuple(requirements))


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """Return a metav1.LabelSelector object in the words of a query, sorted by key. Raises ValueError."""
    exact = (selector or {}).get("matchLabels") or {}
    others = label_selector_from_object(selector).requirements[len(exact) :]
    equal = [Requirement(key, Operator.EQUALS, frozenset((value,))) for key, value in exact.items()]
    return str(LabelSelector(tuple(sorted((*equal, *others), key=lambda requirement: requirement.key))))


def parse_field_selector(text: str) -> FieldSelector:
    r"""Parse `metadata.name=x,status.phase!=Running`; `\,`, `\=` and `\\` stand for themselves. Raises ValueError."""
    terms: list[tuple[str, str, str]] = []
    for part in _split_terms(text):
        if part:
            found = re.match(r"(?s)((?:[^\\!=]|\\.|!(?!=)|\\\Z)*)(!=|==|=)(.*)\Z", part)
            if found is None:
                raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
            path, op, value = found.groups()
            terms.append((path, "!=" if op == "!=" else "=", _unescape(value)))
    return FieldSelector(tuple(terms))


def escape_field_value(value: str) -> str:
    """Escape a value for use in a field selector."""
    return re.sub(r"([\\,=])", r"\\\1", value)


def _split_terms(text: str) -> list[str]:
    return re.findall(r"(?s)(?:\A|,)((?:[^\\,]|\\.|\\\Z)*)", text)


def _unescape(value: str) -> str:
    out: list[str] = []
    rest = iter(value)
    for character in rest:
        if character == "\\":
            escaped = next(rest, "")
            if escaped not in ("\\", ",", "="):
                raise ValueError(f"invalid field selector: invalid escape sequence: \\{escaped}")
            out.append(escaped)
        elif character in ",=":
            raise ValueError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            out.append(character)
    return "".join(out)


def _integer(value: str | None) -> int | None:
    """The value as a signed 64-bit number, None if it is not one."""
    if value is None or not _INTEGER.match(value):
        return None
    number = int(value)
    return number if -(2**63) <= number < 2**63 else None


def _requirement(key: str, operator: Operator, values: Sequence[str]) -> Requirement:
    """Check and build one. Raises ValueError."""
    _check_key(key, "key")
    if operator in (Operator.IN, Operator.NOT_IN) and not values:
        raise ValueError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (Operator.EXISTS, Operator.NOT_EXISTS) and values:
        shown = meta.quoted(list(values))
        raise ValueError(f"values: Invalid value: {shown}: values set must be empty for exists and does not exist")
    for index, value in enumerate(values):
        if operator in (Operator.GREATER, Operator.LESS) and _integer(value) is None:
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise ValueError(f"values[{index}]: Invalid value: {meta.quoted(value)}: {detail}")
        problems = meta.label_value_problems(value)
        if problems:
            raise ValueError(f"values[{index}][{key}]: Invalid value: {meta.quoted(value)}: {'; '.join(problems)}")
    return Requirement(key, operator, frozenset(values))


def _check_key(key: str, path: str) -> None:
    problems = meta.label_key_problems(key)
    if problems:
        raise ValueError(f"{path}: Invalid value: {meta.quoted(key)}: {'; '.join(problems)}")


_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")


class _Parser:
    """Recursive descent over the tokens of a label selector. The empty token is the end."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [*_TOKEN.findall(text), ""]
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._peek():
            if not (_is_word(self._peek()) or self._peek() == "!"):
                raise ValueError(f"found '{self._peek()}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            token = self._next()
            if not token:
                break
            if token != ",":
                raise ValueError(f"found '{token}', expected: ',' or 'end of string'")
            if not (_is_word(self._peek()) or self._peek() == "!"):
                raise ValueError(f"found '{self._peek()}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        token = self._next()
        negated = token == "!"
        key = self._next() if negated else token
        if not _is_word(key):
            raise ValueError(f"found '{key}', expected: identifier")
        # A key is checked before its operator, where no field is known yet: the API says <nil> for the path.
        _check_key(key, "<nil>")
        if negated:
            return _requirement(key, Operator.NOT_EXISTS, ())
        if self._peek() in ("", ","):
            return _requirement(key, Operator.EXISTS, ())
        symbol = self._next()
        if symbol in _WORDS:
            return _requirement(key, _WORDS[symbol], self._values())
        if symbol in _SYMBOLS:
            return _requirement(key, _SYMBOLS[symbol], [self._exact_value()])
        raise ValueError(f"found '{symbol}', expected: {_BINARY}")

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if not _is_word(token):
            raise ValueError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> list[str]:
        token = self._next()
        if token != "(":
            raise ValueError(f"found '{token}' expected: '('")
        if not (_is_word(self._peek()) or self._peek() in (",", ")")):
            raise ValueError(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            # Between two separators there may be nothing: the empty value.
            values.add(self._next() if _is_word(self._peek()) else "")
            token = self._next()
            if token == ")":
                return sorted(values)
            if token != ",":
                raise ValueError(f"found '{token}', expected: ',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in "=!(),<>"
