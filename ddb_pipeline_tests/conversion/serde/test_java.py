"""Numbers as Java reads them from text, beyond the recorded cases."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.conversion.serde.java import (
    JavaError,
    java_trim,
    parse_decimal,
    parse_double,
    parse_float,
    parse_integer,
)


@pytest.mark.parametrize(
    ("text", "bits", "expected"),
    [
        ("+7", 8, 7),
        ("-0", 32, 0),
        ("0" * 5000 + "1", 32, 1),
        ("0x7f", 8, 127),
        ("0xff", 16, 255),
        ("٤٢", 32, 42),
        ("９", 64, 9),
        ("9223372036854775807", 64, 2**63 - 1),
    ],
)
def test_integers(text: str, bits: int, expected: int) -> None:
    assert parse_integer(text, bits) == expected


@pytest.mark.parametrize(
    ("text", "bits", "message"),
    [
        ("", 32, 'For input string: ""'),
        ("+", 32, 'For input string: "+"'),
        ("1_000", 32, 'For input string: "1_000"'),
        ("0X1F", 32, 'For input string: "0X1F"'),
        ("-0x1F", 32, 'For input string: "-0x1F"'),
        ("0xFF", 8, 'Value out of range. Value:"FF" Radix:16'),
        ("0xFFFFFFFFF", 32, 'For input string: "FFFFFFFFF" under radix 16'),
        ("9" * 100_000, 64, f'For input string: "{"9" * 100_000}"'),
    ],
)
def test_texts_that_are_not_integers(text: str, bits: int, message: str) -> None:
    with pytest.raises(JavaError) as caught:
        parse_integer(text, bits)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\t1.5\x01", 1.5),
        (".5", 0.5),
        ("5.f", 5.0),
        ("0x1.8p1d", 3.0),
        ("0x.8P0", 0.5),
        ("-Infinity", -math.inf),
        ("1e400", math.inf),
        ("-0x1p5000", -math.inf),
    ],
)
def test_doubles(text: str, expected: float) -> None:
    assert parse_double(text) == expected


@pytest.mark.parametrize("text", ["inf", "1_0", "0x1F", "1e", "٤", "1.5L", "--1", "1 2"])
def test_texts_that_are_not_doubles(text: str) -> None:
    with pytest.raises(JavaError):
        parse_double(text)


def test_a_float_is_rounded_once() -> None:
    # The nearest double lies exactly halfway between two floats; the text does not.
    text = "1.00000017881393432617187499"
    assert parse_float(text) == 1 + 2**-23
    assert parse_float("1.00000017881393432617187501") == 1 + 2**-22


@given(st.fractions(min_value=-(2**60), max_value=2**60, max_denominator=10**6))
@settings(max_examples=150, deadline=None)
def test_a_float_is_the_nearest_to_the_text(value: Fraction) -> None:
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    exact = Fraction(text)
    found = parse_float(text)
    bits = struct.unpack("<i", struct.pack("<f", found))[0]
    for neighbour in (bits - 1, bits + 1):
        (other,) = struct.unpack("<f", struct.pack("<i", neighbour))
        if math.isfinite(other):
            assert abs(Fraction(found) - exact) <= abs(Fraction(other) - exact)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.5", "1.50"), (" 1 ", "1.00"), ("1e-3", "0.00"), (".005", "0.01"), ("0e99999", "0.00")],
)
def test_decimals(text: str, expected: str) -> None:
    found = parse_decimal(text, 10, 2)
    assert str(found) == expected


@pytest.mark.parametrize("text", ["", "1e", "NaN", "1,5", "0x1", "1e99999999999", "123456789"])
def test_texts_that_are_not_decimals_of_the_type(text: str) -> None:
    with pytest.raises(JavaError):
        parse_decimal(text, 10, 2)


def test_java_trim_keeps_unicode_spaces() -> None:
    assert java_trim(" \n\x00x\u00a0") == "x\u00a0"
