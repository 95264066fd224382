"""How Java reads numbers and booleans from text, and Java's errors.

The SerDes that Firehose runs are Java programs; what a text becomes, and the message where it
becomes nothing, follows from Integer.parseInt, Double.parseDouble and similar methods.
Source: the Java SE documentation of these methods, and recorded output of the OpenX JSON SerDe.
"""

import math
import re
import struct
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

_ASCII_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}\Z")
_JAVA_FLOAT: Final = re.compile(
    r"[+-]?(?:NaN|Infinity|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFdD]?"
    r"|0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+[fFdD]?)\Z"
)
_BIG_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,10})?\Z")
_DECIMAL_CONTEXT: Final = Context(prec=80, rounding=ROUND_HALF_UP)
_JAVA_TRIM: Final = "".join(chr(code) for code in range(0x21))

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1


class JavaError(ValueError):
    """A Java exception; its text is Java's message."""


class FieldFormatError(JavaError):
    """An error with a text of the service itself, reported without a prefix."""


def java_trim(text: str) -> str:
    """String.trim: strip control characters and spaces, but no other white space."""
    return text.strip(_JAVA_TRIM)


def for_input_string(text: str) -> JavaError:
    """The NumberFormatException for a text that is not a number."""
    return JavaError(f'For input string: "{text}"')


def parse_integer(text: str, bits: int) -> int:
    """Byte.parseByte, Short.parseShort, Integer.parseInt or Long.parseLong, by ``bits``.

    As in the OpenX SerDe, the prefix ``0x`` makes the rest hexadecimal.
    Raises JavaError with Java's message.
    """
    if text.startswith("0x"):
        return _parse_radix(text[2:], 16, bits)
    if _ASCII_INTEGER.match(text):
        return _in_range(int(text), text, 10, bits)
    return _parse_radix(text, 10, bits)


def parse_long(text: str) -> int:
    """Long.parseLong. Raises JavaError with Java's message."""
    return int(text) if _ASCII_INTEGER.match(text) else _parse_radix(text, 10, 64)


def parse_double(text: str) -> float:
    """Double.parseDouble. Raises JavaError with Java's message."""
    trimmed = _java_float_text(text)
    if trimmed.endswith("Infinity"):
        return -math.inf if trimmed[0] == "-" else math.inf
    if trimmed.endswith("NaN"):
        return math.nan
    number = trimmed.rstrip("fFdD")  # a type suffix; the exponent of a hexadecimal one has digits
    if "x" not in number.lower():
        return float(number)
    try:
        return float.fromhex(number)
    except OverflowError:
        return -math.inf if number[0] == "-" else math.inf


def parse_float(text: str) -> float:
    """Float.parseFloat, as the double nearest to it. Raises JavaError with Java's message."""
    value = parse_double(text)
    rounded = _round_to_float32(value)
    if math.isinf(value) or math.isnan(value) or rounded == value:
        return rounded
    return _correct_double_rounding(text, value, rounded)


def parse_decimal(text: str, precision: int, scale: int) -> Decimal:
    """Parse a text as a HiveDecimal of a precision and scale, rounded half up.

    Raises JavaError where the text is not a number or has too many integer digits.
    """
    trimmed = java_trim(text)
    if not _BIG_DECIMAL.match(trimmed):
        raise for_input_string(text)
    value = Decimal(trimmed)
    if not value or value.adjusted() < -scale - 1:
        return Decimal((0, (0,), -scale))
    if value.adjusted() < precision:
        rounded = value.quantize(Decimal((0, (1,), -scale)), context=_DECIMAL_CONTEXT)
        if rounded.adjusted() < precision - scale or not rounded:
            return rounded
    raise JavaError(f"Value {trimmed} does not fit decimal({precision},{scale})")


def _round_to_float32(value: float) -> float:
    """The nearest 32-bit float; infinity past its range."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


def is_true(text: str) -> bool:
    """Boolean.parseBoolean: only ``true`` is true, in any letter case."""
    return text.lower() == "true"


def _parse_radix(text: str, radix: int, bits: int) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits:
        raise _number_format(text, radix)
    value = 0
    for character in digits:
        digit = _java_digit(character, radix)
        if digit < 0:
            raise _number_format(text, radix)
        value = value * radix + digit
        if value > 1 << 64:
            raise _number_format(text, radix)
    return _in_range(-value if text[0] == "-" else value, text, radix, bits)


def _in_range(value: int, text: str, radix: int, bits: int) -> int:
    # parseByte and parseShort call parseInt first: a value past an int is no number at all to them.
    parsed_bits = max(bits, 32)
    if not -(1 << (parsed_bits - 1)) <= value < 1 << (parsed_bits - 1):
        raise _number_format(text, radix)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise JavaError(f'Value out of range. Value:"{text}" Radix:{radix}')
    return value


def _number_format(text: str, radix: int) -> JavaError:
    suffix = "" if radix == 10 else f" under radix {radix}"
    return JavaError(f"{for_input_string(text)}{suffix}")


def _java_digit(character: str, radix: int) -> int:
    if character > "\uffff":  # Character.digit takes one UTF-16 unit
        return -1
    digit = unicodedata.decimal(character, -1)
    if digit < 0 and radix > 10:
        folded = unicodedata.normalize("NFKC", character).lower()
        digit = ord(folded) - ord("a") + 10 if "a" <= folded <= "z" else -1
    return digit if digit < radix else -1


def _java_float_text(text: str) -> str:
    trimmed = java_trim(text)
    if not trimmed:
        raise JavaError("empty String")
    if not _JAVA_FLOAT.match(trimmed):
        raise for_input_string(trimmed)
    return trimmed


def _correct_double_rounding(text: str, value: float, rounded: float) -> float:
    """Correct ``rounded`` where ``value``, rounded once before, lies halfway between two floats."""
    neighbour = _round_to_float32(math.nextafter(value, math.inf))
    other = _round_to_float32(math.nextafter(value, -math.inf))
    if neighbour == other or "x" in text.lower():
        return rounded
    exact, tie = Decimal(java_trim(text).rstrip("fFdD")), Decimal(value)
    if exact == tie:
        return rounded
    return neighbour if exact > tie else other
