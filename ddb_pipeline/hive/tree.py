"""The tree of a Hive type, as plain values. Import it from :mod:`ddb_pipeline.hive.types`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_TYPE_DEPTH: Final = 128
"""Levels of nesting in a column type: ``int`` has 1, ``array<int>`` has 2.

Four times what DynamoDB nests (32 levels: Developer Guide, Quotas), and far more than any table
needs. It bounds recursion, here and in all code that walks a type or a value of it: Python allows
1,000 nested calls, and comparing two types takes up to 5 a level (3.10).
"""

MAX_COLUMN_DEPTH: Final = 50
"""Levels of nesting that a column of the lake may have: every reader of Parquet takes them.

pyarrow reads Parquet schemas of up to 100 levels (its version 26), of which an array or a map takes
two. A column of DynamoDB's 32 levels has 33.
"""

MAX_TYPE_LENGTH: Final = 131_072
"""Characters of a column's type (AWS Glue API reference, Column)."""

MAX_DECIMAL_PRECISION: Final = 38
MAX_VARCHAR_LENGTH: Final = 65535
MAX_CHAR_LENGTH: Final = 255


class Column(NamedTuple):
    """A column of a catalog table; ``type`` is a Hive type string."""

    name: str
    type: str


class HiveType:
    """A Hive type; ``str()`` returns its canonical type string.

    >>> str(parse_type("struct<id:bigint,tags:array<string>>"))
    'struct<id:bigint,tags:array<string>>'
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PrimitiveType(HiveType):
    """A type without parameters, such as ``bigint``."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class DecimalType(HiveType):
    """``decimal(precision,scale)``: ``precision`` digits, ``scale`` of them after the point."""

    precision: int
    scale: int

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class CharType(HiveType):
    """``char(length)``, padded with spaces."""

    length: int

    def __str__(self) -> str:
        return f"char({self.length})"


@dataclass(frozen=True, slots=True)
class VarcharType(HiveType):
    """``varchar(length)``."""

    length: int

    def __str__(self) -> str:
        return f"varchar({self.length})"


@dataclass(frozen=True, slots=True)
class ArrayType(HiveType):
    """``array<element>``."""

    element: HiveType

    def __str__(self) -> str:
        return f"array<{self.element}>"


@dataclass(frozen=True, slots=True)
class SetType(HiveType):
    """``set<element>``: no Hive type, but what Glue's crawler writes for DynamoDB's sets.

    :func:`parse_type` never returns it; :func:`parse_crawled_type` does.
    """

    element: HiveType

    def __str__(self) -> str:
        return f"set<{self.element}>"


@dataclass(frozen=True, slots=True)
class MapType(HiveType):
    """``map<key,value>``."""

    key: HiveType
    value: HiveType

    def __str__(self) -> str:
        return f"map<{self.key},{self.value}>"


class StructField(NamedTuple):
    """One field of a struct."""

    name: str
    type: HiveType


@dataclass(frozen=True, slots=True)
class StructType(HiveType):
    """``struct<name:type,...>``; names keep their case and may repeat, as in Hive's own tree."""

    fields: tuple[StructField, ...]

    def __str__(self) -> str:
        return f"struct<{','.join([f'{name}:{kind}' for name, kind in self.fields])}>"


@dataclass(frozen=True, slots=True)
class UnionType(HiveType):
    """``uniontype<member,...>``."""

    members: tuple[HiveType, ...]

    def __str__(self) -> str:
        return f"uniontype<{','.join(map(str, self.members))}>"


STRING: Final = PrimitiveType("string")

PRIMITIVE_TYPES: Final = {
    name: PrimitiveType(name)
    for name in (
        *("void", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string"),
        *("date", "timestamp", "binary", "interval_year_month", "interval_day_time"),
    )
}
"""Hive's types without parameters, by name."""


def is_container(hive_type: HiveType) -> bool:
    """Whether values of the type hold other values."""
    return isinstance(hive_type, ArrayType | SetType | MapType | StructType | UnionType)


def children(hive_type: HiveType) -> tuple[HiveType, ...]:
    """The types directly inside a type, in the order in which they are printed."""
    match hive_type:
        case ArrayType(element) | SetType(element):
            return (element,)
        case MapType(key, value):
            return (key, value)
        case StructType(fields):
            return tuple([field.type for field in fields])
        case UnionType(members):
            return members
    return ()


def with_children(hive_type: HiveType, inside: tuple[HiveType, ...]) -> HiveType:
    """The same type with other types inside it, as many as :func:`children` returns."""
    match hive_type:
        case ArrayType() | SetType():
            return type(hive_type)(*inside)
        case MapType():
            return MapType(*inside)
        case StructType(fields):
            names = [field.name for field in fields]
            return StructType(tuple(map(StructField, names, inside)))
        case UnionType():
            return UnionType(inside)
    return hive_type


def walk(hive_type: HiveType) -> Iterator[HiveType]:
    """The type and every type inside it, each before its children."""
    yield hive_type
    for child in children(hive_type):
        yield from walk(child)
