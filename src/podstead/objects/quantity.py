"""Quantities of resources (`500m`, `1Gi`, `2e3`): exact parsing, arithmetic, and the canonical form.

Grammar, limits and canonical form as documented for apimachinery's resource.Quantity: a signed decimal number with a
decimal (n u m k M G T P E), binary (Ki ... Ei) or exponent suffix; steps of 1n, finer ones rounded away from zero;
amounts beyond 2**63-1 are capped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, total_ordering

QuantityText = str | int | float
"""A quantity as JSON holds it."""

NANO = 10**9
LIMIT = (2**63 - 1) * NANO

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?")
_SUFFIX = re.compile(r"[eEinumkKMGTP]*[-+]?[0-9]*\Z")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)\Z")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_SUFFIX = "unable to parse quantity's suffix"
WRONG_NUMBER = "unable to parse numeric part of quantity"


class Format(Enum):
    """How a quantity was written, and is printed."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount in steps of 10**-9. Compares, adds and hashes by amount, whatever the format."""

    nanos: int
    format: Format = Format.DECIMAL

    @classmethod
    def parse(cls, text: str | int | float) -> Quantity:
        """Parse what JSON holds: text, or a bare number. Raises ValueError in Kubernetes' words."""
        if isinstance(text, bool):
            raise ValueError(WRONG_FORMAT)
        return _parse(text if isinstance(text, str) else repr(text))

    def value(self) -> int:
        """The amount in whole units, fractions rounded up (away from zero)."""
        return _divide_up(self.nanos, NANO)

    def milli(self) -> int:
        """The amount in thousandths, rounded up: millicores for cpu."""
        return _divide_up(self.nanos, NANO // 1000)

    def canonical(self) -> str:
        """The form that Kubernetes prints: no fraction, the largest suffix that keeps it exact."""
        if self.format is Format.BINARY and abs(self.nanos) >= 1024 * NANO:
            mantissa, power = _divide_up(self.nanos, NANO), 0
            while mantissa % 1024 == 0:
                mantissa, power = mantissa // 1024, power + 1
            return f"{mantissa}{_BINARY_SUFFIX[power]}"
        mantissa, power = self.nanos, -9
        while mantissa and mantissa % 1000 == 0:
            mantissa, power = mantissa // 1000, power + 3
        if not mantissa or not power:
            return str(mantissa)
        return f"{mantissa}e{power}" if self.format is Format.EXPONENT else f"{mantissa}{_DECIMAL_SUFFIX[power]}"

    def __str__(self) -> str:
        return self.canonical()

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return self.nanos == other.nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the format of the first that is not zero, capped as parsing is."""
        return Quantity(_cap(self.nanos + other.nanos), self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(_cap(self.nanos - other.nanos), self.format if self.nanos else other.format)


ZERO = Quantity(0)


def _cap(nanos: int) -> int:
    return max(-LIMIT, min(LIMIT, nanos))


def _divide_up(amount: int, by: int) -> int:
    quotient = -(-abs(amount) // by)
    return quotient if amount >= 0 else -quotient


@lru_cache(maxsize=1024)
def _parse(text: str) -> Quantity:
    number = _NUMBER.match(text)
    assert number is not None  # every part is optional
    sign, whole, fraction = number.group(1), number.group(2), number.group(3)
    suffix = text[number.end() :]
    if not (whole or fraction is not None) or not _SUFFIX.match(suffix):
        raise ValueError(WRONG_FORMAT)
    base, power, form = _scale(suffix)
    if not whole and not fraction:
        raise ValueError(WRONG_NUMBER)
    nanos = _nanos(whole, fraction or "", base, power)
    if form is Format.BINARY and 0 < nanos < NANO:
        form = Format.DECIMAL
    return Quantity(-nanos if sign == "-" else nanos, form)


def _scale(suffix: str) -> tuple[int, int, Format]:
    """Return (base, power, format) of a suffix."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], Format.DECIMAL
    if suffix in _BINARY:
        return 1024, _BINARY[suffix], Format.BINARY
    exponent = _EXPONENT.match(suffix)
    if exponent is None:
        raise ValueError(WRONG_SUFFIX)
    digits = exponent.group(1)
    # No exponent beyond this changes the outcome, which is zero, 1n or the cap; it keeps the integers small.
    return 10, max(-5000, min(5000, int(digits[:20]))), Format.EXPONENT


def _nanos(whole: str, fraction: str, base: int, power: int) -> int:
    """Return |amount| in 10**-9, rounded up and capped."""
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not whole and not fraction:
        return 0
    if len(whole) > 4000:
        return LIMIT
    # Digits this far behind the point can only round up: one of them is enough.
    if len(fraction) > 4000:
        fraction = fraction[:4000] + "1"
    digits, scale = int(whole + fraction), 9 - len(fraction)
    if base == 10:
        scale += power
    else:
        digits *= 1024**power
    nanos = digits * 10**scale if scale >= 0 else _divide_up(digits, 10**-scale)
    return min(LIMIT, nanos)
