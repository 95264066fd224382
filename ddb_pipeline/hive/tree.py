"""The tree of a Hive type. Everyone imports it from :mod:`ddb_pipeline.hive.types`.

Trees may be as deep as a type string can be written (some 20,000 levels), so nothing here recurses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

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
    """A Hive type. ``str()`` prints its canonical name; equal types have equal trees."""

    __slots__ = ()

    def __str__(self) -> str:
        parts: list[str] = []
        pending: list[str | HiveType] = [self]
        while pending:
            piece = pending.pop()
            if isinstance(piece, str):
                parts.append(piece)
            else:
                pending.extend(reversed(piece._pieces()))
        return "".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self!s}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HiveType):
            return NotImplemented
        pending: list[tuple[HiveType, HiveType]] = [(self, other)]
        while pending:
            ours, theirs = pending.pop()
            if ours is theirs:
                continue
            if type(ours) is not type(theirs) or ours._own() != theirs._own():
                return False
            pending.extend(zip(children(ours), children(theirs), strict=True))
        return True

    def __hash__(self) -> int:
        return hash(str(self))

    def _pieces(self) -> "tuple[str | HiveType, ...]":
        """The printed form, with the types inside it left as types."""
        raise NotImplementedError

    def _own(self) -> tuple[object, ...]:
        """What tells this type from others of its class, apart from the types inside it."""
        return ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PrimitiveType(HiveType):
    """A type without parameters, such as ``bigint``."""

    name: str

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return (self.name,)

    def _own(self) -> tuple[object, ...]:
        return (self.name,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DecimalType(HiveType):
    """``decimal(precision,scale)``: ``precision`` digits, ``scale`` of them after the point."""

    precision: int
    scale: int

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return (f"decimal({self.precision},{self.scale})",)

    def _own(self) -> tuple[object, ...]:
        return (self.precision, self.scale)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CharType(HiveType):
    """``char(length)``, padded with spaces."""

    length: int

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return (f"char({self.length})",)

    def _own(self) -> tuple[object, ...]:
        return (self.length,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VarcharType(HiveType):
    """``varchar(length)``."""

    length: int

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return (f"varchar({self.length})",)

    def _own(self) -> tuple[object, ...]:
        return (self.length,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ArrayType(HiveType):
    """``array<element>``."""

    element: HiveType

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return ("array<", self.element, ">")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SetType(HiveType):
    """``set<element>``: no Hive type, but what Glue's crawler writes for DynamoDB's sets.

    :func:`parse_type` never returns it; :func:`parse_crawled_type` does.
    """

    element: HiveType

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return ("set<", self.element, ">")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MapType(HiveType):
    """``map<key,value>``."""

    key: HiveType
    value: HiveType

    def _pieces(self) -> tuple[str | HiveType, ...]:
        return ("map<", self.key, ",", self.value, ">")


class StructField(NamedTuple):
    """One field of a struct."""

    name: str
    type: HiveType


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StructType(HiveType):
    """``struct<name:type,...>``; names keep their case and may repeat, as in Hive's own tree."""

    fields: tuple[StructField, ...]

    def _pieces(self) -> tuple[str | HiveType, ...]:
        pieces: list[str | HiveType] = ["struct<"]
        for name, kind in self.fields:
            pieces += (f"{name}:" if len(pieces) == 1 else f",{name}:", kind)
        return (*pieces, ">")

    def _own(self) -> tuple[object, ...]:
        return tuple([name for name, _ in self.fields])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UnionType(HiveType):
    """``uniontype<member,...>``."""

    members: tuple[HiveType, ...]

    def _pieces(self) -> tuple[str | HiveType, ...]:
        pieces: list[str | HiveType] = ["uniontype<"]
        for member in self.members:
            pieces += (member,) if len(pieces) == 1 else (",", member)
        return (*pieces, ">")

    def _own(self) -> tuple[object, ...]:
        return (len(self.members),)


STRING: Final = PrimitiveType("string")

PRIMITIVE_TYPES: Final = {
    name: PrimitiveType(name)
    for name in (
        "void",
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "float",
        "double",
        "string",
        "date",
        "timestamp",
        "binary",
        "interval_year_month",
        "interval_day_time",
    )
}
"""Hive's types without parameters, by name."""


class OpenContainer:
    """A container that is being read: what is inside it so far, and the names if it is a struct."""

    __slots__ = ("inside", "kind", "names")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.names: list[str] = []
        self.inside: list[HiveType] = []

    def closed(self) -> HiveType:
        """The type that it is. Raises ValueError if it has too many or too few types inside."""
        if self.kind == "struct":
            return StructType(tuple(map(StructField, self.names, self.inside)))
        if self.kind == "uniontype":
            return UnionType(tuple(self.inside))
        if self.kind == "map":
            key, value = self.inside
            return MapType(key, value)
        [element] = self.inside
        return SetType(element) if self.kind == "set" else ArrayType(element)


def children(hive_type: HiveType) -> tuple[HiveType, ...]:
    """The types directly inside a type, in the order in which they are printed."""
    if isinstance(hive_type, StructType):
        return tuple([kind for _, kind in hive_type.fields])
    if isinstance(hive_type, ArrayType | SetType):
        return (hive_type.element,)
    if isinstance(hive_type, MapType):
        return (hive_type.key, hive_type.value)
    return hive_type.members if isinstance(hive_type, UnionType) else ()


def with_children(hive_type: HiveType, inside: tuple[HiveType, ...]) -> HiveType:
    """The same type with other types inside it, as many as :func:`children` gives."""
    if isinstance(hive_type, StructType):
        names = [name for name, _ in hive_type.fields]
        return StructType(tuple(map(StructField, names, inside)))
    if isinstance(hive_type, ArrayType):
        return ArrayType(inside[0])
    if isinstance(hive_type, SetType):
        return SetType(inside[0])
    if isinstance(hive_type, MapType):
        return MapType(*inside)
    return UnionType(inside) if isinstance(hive_type, UnionType) else hive_type


def fold(hive_type: HiveType, combine: Callable[[HiveType, tuple[T, ...]], T]) -> T:
    """One value out of a tree, from the leaves up: ``combine(type, values of its children)``.

    Called once for each type in the tree, children first and in order, at any depth.
    """
    values: list[T] = []
    pending: list[tuple[HiveType, int]] = [(hive_type, -1)]
    while pending:
        kind, count = pending.pop()
        if count < 0:
            inside = children(kind)
            pending.append((kind, len(inside)))
            pending.extend([(child, -1) for child in reversed(inside)])
        else:
            start = len(values) - count
            values[start:] = [combine(kind, tuple(values[start:]))]
    return values[0]


def walk(hive_type: HiveType) -> Iterator[HiveType]:
    """The type and every type inside it, each before its children."""
    pending = [hive_type]
    while pending:
        kind = pending.pop()
        yield kind
        pending.extend(reversed(children(kind)))


def depth(hive_type: HiveType) -> int:
    """Levels of nesting: 1 for ``int``, 2 for ``array<int>``."""
    return fold(hive_type, lambda _, inside: 1 + max(inside, default=0))
