"""One JSON document and a table's columns → one row, by the rules of the OpenX JSON SerDe.

The rules are those of org.openx.data.jsonserde.JsonSerDe as it answers, and of the probed
service where the two differ: syntax (Jackson's, strict), timestamps, objects in string columns.
Columns are compiled once into one function per column; a document then costs one parse and one
call per column it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from json import JSONDecoder
from typing import Any, Final

from ddb_pipeline.firehose import serde_java as java
from ddb_pipeline.firehose.serde_json import (
    DuplicateKeyError,
    JsonInteger,
    JsonNumber,
    JsonSyntaxError,
    document_decoder,
    read_documents,
    unique_keys,
    unique_lower_keys,
)
from ddb_pipeline.firehose.serde_time import (
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
    HiveTypeError,
    MapType,
    PrimitiveType,
    StructType,
    UnionType,
    VarcharType,
    depth,
    parse_type,
    walk,
)

PARSE_ERROR: Final = "DataFormatConversion.ParseError"
MALFORMED_DATA: Final = "DataFormatConversion.MalformedData"
INVALID_SCHEMA: Final = "DataFormatConversion.InvalidSchema"

EMPTY_RECORD: Final = "The record was empty or contained only whitespace."
UNSUPPORTED_TYPES: Final = (
    "The schema is invalid. One or more columns have types that are not supported by "
    "org.openx.data.JsonSerDe"
)

MAX_TYPE_DEPTH: Final = 100
"""Deepest column type converted. DynamoDB documents nest 32 levels."""

Convert = Callable[[Any], Any]
"""From a JSON value that is not null to a column value. Raises JavaError."""

_HIVE_DECIMAL: Final = "org.apache.hadoop.hive.common.type.HiveDecimal"
_OBJECT: Final = "org.openx.data.jsonserde.json.JSONObject"


class ConversionError(Exception):
    """Why a record, or a whole schema, cannot be converted: Firehose's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


def malformed_json(error: JsonSyntaxError) -> ConversionError:
    return ConversionError(PARSE_ERROR, f"Encountered malformed JSON. {error}")


def malformed_data(reason: object) -> ConversionError:
    return ConversionError(MALFORMED_DATA, f"Data does not match the schema. {reason}")


def parse_columns(columns: Sequence[tuple[str, str]]) -> list[tuple[str, HiveType]]:
    """Column types as trees.

    Raises ConversionError, code InvalidSchema, with Hive's own text for one that is not Hive's.
    """
    parsed = []
    for name, type_text in columns:
        try:
            hive_type = parse_type(type_text)
        except HiveTypeError as error:
            raise ConversionError(
                INVALID_SCHEMA, f"The schema is invalid. Error parsing the schema: {error}"
            ) from error
        if depth(hive_type) > MAX_TYPE_DEPTH:
            raise ConversionError(
                INVALID_SCHEMA,
                f"The schema is invalid. Column {name} is nested deeper than "
                f"{MAX_TYPE_DEPTH} levels",
            )
        parsed.append((name, hive_type))
    return parsed


