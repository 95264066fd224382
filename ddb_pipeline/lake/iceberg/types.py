"""Hive column types as Iceberg types, and which of them Iceberg reads from older files.

Iceberg promotes int to long, float to double and a decimal to one of more digits and the same
scale (Iceberg specification, "Schema Evolution"); a file is read as any of these. For every other
wider type the rows have to be written again.
"""

from collections.abc import Callable, Sequence
from typing import Final

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)
from pyiceberg.types import DecimalType as IcebergDecimal
from pyiceberg.types import MapType as IcebergMap
from pyiceberg.types import StructType as IcebergStruct

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.types import (
    STRING,
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    VarcharType,
    parse_type,
)

_PRIMITIVES: Final[dict[str, IcebergType]] = {
    "boolean": BooleanType(),
    "int": IntegerType(),
    "bigint": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "binary": BinaryType(),
}
"""A timestamp has no zone, as in Hive and Athena."""
_NAMES: Final = {str(kind): name for name, kind in _PRIMITIVES.items()}
_PROMOTIONS: Final = {("int", "bigint"), ("float", "double")}
NextId = Callable[[], int]


class NoIcebergTypeError(DdbPipelineError):
    """A column's type, or a part of it, that no Iceberg table holds."""


def iceberg_form(kind: HiveType) -> HiveType:
    """The Hive type that names the Iceberg type for a type: small integers become ``int``."""
    if isinstance(kind, ArrayType):
        return ArrayType(iceberg_form(kind.element))
    if isinstance(kind, MapType):
        return MapType(iceberg_form(kind.key), iceberg_form(kind.value))
    if isinstance(kind, StructType):
        fields = (StructField(field.name, iceberg_form(field.type)) for field in kind.fields)
        return StructType(tuple(fields))
    if isinstance(kind, CharType | VarcharType):
        return STRING
    if isinstance(kind, PrimitiveType) and kind.name in ("tinyint", "smallint"):
        return PrimitiveType("int")
    return kind


def iceberg_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns with the types that name their Iceberg types."""
    return tuple(Column(c.name, str(iceberg_form(parse_type(c.type)))) for c in columns)


def promotable(found: HiveType, wanted: HiveType) -> bool:
    """Whether Iceberg reads values of a type as another one, both as of ``iceberg_form``.

    Fields that a struct lacks are read as null.
    """
    if found == wanted:
        return True
    match found, wanted:
        case ArrayType(ours), ArrayType(theirs):
            return promotable(ours, theirs)
        case MapType(our_key, ours), MapType(their_key, theirs):
            return our_key == their_key and promotable(ours, theirs)
        case StructType(fields), StructType(others):
            types = {field.name: field.type for field in others}
            return all(
                field.name in types and promotable(field.type, types[field.name])
                for field in fields
            )
        case DecimalType(), DecimalType():
            return found.scale == wanted.scale and found.precision <= wanted.precision
    return (str(found), str(wanted)) in _PROMOTIONS


def iceberg_type(kind: HiveType, next_id: NextId) -> IcebergType:
    """The Iceberg type of a Hive type; ``next_id`` numbers the fields in it.

    Raises:
        NoIcebergTypeError: there is none.
    """
    kind = iceberg_form(kind)
    if isinstance(kind, ArrayType):
        return ListType(next_id(), iceberg_type(kind.element, next_id), element_required=False)
    if isinstance(kind, MapType):
        key, value = next_id(), next_id()
        return IcebergMap(
            key,
            iceberg_type(kind.key, next_id),
            value,
            iceberg_type(kind.value, next_id),
            value_required=False,
        )
    if isinstance(kind, StructType) and kind.fields:
        fields = [
            NestedField(next_id(), field.name, iceberg_type(field.type, next_id), required=False)
            for field in kind.fields
        ]
        return IcebergStruct(*fields)
    if isinstance(kind, DecimalType):
        return IcebergDecimal(kind.precision, kind.scale)
    found = _PRIMITIVES.get(str(kind))
    if found is None:
        raise NoIcebergTypeError(
            f"An Iceberg table holds no {kind}. Change the column's type in the lake table, for "
            "example to string."
        )
    return found


def hive_form(kind: IcebergType) -> HiveType:
    """The Hive type that names an Iceberg type; inverts :func:`iceberg_type`.

    Raises:
        NoIcebergTypeError: it is a type that the lake does not have.
    """
    if isinstance(kind, ListType):
        return ArrayType(hive_form(kind.element_type))
    if isinstance(kind, IcebergMap):
        return MapType(hive_form(kind.key_type), hive_form(kind.value_type))
    if isinstance(kind, IcebergStruct):
        fields = (StructField(field.name, hive_form(field.field_type)) for field in kind.fields)
        return StructType(tuple(fields))
    if isinstance(kind, IcebergDecimal):
        return DecimalType(kind.precision, kind.scale)
    name = _NAMES.get(str(kind))
    if name is None:
        raise NoIcebergTypeError(
            f"The Iceberg table has a column of type {kind}, which the lake does not have. Drop "
            "that column: only ddb-pipeline writes its tables."
        )
    return PrimitiveType(name)
