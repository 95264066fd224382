"""OpenX's JSON SerDe (org.openx.data.jsonserde.JsonSerDe): JSON documents to rows.

Each column's type is compiled once into a function from a JSON value to a column value.
Source: recorded output of the class, and of the probed service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from ddb_pipeline.conversion.serde.errors import unsupported_types
from ddb_pipeline.conversion.serde.json_documents import (
    JsonInteger,
    JsonNumber,
    document_decoder,
    unique_keys,
    unique_lower_keys,
)
from ddb_pipeline.conversion.serde.openx_json import class_cast, json_text, not_an_object
from ddb_pipeline.conversion.serde.times import (
    date_value_of,
    parse_date,
    parse_timestamp,
    timestamp_value_of,
)
from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    UnionType,
    VarcharType,
)

_HIVE_DECIMAL: Final = "org.apache.hadoop.hive.common.type.HiveDecimal"
_OBJECT: Final = "org.openx.data.jsonserde.json.JSONObject"


class OpenXJsonSerDe(JsonSerDe):
    """Deserializes records under the options of Firehose's OpenXJsonSerDe.

    Values become int, float, Decimal, str, bool, naive UTC datetime, date, list, and dict for maps
    and structs; a union's value becomes ``{"tag": n, "value": v}``.

    Args:
        columns: (name, Hive type) pairs.
        case_insensitive: convert JSON keys to lower case before they are looked up.
        convert_dots: look up a key ``a.b`` as ``a_b`` too.
        column_to_json_key: JSON keys of columns whose name is not the key.
        decimals: ``"refuse"`` fails every value of a decimal column, as the open-source SerDe does
            (a ClassCastException); ``"convert"`` converts it exactly, for a service that does so.

    Raises:
        ConversionError: code InvalidSchema, no record at all can be converted with these columns.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        *,
        case_insensitive: bool = True,
        convert_dots: bool = False,
        column_to_json_key: Mapping[str, str] | None = None,
        decimals: str = "refuse",
    ) -> None:
        if decimals not in ("refuse", "convert"):
            raise ValueError(f"decimals must be 'refuse' or 'convert', not {decimals!r}")
        row = row_conversion(
            parse_columns(columns),
            case_insensitive=case_insensitive,
            convert_dots=convert_dots,
            column_to_json_key=column_to_json_key,
            convert_decimals=decimals == "convert",
        )
        keys = unique_lower_keys if case_insensitive else unique_keys
        super().__init__(row, document_decoder(keys))


def row_conversion(
    columns: Sequence[tuple[str, HiveType]],
    *,
    case_insensitive: bool = True,
    convert_dots: bool = False,
    column_to_json_key: Mapping[str, str] | None = None,
    convert_decimals: bool = False,
) -> Convert:
    """Compile the function from a parsed document to its row.

    With ``case_insensitive`` the document's keys must be in lower case already.
    Raises ConversionError, code InvalidSchema, for a type that the SerDe refuses in any schema.
    """
    keys = json_keys(column_to_json_key or {}, case_insensitive=case_insensitive)
    return _Compiler(keys, convert_dots, convert_decimals).row(columns)


