"""Hive column types as Arrow types, and how Parquet files are written from them.

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

from ddb_pipeline.hive.types import (
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
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


def parquet_write_options() -> dict[str, Any]:
    """Keyword arguments of pyarrow's ParquetWriter for every file of the lake.

    INT96 timestamps are the only ones that Hive 2.3 reads; no reader takes INT64 nanoseconds.
    ``store_schema`` is off: with the Arrow schema in the footer, pyarrow would read Arrow's own
    types where every other reader sees Hive's.
    """
    return {
        "use_deprecated_int96_timestamps": True,
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
