"""Hive column types as Arrow types and back, and how Parquet files are written from them.

A file written by pyarrow with :func:`parquet_write_options` has the physical and logical types
of Hive 2.3's Parquet schema, and Spark, Athena and Hive read it with the same column types.
Its schema differs from Hive's own in three points that no reader notices:

- list elements are named ``list.element`` (the Parquet specification) where Hive writes
  ``bag.array_element``; both are three-level lists of optional elements;
- map keys are always required, as the specification demands; Hive leaves decimal, struct, array
  and map keys optional;
- a field may carry the newer logical type annotation beside the converted type.

Types that have no Parquet form (``void``, ``uniontype``, intervals, an empty struct) raise
:class:`NoParquetTypeError`. Names stay as they are: names that Spark refuses are changed by
:mod:`ddb_pipeline.hive.normalize`, before any file is written.
"""

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import (
    MAX_DECIMAL_PRECISION,
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    UnionType,
    VarcharType,
    children,
    parse_type,
)

MAX_PARQUET_LEVELS: Final = 99
"""Levels of a column in Parquet, where an array or a map takes two.

pyarrow (its version 26) refuses to read schemas of more than 100 levels, the root included.
"""

# tinyint and smallint become INT32 with an integer annotation, as pyarrow writes int8 and int16.
# A timestamp is in microseconds, which hold the years 0001 to 9999 (nanoseconds end in 2262), and
# is written as INT96, which both Hive 2.3 and Spark read.
_PRIMITIVES: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "binary": pa.binary(),
}

_HIVE_NAMES: Final[dict[str, str]] = {
    **{str(arrow): name for name, arrow in _PRIMITIVES.items()},
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "uint64",
    "halffloat": "float",
    "large_string": "string",
    "string_view": "string",
    "large_binary": "binary",
    "binary_view": "binary",
    "date64[ms]": "date",
}
"""Names of Hive types by the text of Arrow types; ``uint64`` stands for a decimal."""

_NO_FORM: Final[dict[str, str]] = {
    "void": "Void type not implemented",
    "interval_year_month": "Unknown type: interval_year_month",
    "interval_day_time": "Unknown type: interval_day_time",
}


class NoParquetTypeError(TypeError):
    """A Hive type, or a part of it, that cannot be written to Parquet.

    Attributes:
        hive_type: the type string.
        reason: why; Hive's own text where Hive has one.
        column: the column of that type; None outside of a schema.
    """

    def __init__(self, hive_type: str, reason: str, column: str | None = None) -> None:
        self.hive_type = hive_type
        self.reason = reason
        self.column = column
        where = f"column {column!r} of type" if column is not None else "type"
        shown = hive_type if len(hive_type) <= 200 else f"{hive_type[:200]}..."
        super().__init__(f"{where} {shown!r} has no Parquet form: {reason}")


def arrow_type(hive_type: HiveType) -> pa.DataType:
    """The Arrow type of a Hive type, nullable at every level except for map keys.

    Raises:
        NoParquetTypeError: the type, or a part of it, has no Parquet form, or is nested too deep.
    """
    if _parquet_levels(hive_type) > MAX_PARQUET_LEVELS:
        raise NoParquetTypeError(str(hive_type), f"over {MAX_PARQUET_LEVELS} levels in Parquet")
    return _build(hive_type)


def arrow_schema(columns: Iterable[Column | tuple[str, str]]) -> pa.Schema:
    """The Arrow schema of catalog columns, with their order and names.

    Raises:
        NoParquetTypeError: a type has no Parquet form; the error names the column.
        HiveTypeError: a type is not valid for Hive.
    """
    fields = []
    for name, type_text in columns:
        try:
            fields.append(pa.field(name, arrow_type(parse_type(type_text))))
        except NoParquetTypeError as error:
            raise NoParquetTypeError(type_text, error.reason, name) from None
    return pa.schema(fields)


class NoHiveTypeError(DdbPipelineError):
    """An Arrow type, or a part of it, for which the catalog has no type.

    Attributes:
        path: the column and, inside of it, ``.field``, ``[]``, ``{}`` and ``{key}``.
        arrow_type: the type there.
    """

    def __init__(self, path: str, arrow_type: pa.DataType) -> None:
        self.path = path
        self.arrow_type = arrow_type
        hint = (
            "It has no values from which a type follows; give it a type"
            if pa.types.is_null(arrow_type)
            else "Cast it to another type, for example to text"
        )
        super().__init__(f"{path} is of type {arrow_type}, which no catalog table holds. {hint}.")


