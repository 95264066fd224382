"""Hive column types as Arrow types, so that the Parquet written from them reads as Hive's own.

A file written by pyarrow with :func:`parquet_write_options` has the physical and logical types
of Hive 2.3's Parquet schema, and Spark, Athena and Hive read it under the same column types.
It differs from Hive's own message in three ways that readers do not see:

- list elements are named ``list.element`` (the Parquet specification) where Hive says
  ``bag.array_element``; both are three-level lists of optional elements;
- map keys are always required, as the specification demands; Hive leaves decimal, struct, array
  and map keys optional;
- a field may carry the newer logical type annotation beside the converted type.

Types that have no Parquet form (``void``, ``uniontype``, intervals, an empty struct) raise
:class:`NoParquetTypeError`. Names pass through as they are: a name Spark refuses is the business
of the schema repair, not of the file writer.
"""

from __future__ import annotations

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
    depth,
    parse_type,
)

MAX_TYPE_DEPTH: Final = 100
"""Deepest nesting written to Parquet. DynamoDB documents nest 32 levels, Hive tables fewer."""

# tinyint and smallint stay INT32 with an integer annotation, which pyarrow writes for int8/int16.
# timestamp is microseconds: with INT96 on the way out it is what Hive 2.3 and Spark both read,
# and it holds the years 0001 to 9999, where nanoseconds end in 2262.
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

    ``reason`` is Hive's own text where Hive has one; ``column`` is set when a schema was built.
    """

    def __init__(self, hive_type: str, reason: str, column: str | None = None) -> None:
        self.hive_type = hive_type
        self.reason = reason
        self.column = column
        where = f"column {column!r} of type" if column is not None else "type"
        shown = hive_type if len(hive_type) <= 200 else f"{hive_type[:200]}..."
        super().__init__(f"{where} {shown!r} has no Parquet form: {reason}")


def arrow_type(hive_type: HiveType) -> pa.DataType:
    """The Arrow type of a Hive type, nullable at every level but map keys.

    Raises NoParquetTypeError for a type without a Parquet form and for one nested deeper than
    MAX_TYPE_DEPTH.
    """
    if depth(hive_type) > MAX_TYPE_DEPTH:
        raise NoParquetTypeError(str(hive_type), f"nested deeper than {MAX_TYPE_DEPTH} levels")
    return _build(hive_type)


def arrow_schema(columns: Iterable[Column | tuple[str, str]]) -> pa.Schema:
    """The Arrow schema of catalog columns, in their order and under their names.

    Raises NoParquetTypeError naming the column, and HiveTypeError for a type that is not Hive's.
    """
    fields = []
    for name, type_text in columns:
        try:
            fields.append(pa.field(name, arrow_type(parse_type(type_text))))
        except NoParquetTypeError as error:
            raise NoParquetTypeError(type_text, error.reason, name) from None
    return pa.schema(fields)


def parquet_write_options() -> dict[str, Any]:
    """Keyword arguments of pyarrow's ParquetWriter that every file of the lake is written with.

    INT96 timestamps are the only ones that Hive 2.3 reads; INT64 nanoseconds nothing reads.
    ``store_schema`` is off: the Arrow schema in the footer would bring Arrow's own types back
    where every other reader sees Hive's.
    """
    return {
        "use_deprecated_int96_timestamps": True,
        "use_compliant_nested_type": True,
        "store_schema": False,
    }


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
