"""The exact path: one exported item to a row, value by value, or an error with path and reason.

It defines what exact means: a number keeps all its digits or is refused, nothing is truncated, and
a value of another type does not become null. It reads the lines for which the fast path
(``export.rows.columns``) cannot prove the same result.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import numpy as np

from ddb_pipeline.arrow_json import MAX_DEPTH, is_deeper
from ddb_pipeline.dynamodb.decided_items import DecidedItems
from ddb_pipeline.dynamodb.scalars import number_text
from ddb_pipeline.dynamodb.values import json_text
from ddb_pipeline.export.lines import check_marks
from ddb_pipeline.hive.fitting import INTEGER_BITS, SET_ELEMENTS
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.numbers import number_range
from ddb_pipeline.hive.times import read_date, read_epoch, read_timestamp
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    VarcharType,
    parse_type,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

Row = dict[str, Any]
Read = Callable[[Mapping[str, Any]], Any]
"""Converts an attribute value in DynamoDB's typed form to the Python value for its column."""

ITEM: Final = "Item"
"""The one member of each line of a full export."""

Number = TypeVar("Number")

_WIDE: Final = Context(prec=400)


class ExactRows:
    """Converts lines of an export to rows of a table."""

    def __init__(
        self,
        columns: Sequence[Column | tuple[str, str]],
        decisions: TypeDecisions = NO_DECISIONS,
    ) -> None:
        self._columns = {name: value_reader(parse_type(text)) for name, text in columns}
        self._decided = DecidedItems(decisions, columns) if decisions else None

    def line(self, line: bytes) -> Row:
        """The row of one line of a data file, without the columns that have no value.

        Raises:
            UndecodableValueError: the line has no item, or a value does not fit its column.
        """
        item: Mapping[str, Any] = exported_item(line)
        if self._decided is not None:
            item = self._decided.item(item)
        return _fields(item, self._columns)


def exported_item(line: bytes) -> dict[str, Any]:
    """The item on one line of a data file.

    Raises:
        UndecodableValueError: the line is not JSON, or has no such item.
    """
    item = json_document(line).get(ITEM)
    if not isinstance(item, dict):
        raise UndecodableValueError(f"the line holds no {ITEM}")
    return item