class JsonSerDe:
    """Documents to rows: what the SerDes share. They differ in how ``row`` reads a document."""

    def __init__(self, row: Convert, decoder: JSONDecoder) -> None:
        self._row = row
        self._decoder = decoder

    def deserialize(self, document: bytes) -> dict[str, Any]:
        """The row of one document. Raises ConversionError; further documents are malformed JSON."""
        rows = self.rows(document)
        row = next(rows)
        for _ in rows:
            raise malformed_json(JsonSyntaxError("more than one document"))
        return row

    def rows(self, record: bytes) -> Iterator[dict[str, Any]]:
        """The rows of the documents of a record, in order.

        Raises ConversionError at the document that fails; the rows before it have been yielded.
        """
        for outcome in self.outcomes(record):
            if isinstance(outcome, ConversionError):
                raise outcome
            yield outcome

    def outcomes(self, record: bytes) -> Iterator[dict[str, Any] | ConversionError]:
        """For each document of a record its row, or the error it fails with.

        What is not JSON ends the record. An empty record has one outcome, an error.
        """
        documents = read_documents(record, self._decoder)
        empty = True
        try:
            for document in documents:
                empty = False
                yield self._outcome(document)
        except JsonSyntaxError as error:
            yield malformed_json(error)
            return
        if empty:
            yield ConversionError(MALFORMED_DATA, EMPTY_RECORD)

    def _outcome(self, document: Any) -> dict[str, Any] | ConversionError:
        try:
            if isinstance(document, DuplicateKeyError):
                raise java.JavaError(f"Row is not a valid JSON Object - JSONException: {document}")
            row: dict[str, Any] = self._row(document)
        except java.FieldFormatError as error:
            return ConversionError(MALFORMED_DATA, str(error))
        except java.JavaError as error:
            return malformed_data(error)
        return row


