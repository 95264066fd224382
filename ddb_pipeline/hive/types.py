"""Hive column types as trees: read and printed by Hive's own grammar, with Hive's own errors.

The grammar is that of ``TypeInfoUtils`` in Hive 2.3.10, observed on a JVM. Trees may be nested as
deep as a type string can be written (some 20,000 levels): nothing here recurses, and code that
walks a tree should use :func:`fold` or :func:`children` instead of calling itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from ddb_pipeline.hive.tokens import TokenReader

T = TypeVar("T")

MAX_TYPE_LENGTH: Final = 131_072
"""Characters of a column's type (AWS Glue API reference, Column)."""

MAX_DECIMAL_PRECISION: Final = 38
MAX_VARCHAR_LENGTH: Final = 65535
MAX_CHAR_LENGTH: Final = 255


class HiveTypeError(ValueError):
    """A type string that Hive does not accept; the text of the error is exactly Hive's."""


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

_CONTAINERS: Final = frozenset({"array", "map", "struct", "uniontype"})
# Hive knows the name `unknown` as a primitive's but cannot make a type of it.
_TYPE_NAMES: Final = (
    frozenset(PRIMITIVE_TYPES) | _CONTAINERS | {"decimal", "varchar", "char", "unknown"}
)


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


def parse_type(text: str) -> HiveType:
    """What a column type means to Hive: the first type in ``text``, all of which must be valid.

    Raises:
        HiveTypeError: with Hive's own message.
    """
    return _first(parse_types(text))


def parse_types(text: str) -> tuple[HiveType, ...]:
    """The list of types in ``text``, separated by ``,``, ``;`` or ``:``.

    Raises:
        HiveTypeError: with Hive's own message.
    """
    return tuple(_Parser(text).types())


def parse_crawled_type(text: str) -> HiveType:
    """Like :func:`parse_type`, with ``set<T>`` taken for a type of its own.

    Raises:
        HiveTypeError: with Hive's own message.
    """
    return _first(tuple(_Parser(text, sets=True).types()))


def set_positions(text: str) -> tuple[int, ...]:
    """Where ``set<`` stands for a type: what Hive would stumble over, were the sets before arrays.

    Positions are offsets into ``text``. What comes after another error than a set is not looked
    at, since Hive never gets there.
    """
    parser = _Parser(text, sets=True)
    try:
        for _ in parser.types():
            pass
    except HiveTypeError:
        pass
    # Code points before a set are units too: a surrogate pair would have been an error before it.
    return parser.set_positions()


def _first(types: tuple[HiveType, ...]) -> HiveType:
    if not types:
        raise HiveTypeError("Index 0 out of bounds for length 0")
    return types[0]


class _Open:
    """A container whose end has not been read yet."""

    __slots__ = ("inside", "kind", "names")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.names: list[str] = []
        self.inside: list[HiveType] = []


