"""Quantities: what is read, what is printed, and that nothing is lost in between."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podstead.objects.quantity import LIMIT, NANO, ZERO, Format, Quantity

SUFFIXES = {
    **{"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)},
    **{"k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12)},
    **{"Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40)},
    **{"e3": Fraction(1000), "E-2": Fraction(1, 100)},
}


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("1024", "1024"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.1", "100m"),
        ("100", "100"),
        ("1000", "1k"),
        ("12e6", "12e6"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("0Gi", "0"),
        ("-1.5", "-1500m"),
        ("0.1n", "1n"),
        ("1.", "1"),
        ("+.5", "500m"),
        ("1000Gi", "1000Gi"),
        (2, "2"),
        (0.25, "250m"),
    ],
)
def test_a_quantity_is_printed_as_kubernetes_prints_it(written: str | int | float, printed: str) -> None:
    assert Quantity.parse(written).canonical() == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "quantities must match the regular expression"),
        ("abc", "quantities must match the regular expression"),
        ("1 Gi", "quantities must match the regular expression"),
        ("1Gi ", "quantities must match the regular expression"),
        ("1Gi\n", "quantities must match the regular expression"),
        ("٣", "quantities must match the regular expression"),
        ("--1", "quantities must match the regular expression"),
        ("1.2.3", "quantities must match the regular expression"),
        (".", "unable to parse numeric part of quantity"),
        ("1Em", "unable to parse quantity's suffix"),
        ("1e", "unable to parse quantity's suffix"),
        ("1ki", "unable to parse quantity's suffix"),
        (True, "quantities must match the regular expression"),
    ],
)
def test_what_is_no_quantity_is_refused_in_kubernetes_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quantity.parse(text)


@pytest.mark.parametrize("text", ["100E", "1e400", "9" * 5000, "1e99999999999999999999", "8Ei"])
def test_amounts_beyond_the_limit_are_capped(text: str) -> None:
    assert Quantity.parse(text).nanos == LIMIT
    assert Quantity.parse("-" + text).nanos == -LIMIT


def test_fine_fractions_round_away_from_zero() -> None:
    assert Quantity.parse("1e-20").nanos == 1
    assert Quantity.parse("0." + "0" * 6000 + "1").nanos == 1
    assert Quantity.parse("-1e-20").nanos == -1


def test_values_are_rounded_up() -> None:
    assert Quantity.parse("1.1").value() == 2
    assert Quantity.parse("1100u").milli() == 2
    assert Quantity.parse("250m").milli() == 250
    assert Quantity.parse("1Gi").value() == 2**30


def test_quantities_compare_and_add_by_amount() -> None:
    assert Quantity.parse("1Gi") == Quantity.parse("1024Mi") == Quantity.parse(2**30)
    assert len({Quantity.parse("1"), Quantity.parse("1000m")}) == 1
    assert Quantity.parse("100m") < Quantity.parse("0.2")
    assert (Quantity.parse("1Gi") + Quantity.parse("512Mi")).canonical() == "1536Mi"
    assert (ZERO + Quantity.parse("1Gi")).canonical() == "1Gi"
    assert (Quantity.parse("1") - Quantity.parse("1")).canonical() == "0"
    assert not ZERO
    assert Quantity.parse("1") != "1"


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(sorted(SUFFIXES)))
def test_parsing_is_exact(whole: int, fraction: int, suffix: str) -> None:
    exact = Fraction(f"{whole}.{fraction}") * SUFFIXES[suffix] * NANO
    expected = min(LIMIT, -(-exact.numerator // exact.denominator))
    assert Quantity.parse(f"{whole}.{fraction}{suffix}").nanos == expected


@given(st.integers(-LIMIT, LIMIT), st.sampled_from(Format))
def test_what_is_printed_reads_back(nanos: int, form: Format) -> None:
    if form is Format.BINARY:
        nanos = nanos // NANO * NANO  # binary quantities print whole units
    printed = Quantity(nanos, form).canonical()
    again = Quantity.parse(printed)
    assert again.nanos == nanos
    # Without a suffix a binary quantity (25000) reads back as a decimal one, which prints as 25k.
    assert again.canonical() == printed or printed.lstrip("-").isdigit()
    assert Quantity.parse(again.canonical()).canonical() == again.canonical()


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        Quantity.parse(text).canonical()
    except ValueError:
        pass
