"""How Java reads numbers, dates and timestamps from text, and prints objects as text.

The SerDes that Firehose runs are Java programs; what a value becomes, and the message when it
does not, follows from Integer.parseInt, Double.parseDouble, Timestamp.valueOf and their like.
Source: the Java SE documentation of these methods, and answers of the OpenX JSON SerDe.
"""

from __future__ import annotations

import math
import re
import struct
import unicodedata
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Any, Final

from ddb_pipeline.conversion.serde.json_text import JsonFraction, JsonInteger, JsonNumber

_ASCII_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}\Z")
_JAVA_FLOAT: Final = re.compile(
    r"[+-]?(?:NaN|Infinity|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFdD]?"
    r"|0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+[fFdD]?)\Z"
)
_JAVA_TRIM: Final = "".join(chr(code) for code in range(0x21))

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1


class JavaError(ValueError):
    """A Java exception; the text is its message."""


class FieldFormatError(JavaError):
    """An error the service words itself and shows without a prefix."""


def java_trim(text: str) -> str:
    """String.trim: control characters and spaces off both ends, no other white space."""
    return text.strip(_JAVA_TRIM)


def for_input_string(text: str) -> JavaError:
    return JavaError(f'For input string: "{text}"')


def parse_integer(text: str, bits: int) -> int:
    """Byte.parseByte, Short.parseShort, Integer.parseInt or Long.parseLong, by ``bits``.

    As the OpenX SerDe calls them: a ``0x`` in front makes the rest hexadecimal.
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
    number = trimmed.rstrip("fFdD") if "x" not in trimmed.lower() else _hex_body(trimmed)
    return float.fromhex(number) if "x" in number.lower() else float(number)


def parse_float(text: str) -> float:
    """Float.parseFloat, as the double nearest to it. Raises JavaError with Java's message."""
    value = parse_double(text)
    rounded = round_to_float32(value)
    if math.isinf(value) or math.isnan(value) or rounded == value:
        return rounded
    return _correct_double_rounding(text, value, rounded)


def round_to_float32(value: float) -> float:
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


def is_true(text: str) -> bool:
    """Boolean.parseBoolean: ``true`` in any case, and nothing else."""
    return text.lower() == "true"


def class_cast(value: Any, target: str) -> JavaError:
    """The ClassCastException of using a JSON value as ``target``, a Java class name."""
    return JavaError(f"class {java_class(value)} cannot be cast to class {target}")


def java_class(value: Any) -> str:
    """The Java class a JSON value has inside the OpenX SerDe."""
    if value is None:
        return "org.openx.data.jsonserde.json.JSONObject$Null"
    if isinstance(value, bool):
        return "java.lang.Boolean"
    if isinstance(value, dict):
        return "org.openx.data.jsonserde.json.JSONObject"
    if isinstance(value, list):
        return "org.openx.data.jsonserde.json.JSONArray"
    return "java.lang.String"


def not_an_object(value: Any) -> JavaError:
    """The OpenX SerDe's error for a struct column whose value is neither object nor array.

    The class shown for an integer is the probed service's; the open-source SerDe says String.
    """
    shown = "null" if value is None else value if isinstance(value, str) else json_text(value)
    name = java_class(value)
    if isinstance(value, JsonInteger) and LONG_MIN <= _bounded_int(value) <= LONG_MAX:
        name = "java.lang.Long"
    elif isinstance(value, JsonFraction):
        name = "java.lang.Double"
    return JavaError(f"Data is not JSONObject  but {name} with value {shown}")


def json_text(value: Any) -> str:
    """A JSON value as the OpenX SerDe prints it into a string column.

    Compact, members in java.util.HashMap order, number texts as they came (the probed service;
    the open-source SerDe quotes them), null as the quoted text ``"null"``.
    """
    parts: list[str] = []
    # A stack of texts to emit and values to print keeps deep documents off the call stack.
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _Literal):
            parts.append(item)
        elif isinstance(item, dict):
            pending.append(_Literal("}"))
            for index, key in reversed(list(enumerate(hash_map_order(item)))):
                pending.append(item[key])
                pending.append(_Literal(("," if index else "") + quote(key) + ":"))
            pending.append(_Literal("{"))
        elif isinstance(item, list):
            pending.append(_Literal("]"))
            for index in range(len(item) - 1, -1, -1):
                pending.append(item[index])
                if index:
                    pending.append(_Literal(","))
            pending.append(_Literal("["))
        else:
            parts.append(_scalar_text(item))
    return "".join(parts)


class _Literal(str):
    __slots__ = ()


def _scalar_text(value: Any) -> str:
    if value is None:
        return '"null"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, JsonNumber) else quote(value)


_QUOTE_ESCAPES: Final = {'"': '\\"', "\\": "\\\\"} | {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}
_QUOTED: Final = re.compile('["\\\\\x00-\x1f\x80-\x9f\u2000-\u20ff]|</')


def quote(text: str) -> str:
    """JSONObject.quote of org.json: its escapes, ``</`` as ``<\\/`` among them."""
    return f'"{_QUOTED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    found = match.group()
    if found == "</":
        return "<\\/"
    return _QUOTE_ESCAPES.get(found) or f"\\u{ord(found):04x}"


def hash_map_order(keys: Iterable[str]) -> list[str]:
    """Keys in the order a java.util.HashMap iterates that they were put into one by one."""
    inserted = list(keys)
    if len(inserted) < 2:
        return inserted
    capacity = 16
    while len(inserted) > capacity * 3 // 4:
        capacity *= 2
    # Within a bucket entries stay in insertion order, through resizes too.
    return sorted(inserted, key=lambda key: _spread_hash(key) & (capacity - 1))


@lru_cache(maxsize=4096)
def _spread_hash(text: str) -> int:
    value = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = (value * 31 + low + (high << 8)) & 0xFFFFFFFF
    return value ^ (value >> 16)


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
    # Byte and Short parse an int first, so only what fits an int is "out of range".
    parsed_bits = max(bits, 32)
    if not -(1 << (parsed_bits - 1)) <= value < 1 << (parsed_bits - 1):
        raise _number_format(text, radix)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise JavaError(f'Value out of range. Value:"{text}" Radix:{radix}')
    return value


def _number_format(text: str, radix: int) -> JavaError:
    suffix = "" if radix == 10 else f" under radix {radix}"
    return JavaError(f'For input string: "{text}"{suffix}')


def _java_digit(character: str, radix: int) -> int:
    if character > "\uffff":  # Character.digit looks at one UTF-16 unit
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


def _hex_body(text: str) -> str:
    return text[:-1] if text[-1] in "fFdD" else text


def _correct_double_rounding(text: str, value: float, rounded: float) -> float:
    """Undo the one way rounding twice errs: the double fell on a tie between two floats."""
    neighbour = round_to_float32(math.nextafter(value, math.inf))
    other = round_to_float32(math.nextafter(value, -math.inf))
    if neighbour == other:
        return rounded
    if "x" in text.lower():
        return rounded
    exact, tie = Decimal(java_trim(text).rstrip("fFdD")), Decimal(value)
    if exact == tie:
        return rounded
    return neighbour if exact > tie else other


def _bounded_int(text: str) -> int:
    return int(text) if len(text) <= 20 else LONG_MAX + 1


_BIG_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,10})?\Z")


def parse_decimal(text: str, precision: int, scale: int) -> Decimal:
    """A number text as a HiveDecimal of the given precision and scale: rounded half up, exact.

    Raises JavaError for text that is no number and for a value with too many integer digits.
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


_DECIMAL_CONTEXT: Final = Context(prec=80, rounding=ROUND_HALF_UP)