def json_keys(
    column_to_json_key: Mapping[str, str], *, case_insensitive: bool
) -> Mapping[str, str]:
    """Return the JSON keys to look up, by the column's or field's name in lower case."""
    return {
        column.lower(): key.lower() if case_insensitive else key
        for column, key in column_to_json_key.items()
    }


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Compiles Hive types to functions on JSON values."""

    json_keys: Mapping[str, str]
    convert_dots: bool
    convert_decimals: bool

    def row(self, columns: Sequence[tuple[str, HiveType]]) -> Convert:
        return partial(_row_with_dots if self.convert_dots else _row, self._fields(columns))

    def _fields(self, members: Sequence[tuple[str, HiveType]]) -> Fields:
        # Hive has names in lower case: without case-insensitivity a key with capitals is not found.
        return tuple(
            (name, self.json_keys.get(name.lower(), name.lower()), self.value(hive_type))
            for name, hive_type in members
        )

    def value(self, hive_type: HiveType) -> Convert:
        if isinstance(hive_type, PrimitiveType) and hive_type.name in _PRIMITIVES:
            return _PRIMITIVES[hive_type.name]
        if isinstance(hive_type, DecimalType):
            if self.convert_decimals:
                return partial(_decimal, hive_type.precision, hive_type.scale)
            return partial(_refuse, _HIVE_DECIMAL)
        if isinstance(hive_type, CharType):
            return _char
        if isinstance(hive_type, VarcharType):
            return _varchar
        if isinstance(hive_type, ArrayType):
            return partial(_array, self.value(hive_type.element))
        if isinstance(hive_type, MapType):
            return partial(
                _map, key_conversion(hive_type.key, _KEYS, self.value), self.value(hive_type.value)
            )
        if isinstance(hive_type, StructType):
            fields = self._fields([(field.name, field.type) for field in hive_type.fields])
            return partial(_struct, fields, self.convert_dots)
        if isinstance(hive_type, UnionType):
            return partial(_union, tuple(self.value(member) for member in hive_type.members))
        raise unsupported_types("org.openx.data.JsonSerDe")


def _row(fields: Fields, document: Any) -> dict[str, Any]:
    if type(document) is not dict:
        raise java.JavaError("Row is not a valid JSON Object: a document must be an object")
    get = document.get
    return {
        name: None if (value := get(key)) is None else convert(value)
        for name, key, convert in fields
    }


def _row_with_dots(fields: Fields, document: Any) -> dict[str, Any]:
    return _row(fields, _undotted(document) if type(document) is dict else document)


def _undotted(document: dict[str, Any]) -> dict[str, Any]:
    """Add each key with dots under its name with underscores, unless the object has that key."""
    dotted = {key.replace(".", "_"): value for key, value in document.items() if "." in key}
    return dotted | document if dotted else document


def _struct(fields: Fields, convert_dots: bool, value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return (_row_with_dots if convert_dots else _row)(fields, value)
    if type(value) is list:
        return {
            name: convert(value[index]) if index < len(value) else None
            for index, (name, _, convert) in enumerate(fields)
        }
    if isinstance(value, str) and not java.java_trim(value):
        return {name: None for name, _, _ in fields}
    raise not_an_object(value)


def _array(element: Convert, value: Any) -> list[Any] | None:
    if type(value) is list:
        return [None if item is None else element(item) for item in value]
    if value == "":
        return None
    return [element(value)]


def _map(key: Convert, item: Convert, value: Any) -> dict[Any, Any] | None:
    if type(value) is not dict:
        if isinstance(value, str) and not java.java_trim(value):
            return None
        raise class_cast(value, _OBJECT)
    return convert_members(key, item, value)


def _union(members: tuple[Convert, ...], value: Any) -> dict[str, Any]:
    for tag, convert in enumerate(members):
        try:
            return {"tag": tag, "value": convert(value)}
        except java.JavaError:
            if tag == len(members) - 1:
                raise
    raise class_cast(value, "java.lang.Object")


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return "null"
    if isinstance(value, str):
        return str(value)
    return json_text(value)


def _char(value: Any) -> str:
    return _text(value, "HiveChar").rstrip(" ")


def _varchar(value: Any) -> str:
    return _text(value, "HiveVarchar")


def _text(value: Any, hive_class: str) -> str:
    # Neither the SerDe nor Hive's Parquet writer truncates a value to the type's length.
    if not isinstance(value, str):
        raise class_cast(value, f"org.apache.hadoop.hive.common.type.{hive_class}")
    return str(value)


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    if not isinstance(value, str):
        raise class_cast(value, "java.lang.Boolean")
    return java.is_true(value)


def _integer(bits: int, safe_length: int, java_class: str, value: Any) -> int:
    if type(value) is JsonInteger and len(value) <= safe_length:
        return int(value)
    if not isinstance(value, str):
        raise class_cast(value, java_class)
    return java.parse_integer(value, bits)


def _double(value: Any) -> float:
    if isinstance(value, JsonNumber):
        return float(value)
    if not isinstance(value, str):
        raise class_cast(value, "java.lang.Double")
    return java.parse_double(value)


def _float(value: Any) -> float:
    if not isinstance(value, str):
        raise class_cast(value, "java.lang.Float")
    return java.parse_float(value)


def _timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        raise class_cast(value, "java.sql.Timestamp")
    return parse_timestamp(value)


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        raise class_cast(value, "java.sql.Date")
    return parse_date(value)


def _decimal(precision: int, scale: int, value: Any) -> Decimal:
    if not isinstance(value, str):
        raise class_cast(value, _HIVE_DECIMAL)
    return java.parse_decimal(value, precision, scale)


def _refuse(target: str, value: Any) -> Any:
    raise class_cast(value, target)


def _void(value: Any) -> Any:
    raise java.JavaError("Void type not implemented")


_PRIMITIVES: Final[dict[str, Convert]] = {
    "boolean": _boolean,
    "tinyint": partial(_integer, 8, 2, "java.lang.Byte"),
    "smallint": partial(_integer, 16, 4, "java.lang.Short"),
    "int": partial(_integer, 32, 9, "java.lang.Integer"),
    "bigint": partial(_integer, 64, 18, "java.lang.Long"),
    "float": _float,
    "double": _double,
    "string": _string,
    "date": _date,
    "timestamp": _timestamp,
    "void": _void,
}

_KEYS: Final[dict[str, Convert]] = {"timestamp": timestamp_value_of, "date": date_value_of}
