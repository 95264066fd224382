"""One exported item as a row, value by value: exact, or refused with the path and the reason.

The slow way, for what :mod:`ddb_pipeline.export.rows.columns` cannot prove to be exact, and the
one that says what exact means: a number is taken with all its digits or not at all, nothing is
cut, no value of another type becomes null.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

from ddb_pipeline.dynamodb.scalars import UndecodableValueError, number_text
from ddb_pipeline.dynamodb.values import json_text
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.numbers import number_range
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

Row = dict[str, Any]
Read = Callable[[Mapping[str, Any]], Any]
"""An attribute value in DynamoDB's typed form to what Arrow takes for its column."""

INTEGER_BITS: Final = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
SET_ELEMENTS: Final = {"SS": "S", "NS": "N", "BS": "B"}

_WIDE: Final = Context(prec=400)


class ExportValueError(ValueError):
    """A value that its column cannot hold exactly.

    Attributes:
        path: attribute and, inside of it, ``.field``, ``[]``; empty for the line as a whole.
        reason: what is wrong, without the value.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def within(self, step: str) -> "ExportValueError":
        joint = "" if not self.path or self.path.startswith("[") else "."
        return ExportValueError(self.reason, f"{step}{joint}{self.path}")


class ExactRows:
    """Reads lines and items of an export by the columns of a table."""

    def __init__(self, columns: Sequence[Column | tuple[str, str]]) -> None:
        self._columns = {name: value_reader(parse_type(text)) for name, text in columns}

    def line(self, line: bytes, member: str = "Item") -> Row:
        """The row of one line of a data file.

        Raises:
            ExportValueError: it is no such line, or a value does not fit its column.
        """
        return self.item(exported_item(line, member))

    def item(self, item: Mapping[str, Any]) -> Row:
        """The row of one item in DynamoDB's typed form, columns without a value left out.

        Raises:
            ExportValueError: as above.
        """
        return _fields(item, self._columns)


def exported_item(line: bytes, member: str = "Item") -> dict[str, Any]:
    """The item on one line of a data file.

    Raises:
        ExportValueError: the line is not JSON, or has no such item.
    """
    try:
        document = json.loads(line, object_pairs_hook=_unique)
    except RecursionError:
        raise ExportValueError("the line is nested deeper than DynamoDB allows") from None
    except ValueError as error:
        raise ExportValueError(f"the line is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get(member), dict):
        raise ExportValueError(f"the line holds no {member}")
    item: dict[str, Any] = document[member]
    return item


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
                raise ExportValueError("no column is declared for this attribute")
        except ExportValueError as error:
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
        raise ExportValueError("it is not an object with one type tag")
    [(tag, content)] = value.items()
    if tag not in _CONTENT or not isinstance(content, _CONTENT[tag]):
        raise ExportValueError("its type tag or content is none of DynamoDB's")
    return tag, content


def value_reader(kind: HiveType) -> Read:
    """What reads typed values for a column type; ExportValueError for those it cannot hold."""
    read = _content_reader(kind)

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
    raise ExportValueError(f"no value of DynamoDB can be read as {kind}")


def _wrong(tag: str, kind: HiveType | str) -> ExportValueError:
    return ExportValueError(f"a value of type {tag} does not fit a column of type {kind}")


def _text(tag: str, content: Any) -> str:
    """Any value as text: as it is, numbers with all their digits, containers as JSON."""
    if tag == "S" or tag == "B":
        text = content
    elif tag == "N":
        text = _valid_number(content)
    elif tag == "BOOL":
        text = "true" if content else "false"
    else:
        try:
            text = json_text({tag: content})
        except UndecodableValueError as error:
            raise ExportValueError(str(error)) from None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ExportValueError("it is not Unicode text (half a surrogate pair)") from None
    return str(text)


def _valid_number(text: Any) -> str:
    try:
        return number_text(text)
    except UndecodableValueError as error:
        raise ExportValueError(str(error)) from None


def _number_reader(kind: HiveType, read: Callable[[str], Any]) -> ReadContent:
    def number(tag: str, content: Any) -> Any:
        if tag != "N":
            raise _wrong(tag, kind)
        return read(_valid_number(content))

    return number


def _integer(text: str, bits: int) -> int:
    number = exact_integer(text, bits)
    if number is None:
        raise ExportValueError(f"the number is no integer of {bits} bits")
    return number


def exact_integer(text: str, bits: int) -> int | None:
    """The number as an integer of so many bits; None where it is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > 20 or number != number.to_integral_value():
        return None
    whole = int(number)
    return whole if -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1) else None


def _double(text: str) -> float:
    if not number_range(text).double:
        raise ExportValueError("the number has more digits than a double holds")
    return float(text)


def _float(text: str) -> float:
    number = np.float32(text)
    if not np.isfinite(number) or Decimal(str(number)) != Decimal(text):
        raise ExportValueError("the number has more digits than a float holds")
    return float(number)


def _decimal(text: str, kind: DecimalType) -> Decimal:
    number = Decimal(text)
    whole = max(0, number.adjusted() + 1) if number else 0
    if whole > kind.precision - kind.scale:
        raise ExportValueError(f"the number is too large for {kind}")
    scaled = number.quantize(Decimal(1).scaleb(-kind.scale), context=_WIDE)
    if scaled != number:
        raise ExportValueError(f"the number has more digits after the point than {kind}")
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
        raise ExportValueError("it is not base64") from None


def _date(tag: str, content: Any) -> date:
    if tag != "S":
        raise _wrong(tag, "date")
    try:
        return date.fromisoformat(content)
    except ValueError:
        raise ExportValueError("the text is no date, YYYY-MM-DD") from None


def _timestamp(tag: str, content: Any) -> datetime:
    if tag != "S":
        raise _wrong(tag, "timestamp")
    try:
        moment = datetime.fromisoformat(content.replace("Z", "+00:00"))
    except ValueError:
        raise ExportValueError("the text is no time of ISO 8601") from None
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment


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
            raise ExportValueError(f"the text is longer than {kind}")
        return text

    return limited


def _array_reader(kind: ArrayType) -> ReadContent:
    typed, content_of = value_reader(kind.element), _content_reader(kind.element)

    def array(tag: str, content: Any) -> list[Any]:
        if tag != "L" and tag not in SET_ELEMENTS:
            raise _wrong(tag, kind)
        try:
            if tag == "L":
                return [typed(element) for element in content]
            inside = SET_ELEMENTS[tag]
            return [content_of(*_tagged({inside: element})) for element in content]
        except ExportValueError as error:
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
        except ExportValueError as error:
            raise error.within("{}") from None

    return entries