class OpenXJsonSerDe(JsonSerDe):
    """Documents to rows under OpenXJsonSerDe's options.

    ``columns`` are (name, Hive type) pairs. Values come out as int, float, Decimal, str, bool,
    naive UTC datetime, date, list, and dict for maps and structs; a union is
    ``{"tag": n, "value": v}``. ``decimals`` is what the SerDe does with a decimal column:
    ``"refuse"`` every value, as the open-source SerDe does (a ClassCastException), or
    ``"convert"`` them exactly, for a service found to do so.

    Raises ConversionError, code InvalidSchema, when the schema cannot be used at all.
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
        compiler = _Compiler(
            case_insensitive, convert_dots, column_to_json_key or {}, decimals == "convert"
        )
        super().__init__(
            compiler.row(parse_columns(columns)),
            document_decoder(unique_lower_keys if case_insensitive else unique_keys),
        )


class _Compiler:
    """Hive types to functions on JSON values."""

    def __init__(
        self,
        case_insensitive: bool,
        convert_dots: bool,
        column_to_json_key: Mapping[str, str],
        decimals: bool,
    ) -> None:
        self._fold = str.lower if case_insensitive else str
        self._convert_dots = convert_dots
        self._decimals = decimals
        self._mapping = {
            column.lower(): self._fold(key) for column, key in column_to_json_key.items()
        }

    def row(self, columns: Sequence[tuple[str, HiveType]]) -> Convert:
        if any(_is_binary(inner) for _, hive_type in columns for inner in walk(hive_type)):
            raise ConversionError(INVALID_SCHEMA, UNSUPPORTED_TYPES)
        fields = self._fields(columns)
        if self._convert_dots:
            return partial(_row_with_dots, fields)
        return partial(_row, fields)

    def _fields(
        self, members: Sequence[tuple[str, HiveType]]
    ) -> tuple[tuple[str, str, Convert], ...]:
        # Hive lower-cases field names, so with case-insensitivity off an upper-case key is lost.
        return tuple(
            (name, self._mapping.get(name.lower(), name.lower()), self.value(hive_type))
            for name, hive_type in members
        )

    def value(self, hive_type: HiveType) -> Convert:
        if isinstance(hive_type, PrimitiveType):
            return _PRIMITIVES[hive_type.name]
        if isinstance(hive_type, DecimalType):
            if self._decimals:
                return partial(_decimal, hive_type.precision, hive_type.scale)
            return partial(_refuse, _HIVE_DECIMAL)
        if isinstance(hive_type, CharType):
            return _char
        if isinstance(hive_type, VarcharType):
            return _varchar
        if isinstance(hive_type, ArrayType):
            return partial(_array, self.value(hive_type.element))
        if isinstance(hive_type, MapType):
            return partial(_map, self._key(hive_type.key), self.value(hive_type.value))
        if isinstance(hive_type, StructType):
            fields = self._fields([(field.name, field.type) for field in hive_type.fields])
            return partial(_struct, fields, self._convert_dots)
        if isinstance(hive_type, UnionType):
            return partial(_union, tuple(self.value(member) for member in hive_type.members))
        raise ConversionError(INVALID_SCHEMA, UNSUPPORTED_TYPES)

    def _key(self, hive_type: HiveType) -> Convert:
        if isinstance(hive_type, PrimitiveType):
            return {"timestamp": timestamp_value_of, "date": date_value_of}.get(
                hive_type.name, _PRIMITIVES[hive_type.name]
            )
        return self.value(hive_type)


def _is_binary(hive_type: HiveType) -> bool:
    return isinstance(hive_type, PrimitiveType) and hive_type.name == "binary"


Fields = tuple[tuple[str, str, Convert], ...]
"""(column or field name, JSON key, conversion) of each member."""


def _row(fields: Fields, document: Any) -> dict[str, Any]:
    if type(document) is not dict:
        raise java.JavaError("Row is not a valid JSON Object: a document must be an object")
    get = document.get
    return {
        name: None if (value := get(key)) is None else convert(value)
        for name, key, convert in fields
    }


def _row_with_dots(fields: Fields, document: Any) -> dict[str, Any]:
    return _row(fields, _undotted(fields, document) if type(document) is dict else document)


def _undotted(fields: Fields, document: dict[str, Any]) -> dict[str, Any]:
    """The object with dotted keys also under their underscored names, an exact key first."""
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
    raise java.not_an_object(value)


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
        raise java.class_cast(value, _OBJECT)
    return {key(name): None if found is None else item(found) for name, found in value.items()}


def _union(members: tuple[Convert, ...], value: Any) -> dict[str, Any]:
    for tag, convert in enumerate(members):
        try:
            return {"tag": tag, "value": convert(value)}
        except java.JavaError:
            if tag == len(members) - 1:
                raise
    raise java.class_cast(value, "java.lang.Object")


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return "null"
    if isinstance(value, str):
        return str(value)
    return java.json_text(value)


def _char(value: Any) -> str:
    return _text(value, "HiveChar").rstrip(" ")


def _varchar(value: Any) -> str:
    return _text(value, "HiveVarchar")


def _text(value: Any, hive_class: str) -> str:
    # Neither the SerDe nor Hive's Parquet writer cuts a value to the declared length.
    if not isinstance(value, str):
        raise java.class_cast(value, f"org.apache.hadoop.hive.common.type.{hive_class}")
    return str(value)


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    if not isinstance(value, str):
        raise java.class_cast(value, "java.lang.Boolean")
    return java.is_true(value)


def _integer(bits: int, safe_length: int, java_class: str, value: Any) -> int:
    if type(value) is JsonInteger and len(value) <= safe_length:
        return int(value)
    if not isinstance(value, str):
        raise java.class_cast(value, java_class)
    return java.parse_integer(value, bits)


def _double(value: Any) -> float:
    if isinstance(value, JsonNumber):
        return float(value)
    if not isinstance(value, str):
        raise java.class_cast(value, "java.lang.Double")
    return java.parse_double(value)


def _float(value: Any) -> float:
    if not isinstance(value, str):
        raise java.class_cast(value, "java.lang.Float")
    return java.parse_float(value)


def _timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        raise java.class_cast(value, "java.sql.Timestamp")
    return parse_timestamp(value)


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        raise java.class_cast(value, "java.sql.Date")
    return parse_date(value)


def _decimal(precision: int, scale: int, value: Any) -> Decimal:
    if not isinstance(value, str):
        raise java.class_cast(value, _HIVE_DECIMAL)
    return java.parse_decimal(value, precision, scale)


def _refuse(target: str, value: Any) -> Any:
    raise java.class_cast(value, target)


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
    "binary": partial(_refuse, "[B"),
    "interval_year_month": partial(_refuse, "HiveIntervalYearMonth"),
    "interval_day_time": partial(_refuse, "HiveIntervalDayTime"),
}
