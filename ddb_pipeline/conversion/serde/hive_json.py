"""Hive's JSON SerDe (org.apache.hive.hcatalog.data.JsonSerDe): JSON documents to rows.

It refuses what OpenX's coerces: it reads no number from a string and no array from a scalar.
Error messages are the probed service's. A decimal that is not a number or does not fit the type
becomes null, as in Hive.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from ddb_pipeline.conversion.serde import java
from ddb_pipeline.conversion.serde.base import (
    Convert,
    Fields,
    JsonSerDe,
    convert_members,
    key_conversion,
    parse_columns,
)
from ddb_pipeline.conversion.serde.errors import invalid_schema, unsupported_types
from ddb_pipeline.conversion.serde.joda_time import TimestampFormat
from ddb_pipeline.conversion.serde.json_documents import (
    JsonInteger,
    JsonNumber,
    document_decoder,
)
from ddb_pipeline.conversion.serde.times import date_value_of, timestamp_value_of
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    VarcharType,
)

_NOT_A_SCALAR: Final = (
    "One or more fields have incorrect format. Exception when validating field (root)"
)


class HiveJsonSerDe(JsonSerDe):
    """Deserializes records under the options of Firehose's HiveJsonSerDe.

    Args:
        columns: (name, Hive type) pairs.
        timestamp_formats: Joda-Time patterns or ``millis``, tried in this order; a text of none of
            them is read as java.sql.Timestamp.valueOf reads it.

    Raises:
        ConversionError: code InvalidSchema, no record at all can be converted with these columns.
        TimestampFormatError: a format is not valid.
    """

    def __init__(
        self, columns: Sequence[tuple[str, str]], *, timestamp_formats: Sequence[str] = ()
    ) -> None:
        compiler = _Compiler(timestamp_formats)
        super().__init__(compiler.struct(parse_columns(columns)), document_decoder(dict))


class _Compiler:
    def __init__(self, timestamp_formats: Sequence[str]) -> None:
        formats = tuple(TimestampFormat(pattern) for pattern in timestamp_formats if pattern)
        self._primitives: dict[str, Convert] = {
            "boolean": _boolean,
            "tinyint": partial(_integer, -128, 255, "Java byte"),
            "smallint": partial(_integer, -(2**15), 2**15 - 1, "Java short"),
            "int": partial(_integer, -(2**31), 2**31 - 1, "int"),
            "bigint": partial(_integer, java.LONG_MIN, java.LONG_MAX, "long"),
            "float": _float,
            "double": _double,
            "string": _scalar_text,
            "date": _date,
            "timestamp": partial(_timestamp, formats),
        }

    def struct(self, members: Sequence[tuple[str, HiveType]]) -> Convert:
        names = [name.lower() for name, _ in members]
        fields = tuple((name, name.lower(), self.value(kind)) for name, kind in members)
        if len(set(names)) < len(names):
            raise invalid_schema("Field names repeat")
        return partial(_struct, fields)

    def value(self, hive_type: HiveType) -> Convert:
        if isinstance(hive_type, DecimalType):
            return partial(_decimal, hive_type.precision, hive_type.scale)
        if isinstance(hive_type, CharType):
            return partial(_char, hive_type.length)
        if isinstance(hive_type, VarcharType):
            return partial(_varchar, hive_type.length)
        if isinstance(hive_type, ArrayType):
            return partial(_array, self.value(hive_type.element))
        if isinstance(hive_type, MapType):
            return partial(
                _map, key_conversion(hive_type.key, _KEYS, self.value), self.value(hive_type.value)
            )
        if isinstance(hive_type, StructType):
            return self.struct([(field.name, field.type) for field in hive_type.fields])
        if isinstance(hive_type, PrimitiveType) and hive_type.name in self._primitives:
            return self._primitives[hive_type.name]
        raise unsupported_types("org.apache.hive.hcatalog.data.JsonSerDe")


def _struct(fields: Fields, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise java.JavaError("java.io.IOException: Start of Object expected")
    members = {key.lower(): found for key, found in value.items()}
    return {
        name: None if (found := members.get(key)) is None else convert(found)
        for name, key, convert in fields
    }


def _array(element: Convert, value: Any) -> list[Any]:
    if type(value) is not list:
        raise java.JavaError("java.io.IOException: Start of Array expected")
    return [None if item is None else element(item) for item in value]


def _map(key: Convert, item: Convert, value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise java.JavaError("java.io.IOException: Start of Object expected")
    return convert_members(key, item, value)


def _token(value: Any) -> str:
    """Jackson's name of the token that a value starts with."""
    if isinstance(value, bool):
        return "VALUE_TRUE" if value else "VALUE_FALSE"
    if isinstance(value, dict):
        return "START_OBJECT"
    return "START_ARRAY" if isinstance(value, list) else "VALUE_STRING"


def _number(value: Any) -> JsonNumber:
    if not isinstance(value, JsonNumber):
        raise java.JavaError(
            f"Current token ({_token(value)}) not numeric, can not use numeric value accessors"
        )
    return value


def _integer(minimum: int, maximum: int, java_type: str, value: Any) -> int:
    text = _number(value)
    # Far past a long; int() of 1e999999 would take all memory. Jackson drops a fraction.
    magnitude = float(text)
    if math.isinf(magnitude) or abs(magnitude) > 1e30:
        raise java.JavaError(f"Numeric value ({text}) out of range of {java_type}")
    number = int(text) if isinstance(text, JsonInteger) else int(Decimal(text))
    if not minimum <= number <= maximum:
        raise java.JavaError(f"Numeric value ({text}) out of range of {java_type}")
    # Jackson reads a byte up to 255; Java then wraps it.
    return number - 256 if java_type == "Java byte" and number > 127 else number


def _double(value: Any) -> float:
    return float(_number(value))


def _float(value: Any) -> float:
    return java.parse_float(_number(value))


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    raise java.FieldFormatError(_NOT_A_SCALAR)


def _char(length: int, value: Any) -> str:
    return _scalar_text(value)[:length].rstrip(" ")


def _varchar(length: int, value: Any) -> str:
    return _scalar_text(value)[:length]


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else java.is_true(_scalar_text(value))


def _decimal(precision: int, scale: int, value: Any) -> Decimal | None:
    text = _scalar_text(value)
    try:
        return java.parse_decimal(text, precision, scale)
    except java.JavaError:
        return None


def _date(value: Any) -> Any:
    return date_value_of(_scalar_text(value))


def _timestamp(formats: tuple[TimestampFormat, ...], value: Any) -> Any:
    text = _scalar_text(value)
    for timestamp_format in formats:
        moment = timestamp_format.parse(text)
        if moment is not None:
            return moment
    return timestamp_value_of(text)


_KEYS: Final[dict[str, Convert]] = {
    "boolean": java.is_true,
    "tinyint": lambda text: java.parse_integer(text, 8),
    "smallint": lambda text: java.parse_integer(text, 16),
    "int": lambda text: java.parse_integer(text, 32),
    "bigint": lambda text: java.parse_integer(text, 64),
    "float": java.parse_float,
    "double": java.parse_double,
    "date": date_value_of,
    "timestamp": timestamp_value_of,
}