def json_document(line: bytes) -> dict[str, Any]:
    """The object on one line of a data file; empty for another JSON value.

    Raises:
        UndecodableValueError: the line is not JSON, or has more or deeper values than items have.
    """
    check_marks(line)
    if is_deeper(line, MAX_DEPTH):
        raise UndecodableValueError("nested deeper than DynamoDB allows (32 levels)")
    try:
        document = json.loads(line, object_pairs_hook=_unique)
    except ValueError as error:
        raise UndecodableValueError(f"the line is not JSON: {error}") from None
    return document if isinstance(document, dict) else {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return members


def _fields(item: Mapping[str, Any], readers: Mapping[str, Read]) -> Row:
    row: Row = {}
    for attribute, column in column_names(item).items():
        value = item[attribute]
        read = readers.get(column)
        try:
            if read is not None:
                row[column] = read(value)
            elif has_content(value):
                raise UndecodableValueError("there is no column for this attribute")
        except UndecodableValueError as error:
            raise error.within(attribute) from None
    return row


def has_content(value: Any) -> bool:
    """Whether a typed value holds anything besides nulls and empty containers."""
    tag, content = _tagged(value)
    if tag == "L":
        return any(map(has_content, content))
    if tag == "M":
        return any(map(has_content, content.values()))
    return tag != "NULL" and (tag not in SET_ELEMENTS or bool(content))


_CONTENT: Final[Mapping[str, type]] = {
    "S": str,
    "N": str,
    "B": str,
    "BOOL": bool,
    "NULL": bool,
    "SS": list,
    "NS": list,
    "BS": list,
    "L": list,
    "M": dict,
}


def _tagged(value: Any) -> tuple[str, Any]:
    if not isinstance(value, dict) or len(value) != 1:
        raise UndecodableValueError("it is not an object with one type tag")
    [(tag, content)] = value.items()
    if tag not in _CONTENT or not isinstance(content, _CONTENT[tag]):
        raise UndecodableValueError("DynamoDB has no value with this type tag and content")
    return tag, content


def value_reader(kind: HiveType) -> Read:
    """A reader of typed values for a column type; it raises for a value that does not fit."""
    return _typed_reader(_content_reader(kind))


def _typed_reader(read: "ReadContent") -> Read:
    def value(typed: Mapping[str, Any]) -> Any:
        tag, content = _tagged(typed)
        return None if tag == "NULL" else read(tag, content)

    return value


ReadContent = Callable[[str, Any], Any]


def _content_reader(kind: HiveType) -> ReadContent:
    if isinstance(kind, ArrayType):
        return _array_reader(kind)
    if isinstance(kind, StructType):
        return _struct_reader(kind)
    if isinstance(kind, MapType):
        return _map_reader(kind)
    if isinstance(kind, CharType | VarcharType):
        return _limited_reader(kind)
    if isinstance(kind, DecimalType):
        return _number_reader(kind, lambda text: _decimal(text, kind))
    if isinstance(kind, PrimitiveType) and kind.name in INTEGER_BITS:
        bits = INTEGER_BITS[kind.name]
        return _number_reader(kind, lambda text: _integer(text, bits))
    if isinstance(kind, PrimitiveType) and kind.name in _PRIMITIVES:
        return _PRIMITIVES[kind.name]
    raise UndecodableValueError(f"no value of DynamoDB can be read as {kind}")


def _wrong(tag: str, kind: HiveType | str) -> UndecodableValueError:
    return UndecodableValueError(f"a value of type {tag} does not fit a column of type {kind}")


def _text(tag: str, content: Any) -> str:
    """Any value as text: numbers with all their digits, sets, lists and maps as JSON."""
    if tag == "S" or tag == "B":
        text = content
    elif tag == "N":
        text = number_text(content)
    elif tag == "BOOL":
        text = "true" if content else "false"
    else:
        text = json_text({tag: content})
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UndecodableValueError("the text is not Unicode (half a surrogate pair)") from None
    return str(text)


def _number_reader(kind: HiveType, read: Callable[[str], Any]) -> ReadContent:
    def number(tag: str, content: Any) -> Any:
        if tag != "N":
            raise _wrong(tag, kind)
        return _read_number(read, content)

    return number


def _read_number(read: Callable[[str], Number], content: Any) -> Number:
    try:
        return read(number_text(content))
    except UndecodableValueError:
        raise
    except (ValueError, ArithmeticError):
        # An exponent of more digits than Decimal takes.
        raise UndecodableValueError("the number is outside of DynamoDB's range") from None


def _integer(text: str, bits: int) -> int:
    number = _exact_integer(text, bits)
    if number is None:
        raise UndecodableValueError(f"the number is not an integer of {bits} bits")
    return number


def _exact_integer(text: str, bits: int) -> int | None:
    """The number as a signed integer of this many bits; None if it is not one."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if number.adjusted() > 20 or number != number.to_integral_value():
        return None
    whole = int(number)
    return whole if -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1) else None


def _double(text: str) -> float:
    if not number_range(text).double:
        raise UndecodableValueError("the number has more digits than a double holds")
    return float(text)


def _float(text: str) -> float:
    number = np.float32(text)
    if not np.isfinite(number) or Decimal(str(number)) != Decimal(text):
        raise UndecodableValueError("the number has more digits than a float holds")
    return float(number)


def _decimal(text: str, kind: DecimalType) -> Decimal:
    number = Decimal(text)
    whole = max(0, number.adjusted() + 1) if number else 0
    if whole > kind.precision - kind.scale:
        raise UndecodableValueError(f"the number is too large for {kind}")
    scaled = number.quantize(Decimal(1).scaleb(-kind.scale), context=_WIDE)
    if scaled != number:
        raise UndecodableValueError(f"the number has more digits after the point than {kind}")
    return scaled


def _boolean(tag: str, content: Any) -> bool:
    if tag != "BOOL":
        raise _wrong(tag, "boolean")
    return bool(content)


def _binary(tag: str, content: Any) -> bytes:
    if tag != "B":
        raise _wrong(tag, "binary")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise UndecodableValueError("the text is not base64") from None


def _date(tag: str, content: Any) -> date:
    if tag != "S":
        raise _wrong(tag, "date")
    return read_date(content)


def _timestamp(tag: str, content: Any) -> datetime:
    if tag == "N":
        return _read_number(read_epoch, content)
    if tag != "S":
        raise _wrong(tag, "timestamp")
    return read_timestamp(content)


_PRIMITIVES: Final[Mapping[str, ReadContent]] = {
    "string": _text,
    "double": _number_reader(PrimitiveType("double"), _double),
    "float": _number_reader(PrimitiveType("float"), _float),
    "boolean": _boolean,
    "binary": _binary,
    "date": _date,
    "timestamp": _timestamp,
}


def _limited_reader(kind: CharType | VarcharType) -> ReadContent:
    def limited(tag: str, content: Any) -> str:
        text = _text(tag, content)
        if len(text) > kind.length:
            raise UndecodableValueError(f"the text is longer than {kind}")
        return text

    return limited


def _array_reader(kind: ArrayType) -> ReadContent:
    # One reader for both: with two, each level of lists would double their number.
    content_of = _content_reader(kind.element)
    typed = _typed_reader(content_of)

    def array(tag: str, content: Any) -> list[Any]:
        if tag != "L" and tag not in SET_ELEMENTS:
            raise _wrong(tag, kind)
        try:
            if tag == "L":
                return [typed(element) for element in content]
            inside = SET_ELEMENTS[tag]
            return [content_of(*_tagged({inside: element})) for element in content]
        except UndecodableValueError as error:
            raise error.within("[]") from None

    return array


def _struct_reader(kind: StructType) -> ReadContent:
    readers = {field.name: value_reader(field.type) for field in kind.fields}

    def struct(tag: str, content: Any) -> Row:
        if tag != "M":
            raise _wrong(tag, kind)
        return _fields(content, readers)

    return struct


def _map_reader(kind: MapType) -> ReadContent:
    value = value_reader(kind.value)
    key = _content_reader(kind.key)

    def entries(tag: str, content: Any) -> list[tuple[Any, Any]]:
        if tag != "M":
            raise _wrong(tag, kind)
        try:
            return [(key("S", name), value(inner)) for name, inner in content.items()]
        except UndecodableValueError as error:
            raise error.within("{}") from None

    return entries