def hive_type(arrow: pa.DataType, path: str) -> HiveType:
    """The narrowest Hive type that holds all values of an Arrow type; inverts :func:`arrow_type`.

    Unsigned integers become the next larger type, and a timestamp loses the name of its time zone,
    not the instant.

    Args:
        arrow: the type.
        path: names the column in an error.

    Raises:
        NoHiveTypeError: there is none: a null type, a time of day, a duration, a union.
    """
    types = pa.types
    if types.is_dictionary(arrow) or types.is_run_end_encoded(arrow):
        return hive_type(arrow.value_type, path)
    if isinstance(arrow, pa.BaseExtensionType):
        return hive_type(arrow.storage_type, path)
    if types.is_decimal(arrow):
        if arrow.precision > MAX_DECIMAL_PRECISION or not 0 <= arrow.scale <= arrow.precision:
            raise NoHiveTypeError(path, arrow)
        return DecimalType(arrow.precision, arrow.scale)
    if types.is_struct(arrow) and arrow.num_fields:
        fields = (StructField(f.name, hive_type(f.type, f"{path}.{f.name}")) for f in arrow)
        return StructType(tuple(fields))
    if types.is_map(arrow):
        key = hive_type(arrow.key_type, f"{path}{{key}}")
        return MapType(key, hive_type(arrow.item_type, f"{path}{{}}"))
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        return ArrayType(hive_type(arrow.value_type, f"{path}[]"))
    if types.is_timestamp(arrow):
        return PrimitiveType("timestamp")
    name = "binary" if types.is_fixed_size_binary(arrow) else _HIVE_NAMES.get(str(arrow))
    if name is None:
        raise NoHiveTypeError(path, arrow)
    return DecimalType(20, 0) if name == "uint64" else PrimitiveType(name)


def hive_columns(schema: pa.Schema) -> tuple[Column, ...]:
    """The catalog columns of an Arrow schema, with its order and names.

    Raises:
        NoHiveTypeError: the catalog has no type for a column.
    """
    return tuple(Column(field.name, str(hive_type(field.type, field.name))) for field in schema)


def parquet_write_options(*, int96: bool = True) -> dict[str, Any]:
    """Keyword arguments of pyarrow's ParquetWriter for every file of the lake.

    INT96 timestamps are the only ones that Hive 2.3 reads; no reader takes INT64 nanoseconds.
    Without ``int96`` timestamps are INT64 microseconds, the form that Iceberg defines.
    ``store_schema`` is off: with the Arrow schema in the footer, pyarrow would read Arrow's own
    types where every other reader sees Hive's.
    """
    return {
        "use_deprecated_int96_timestamps": int96,
        "use_compliant_nested_type": True,
        "store_schema": False,
    }


def _parquet_levels(hive_type: HiveType) -> int:
    own = 2 if isinstance(hive_type, ArrayType | MapType) else 1
    return own + max(map(_parquet_levels, children(hive_type)), default=0)


def _build(hive_type: HiveType) -> pa.DataType:
    if isinstance(hive_type, PrimitiveType):
        arrow = _PRIMITIVES.get(hive_type.name)
        if arrow is None:
            reason = _NO_FORM.get(hive_type.name, f"Unknown type: {hive_type.name}")
            raise NoParquetTypeError(str(hive_type), reason)
        return arrow
    if isinstance(hive_type, DecimalType):
        return pa.decimal128(hive_type.precision, hive_type.scale)
    if isinstance(hive_type, CharType | VarcharType):
        return pa.string()
    if isinstance(hive_type, ArrayType):
        return pa.list_(pa.field("element", _build(hive_type.element)))
    if isinstance(hive_type, MapType):
        return pa.map_(_build(hive_type.key), _build(hive_type.value))
    if isinstance(hive_type, StructType):
        return _struct(hive_type)
    if isinstance(hive_type, UnionType):
        raise NoParquetTypeError(str(hive_type), "Union type not implemented")
    raise NoParquetTypeError(str(hive_type), "Unknown type")


def _struct(hive_type: StructType) -> pa.DataType:
    if not hive_type.fields:
        raise NoParquetTypeError(str(hive_type), "Cannot write a schema with an empty group")
    return pa.struct([pa.field(field.name, _build(field.type)) for field in hive_type.fields])
