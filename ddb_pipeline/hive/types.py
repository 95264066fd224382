"""Hive column types: read from type strings, printed by ``str``.

The grammar and the error messages are those of ``TypeInfoUtils`` in Hive 2.3.10, recorded from a
JVM. The tree that a type string becomes is in ``tree`` and imported from here; the tokens of a type
string are in ``tokens``; type strings of other programs are read in ``dialects``.
"""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

from ddb_pipeline.hive.tokens import TokenReader
from ddb_pipeline.hive.tree import (
    MAX_CHAR_LENGTH,
    MAX_COLUMN_DEPTH,
    MAX_DECIMAL_PRECISION,
    MAX_TYPE_DEPTH,
    MAX_TYPE_LENGTH,
    MAX_VARCHAR_LENGTH,
    PRIMITIVE_TYPES,
    STRING,
    ArrayType,
    CharType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    SetType,
    StructField,
    StructType,
    UnionType,
    VarcharType,
    children,
    is_container,
    walk,
    with_children,
)

__all__ = [
    "MAX_CHAR_LENGTH",
    "MAX_COLUMN_DEPTH",
    "MAX_DECIMAL_PRECISION",
    "MAX_TYPE_DEPTH",
    "MAX_TYPE_LENGTH",
    "MAX_VARCHAR_LENGTH",
    "PRIMITIVE_TYPES",
    "STRING",
    "ArrayType",
    "CharType",
    "Column",
    "DecimalType",
    "HiveType",
    "HiveTypeError",
    "MapType",
    "PrimitiveType",
    "SetType",
    "StructField",
    "StructType",
    "UnionType",
    "VarcharType",
    "children",
    "is_container",
    "parse_crawled_type",
    "parse_type",
    "parse_types",
    "set_positions",
    "walk",
    "with_children",
]

T = TypeVar("T")


class HiveTypeError(ValueError):
    """A type string that Hive does not accept, or one nested deeper than ``MAX_TYPE_DEPTH``.

    Except for the depth, the text of the error is exactly Hive's.
    """


def parse_type(text: str) -> HiveType:
    """What a column type means to Hive: the first type in ``text``, all of which must be valid.

    Raises:
        HiveTypeError: with Hive's own message; or the type is nested too deep.
    """
    return _first(parse_types(text))


def parse_types(text: str) -> tuple[HiveType, ...]:
    """The list of types in ``text``, separated by ``,``, ``;`` or ``:``.

    Raises:
        HiveTypeError: with Hive's own message; or a type is nested too deep.
    """
    parser = _Parser(text)
    return tuple(parser.each(parser.type))


def parse_crawled_type(text: str) -> HiveType:
    """The type that a crawler wrote: Hive's grammar with ``set<T>`` as a type of its own.

    A container nested deeper than ``MAX_COLUMN_DEPTH`` becomes a PrimitiveType whose name is the
    container's text.

    Raises:
        HiveTypeError: with Hive's own message.
    """
    parser = _Parser(text, crawled=True)
    return _first(tuple(parser.each(parser.type)))


def set_positions(text: str) -> tuple[int, ...]:
    """Offsets into ``text`` where ``set<`` stands for a type, in a type string of any depth.

    Hive would refuse these and nothing before them. Hive stops at the first error, so sets after
    any other error do not count.
    """
    parser = _Parser(text, crawled=True)
    with suppress(HiveTypeError):
        for _ in parser.each(parser.skip_type):
            pass
    # Positions count UTF-16 units. Before a set they are offsets into the text as well, since a
    # character of two units would have been an error.
    return parser.set_positions()


def _first(types: tuple[HiveType, ...]) -> HiveType:
    if not types:
        raise HiveTypeError("Index 0 out of bounds for length 0")
    return types[0]


# What comes after a container's name, last symbol first: tokens, and the symbols below.
_TYPE: Final = "type"
_FIELD: Final = "field or end"
_NEXT_FIELD: Final = "next field or end"
_NEXT_MEMBER: Final = "next member or end"
_CONTENTS: Final = {
    "array": (">", _TYPE, "<"),
    "set": (">", _TYPE, "<"),
    "map": (">", _TYPE, ",", _TYPE, "<"),
    "struct": (_FIELD, "<"),
    "uniontype": (_NEXT_MEMBER, _TYPE, "<"),
}
# Hive knows the name `unknown` as a primitive's but cannot make a type of it.
_TYPE_NAMES: Final = (frozenset(PRIMITIVE_TYPES) | _CONTENTS.keys() - {"set"}) | {
    *("decimal", "varchar", "char", "unknown")
}
_MAX_INTEGER: Final = 2**31 - 1