class _Parser:
    """One type string on its way from left to right."""

    def __init__(self, text: str, *, sets: bool = False) -> None:
        self._tokens = TokenReader(text)
        self._sets = sets
        self.set_tokens: list[int] = []

    def types(self) -> Iterator[HiveType]:
        tokens = self._tokens
        while tokens.peek() is not None:
            yield self._type()
            if tokens.peek() is not None and tokens.take(",", ";", ":") is None:
                raise HiveTypeError(tokens.wrong_separator())

    def set_positions(self) -> tuple[int, ...]:
        positions = self._tokens.positions()
        return tuple([positions[index] for index in self.set_tokens])

    def _type(self) -> HiveType:
        opened: list[_Open] = []
        while True:
            done = self._start(opened)
            while done is not None:
                if not opened:
                    return done
                done = self._after(opened, done)

    def _start(self, opened: list[_Open]) -> HiveType | None:
        """Read a type's beginning: the whole of it, or a container up to its first type."""
        name = self._expect_type()
        if name not in _CONTAINERS and name != "set":
            return self._primitive(name)
        self._expect("<")
        opened.append(_Open(name))
        return self._field(opened) if name == "struct" else None

    def _after(self, opened: list[_Open], done: HiveType) -> HiveType | None:
        """Go on after a type inside a container: to the next one, or to the container's end."""
        container = opened[-1]
        container.inside.append(done)
        kind = container.kind
        if kind == "struct":
            if self._expect(">", ",") == ",":
                return self._field(opened)
            return self._struct(opened)
        if kind == "map" and len(container.inside) == 1:
            self._expect(",")
            return None
        if kind == "uniontype" and self._expect(">", ",") == ",":
            return None
        if kind != "uniontype":
            self._expect(">")
        opened.pop()
        return _container(kind, container.inside)

    def _field(self, opened: list[_Open]) -> HiveType | None:
        """Read a field up to its type. In its place a ``>`` ends the struct, even after a comma."""
        name = self._tokens.take_name()
        if name is None:
            if self._tokens.take(">") is None:
                raise HiveTypeError(self._tokens.expected("name"))
            return self._struct(opened)
        self._expect(":")
        opened[-1].names.append(name)
        return None

    def _struct(self, opened: list[_Open]) -> HiveType:
        struct = opened.pop()
        return StructType(tuple(map(StructField, struct.names, struct.inside)))

    def _primitive(self, name: str) -> HiveType:
        if name == "unknown":
            raise HiveTypeError(self._tokens.internal_error())
        parameters = self._parameters() if self._tokens.take("(") else ()
        if name == "decimal":
            return _decimal(parameters)
        if name not in ("varchar", "char"):
            return PRIMITIVE_TYPES[name]
        if not parameters:
            raise HiveTypeError(f"{name} type is specified without length: {self._tokens.text}")
        return _varchar(parameters) if name == "varchar" else _char(parameters)

    def _parameters(self) -> tuple[str, ...]:
        if self._tokens.peek() == ")":
            raise HiveTypeError(f"type parameters expected for type string {self._tokens.text}")
        parameters = []
        while True:
            name = self._tokens.take_name()
            if name is None:
                raise HiveTypeError(self._tokens.expected("name"))
            parameters.append(name)
            if self._expect(",", ")") == ")":
                return tuple(parameters)

    def _expect_type(self) -> str:
        tokens = self._tokens
        token = tokens.peek()
        if token in _TYPE_NAMES:
            tokens.index += 1
            return token
        if self._sets and token == "set" and tokens.peek(1) == "<":
            self.set_tokens.append(tokens.index)
            tokens.index += 1
            return token
        raise HiveTypeError(tokens.expected("type"))

    def _expect(self, item: str, alternative: str | None = None) -> str:
        token = self._tokens.take(item, alternative)
        if token is None:
            raise HiveTypeError(self._tokens.expected(item))
        return token


def _container(kind: str, inside: list[HiveType]) -> HiveType:
    if kind == "uniontype":
        return UnionType(tuple(inside))
    if kind == "map":
        return MapType(*inside)
    return SetType(*inside) if kind == "set" else ArrayType(*inside)


def _decimal(parameters: tuple[str, ...]) -> HiveType:
    # Hive 2.3 reads one parameter, decimal(5), as no parameter at all.
    if len(parameters) < 2:
        return DecimalType(10, 0)
    if len(parameters) > 2:
        raise HiveTypeError(f"Type decimal only takes two parameter, but {len(parameters)} is seen")
    precision, scale = _integer(parameters[0]), _integer(parameters[1])
    if not 1 <= precision <= MAX_DECIMAL_PRECISION:
        raise HiveTypeError("Decimal precision out of allowed range [1,38]")
    if not 0 <= scale <= MAX_DECIMAL_PRECISION:
        raise HiveTypeError("Decimal scale out of allowed range [0,38]")
    if scale > precision:
        raise HiveTypeError("Decimal scale must be less than or equal to precision")
    return DecimalType(precision, scale)


def _varchar(parameters: tuple[str, ...]) -> HiveType:
    return VarcharType(_length("varchar", parameters, MAX_VARCHAR_LENGTH))


def _char(parameters: tuple[str, ...]) -> HiveType:
    return CharType(_length("char", parameters, MAX_CHAR_LENGTH))


def _length(name: str, parameters: tuple[str, ...], longest: int) -> int:
    if len(parameters) > 1:
        raise HiveTypeError(f"Type {name} only takes one parameter, but {len(parameters)} is seen")
    length = _integer(parameters[0])
    if not 1 <= length <= longest:
        raise HiveTypeError(
            f"{name.capitalize()} length {length} out of allowed range [1, {longest}]"
        )
    return length


def _integer(token: str) -> int:
    """Java's Integer.parseInt, for a token of name characters (no sign)."""
    digits = token.lstrip("0") if token.isdecimal() else ""
    if not token.isdecimal() or len(digits) > 10 or int(token[-11:]) > 2**31 - 1:
        raise HiveTypeError(f'For input string: "{token}"')
    return int(token[-11:])
