"""Coercions: where the OpenX SerDe's row holds another value than the document."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from ddb_pipeline.conversion.preflight_report import Occurrence, Verdict
from ddb_pipeline.conversion.serde.json_documents import JsonFraction, JsonInteger, JsonNumber
from ddb_pipeline.hive.times import read_date, read_timestamp
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    VarcharType,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

EXACT_DIGITS: Final[Mapping[str, int]] = {"float": 6, "double": 15}
"""Decimal digits that a type holds of any number (IEEE 754: FLT_DIG and DBL_DIG)."""
_NUMBERS: Final = ("tinyint", "smallint", "int", "bigint", *EXACT_DIGITS)


def kind_of(value: Any) -> str:
    """The kind of a JSON value, for a sentence."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, JsonInteger):
        return "an integer"
    if isinstance(value, JsonFraction):
        return "a number with fraction or exponent"
    if isinstance(value, str):
        return "a string"
    if value is None:
        return "a null"
    return "an array" if isinstance(value, list) else "an object"


def coercions(value: Any, hive_type: HiveType, result: Any, path: str) -> Iterator[Occurrence]:
    """Yield where ``result``, the SerDe's value of that type, differs from the document's value.

    ``value`` has the document's own spelling of keys and numbers (``serde.json_documents``).
    """
    if value is None:
        return
    if isinstance(hive_type, ArrayType):
        yield from _array(value, hive_type, result, path)
    elif isinstance(hive_type, StructType):
        yield from _struct(value, hive_type, result, path)
    elif isinstance(hive_type, MapType):
        yield from _map(value, hive_type, result, path)
    else:
        reason = _scalar(value, hive_type, result)
        if reason:
            yield _coerced(path, reason, value, result)


def renamed_keys(
    item: Mapping[str, Any], document: Any, columns: Mapping[str, HiveType]
) -> Iterator[Occurrence]:
    """Yield where a map column's keys are others in the document than in the item.

    ``item`` is in DynamoDB's typed form. The document has the same members in the same order.
    """
    for value, (name, written) in zip(item.values(), document.items(), strict=False):
        if name in columns:
            yield from _renamed_keys(value, written, columns[name], name)


def _renamed_keys(typed: Any, written: Any, hive_type: HiveType, path: str) -> Iterator[Occurrence]:
    content = typed.get("M") if isinstance(typed, Mapping) else None
    if isinstance(content, Mapping) and isinstance(written, Mapping):
        if isinstance(hive_type, MapType) and list(content) != list(written):
            reason = "a map's keys are written as column names"
            yield _coerced(path, reason, list(content), list(written))
        for inner, (name, found) in zip(content.values(), written.items(), strict=False):
            if isinstance(hive_type, MapType):
                yield from _renamed_keys(inner, found, hive_type.value, f"{path}[]")
            elif isinstance(hive_type, StructType):
                types = {field.name: field.type for field in hive_type.fields}
                if name in types:
                    yield from _renamed_keys(inner, found, types[name], f"{path}.{name}")
    elif isinstance(hive_type, ArrayType) and isinstance(written, list):
        for inner, found in zip(typed.get("L", ()), written, strict=False):
            yield from _renamed_keys(inner, found, hive_type.element, f"{path}[]")


def _coerced(path: str, reason: str, value: Any, result: Any) -> Occurrence:
    return Occurrence(Verdict.COERCED, path, reason, value, result)


def _array(value: Any, hive_type: ArrayType, result: Any, path: str) -> Iterator[Occurrence]:
    if result is None:
        yield _coerced(path, "an empty string in an array column becomes NULL", value, None)
    elif isinstance(value, list):
        for element, found in zip(value, result, strict=True):
            yield from coercions(element, hive_type.element, found, f"{path}[]")
    else:
        yield _coerced(path, f"{kind_of(value)} becomes an array of one element", value, result)
        yield from coercions(value, hive_type.element, result[0], f"{path}[]")


def _struct(value: Any, hive_type: StructType, result: Any, path: str) -> Iterator[Occurrence]:
    if isinstance(value, Mapping):
        for name, member_type in hive_type.fields:
            member = value.get(name.lower())
            yield from coercions(member, member_type, result[name], f"{path}.{name.lower()}")
    elif isinstance(value, list):
        yield _coerced(path, "an array fills a struct's fields by position", value, result)
        if len(value) > len(hive_type.fields):
            reason = f"an array is longer than the struct's {len(hive_type.fields)} fields"
            yield Occurrence(Verdict.DROPPED, path, reason, value, result)
    else:
        reason = "an empty string in a struct column becomes a struct of NULLs"
        yield _coerced(path, reason, value, result)


def _map(value: Any, hive_type: MapType, result: Any, path: str) -> Iterator[Occurrence]:
    if not isinstance(value, Mapping):
        yield _coerced(path, "an empty string in a map column becomes NULL", value, None)
        return
    # The SerDe keeps the order of members; it has refused equal keys.
    for member, found in zip(value.values(), result.values(), strict=False):
        yield from coercions(member, hive_type.value, found, f"{path}[]")


def _scalar(value: Any, hive_type: HiveType, result: Any) -> str:
    """The reason for which a scalar counts as coerced; empty where it does not."""
    name = hive_type.name if isinstance(hive_type, PrimitiveType) else str(hive_type)
    number, text = isinstance(value, JsonNumber), isinstance(value, str)
    if name == "string" or isinstance(hive_type, CharType | VarcharType):
        if number or not text:
            return f"{kind_of(value)} becomes text"
        return _other_text(value, result)
    if name in ("date", "timestamp"):
        return f"{kind_of(value)} becomes a {name}" if number else _other_time(name, value, result)
    if name == "boolean":
        return "" if isinstance(value, bool) else f"{kind_of(value)} is true only if it is 'true'"
    if name in EXACT_DIGITS and text and not _keeps_digits(value, result, EXACT_DIGITS[name]):
        return f"digits are lost: more than a {name} holds"
    if name in _NUMBERS and not number:
        return f"{kind_of(value)} becomes a number"
    return ""


def _other_text(text: str, result: Any) -> str:
    """The reason for which a text is stored as another one; empty if it is not."""
    if text != result:
        return "blanks at the end are removed"
    has_pairs = text.isascii() or text == text.encode("utf-8", "replace").decode()
    return "" if has_pairs else "half a surrogate pair becomes a question mark"


def _other_time(name: str, text: str, result: Any) -> str:
    """The reason for which a text becomes another date or time; empty if it does not."""
    try:
        exact = read_date(text) if name == "date" else read_timestamp(text)
    except UndecodableValueError as error:
        return f"{error.reason}; the {name} is what Java makes of it"
    return "" if exact == result else f"the {name} is another one than the text states"


def _keeps_digits(text: str, result: Any, digits: int) -> bool:
    """Whether a float prints as the number of the text, or is exactly that number."""
    try:
        written = Decimal(text)
    except ArithmeticError:
        return True  # a form of Java's own, in a string: there are no digits to compare
    if not written.is_finite() or not isfinite(result):
        return not written.is_finite()
    if bool(written) != bool(result):
        return False
    significant = len(written.normalize().as_tuple().digits)
    return significant <= digits or written in (Decimal(repr(result)), Decimal(result))