class _Parser:
    """Reads one type string from left to right.

    ``crawled`` adds ``set<T>`` to the grammar, and containers that are too deep stay text.
    """

    def __init__(self, text: str, *, crawled: bool = False) -> None:
        self._tokens = TokenReader(text)
        self._crawled = crawled
        self._sets: list[int] = []

    def set_positions(self) -> tuple[int, ...]:
        """Where each ``set`` that was read starts."""
        positions = self._tokens.positions()
        return tuple([positions[index] for index in self._sets])

    def each(self, read: Callable[[], T]) -> Iterator[T]:
        """Read the types of a list, each by ``read``."""
        tokens = self._tokens
        while tokens.peek() is not None:
            yield read()
            if tokens.peek() is not None and tokens.take(",", ";", ":") is None:
                raise HiveTypeError(tokens.wrong_separator())

    def type(self, level: int = 1) -> HiveType:
        """Read one type, ``level`` deep."""
        start = self._tokens.index
        name = self._type_name()
        if name not in _CONTENTS:
            return self._primitive(name)
        if level >= (MAX_COLUMN_DEPTH if self._crawled else MAX_TYPE_DEPTH):
            return self._too_deep(start)
        self._expect("<")
        if name == "struct":
            return self._fields(level + 1)
        first = self.type(level + 1)
        if name == "uniontype":
            members = [first]
            while self._expect(">", ",") == ",":
                members.append(self.type(level + 1))
            return UnionType(tuple(members))
        if name == "map":
            self._expect(",")
            value = self.type(level + 1)
            self._expect(">")
            return MapType(first, value)
        self._expect(">")
        return SetType(first) if name == "set" else ArrayType(first)

    def _fields(self, level: int) -> StructType:
        fields = []
        while (name := self._field_name()) is not None:
            fields.append(StructField(name, self.type(level)))
            if self._expect(">", ",") == ">":
                break
        return StructType(tuple(fields))

    def _field_name(self) -> str | None:
        """Read a field up to its type; None at the struct's end, which may follow a comma."""
        name = self._tokens.take_name()
        if name is not None:
            self._expect(":")
        elif self._tokens.take(">") is None:
            raise HiveTypeError(self._tokens.expected("name"))
        return name

    def _too_deep(self, start: int) -> HiveType:
        """Read over the container that starts at token ``start``."""
        if not self._crawled:
            raise HiveTypeError(
                f"The type is nested deeper than {MAX_TYPE_DEPTH} levels. Declare what lies "
                "deeper as string, which holds JSON text."
            )
        self._tokens.index = start
        self.skip_type()
        return PrimitiveType(self._tokens.text_since(start))

    def skip_type(self) -> None:
        """Read over one type of any depth: the grammar of ``type``, without recursion."""
        expected = [_TYPE]
        while expected:
            symbol = expected.pop()
            if symbol == _TYPE:
                name = self._type_name()
                if name in _CONTENTS:
                    expected += _CONTENTS[name]
                else:
                    self._primitive(name)
            elif symbol == _FIELD:
                if self._field_name() is not None:
                    expected += (_NEXT_FIELD, _TYPE)
            elif symbol == _NEXT_FIELD:
                if self._expect(">", ",") == ",":
                    expected.append(_FIELD)
            elif symbol == _NEXT_MEMBER:
                if self._expect(">", ",") == ",":
                    expected += (_NEXT_MEMBER, _TYPE)
            else:
                self._expect(symbol)

    def _type_name(self) -> str:
        tokens = self._tokens
        token = tokens.peek()
        if token in _TYPE_NAMES:
            tokens.index += 1
            return token
        if self._crawled and token == "set" and tokens.peek(1) == "<":
            self._sets.append(tokens.index)
            tokens.index += 1
            return token
        raise HiveTypeError(tokens.expected("type"))

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

    def _expect(self, item: str, alternative: str | None = None) -> str:
        token = self._tokens.take(item, alternative)
        if token is None:
            raise HiveTypeError(self._tokens.expected(item))
        return token


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
    """Java's Integer.parseInt, for a token of name characters (so without a sign)."""
    if token.isdecimal():
        # Digits of any script count; leading zeros may be as many as they like.
        digits = "".join([str(unicodedata.decimal(digit)) for digit in token]).lstrip("0") or "0"
        if len(digits) <= len(str(_MAX_INTEGER)) and int(digits) <= _MAX_INTEGER:
            return int(digits)
    raise HiveTypeError(f'For input string: "{token}"')
