"""Hive column types: read from and printed as type strings by Hive's own grammar and errors.

The grammar is that of ``TypeInfoUtils`` in Hive 2.3.10, observed on a JVM. Types may be nested as
deep as they can be written: nothing here recurses, and code that walks a type should use
:func:`fold`, :func:`walk` or :func:`children` instead of calling itself.
"""

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ddb_pipeline.hive.tokens import TokenReader
from ddb_pipeline.hive.tree import (
    MAX_CHAR_LENGTH,
    MAX_DECIMAL_PRECISION,
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
    OpenContainer,
    PrimitiveType,
    SetType,
    StructField,
    StructType,
    UnionType,
    VarcharType,
    children,
    depth,
    fold,
    walk,
    with_children,
)

__all__ = [
    "MAX_CHAR_LENGTH",
    "MAX_DECIMAL_PRECISION",
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
    "depth",
    "fold",
    "parse_crawled_type",
    "parse_type",
    "parse_types",
    "set_positions",
    "walk",
    "with_children",
]


class HiveTypeError(ValueError):
    """A type string that Hive does not accept; the text of the error is exactly Hive's."""


_CONTAINERS: Final = frozenset({"array", "map", "struct", "uniontype"})
# Hive knows the name `unknown` as a primitive's but cannot make a type of it.
_TYPE_NAMES: Final = (
    frozenset(PRIMITIVE_TYPES) | _CONTAINERS | {"decimal", "varchar", "char", "unknown"}
)
_MAX_INTEGER: Final = 2**31 - 1


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
    with suppress(HiveTypeError):
        for _ in parser.types():
            pass
    # Code points before a set are units too: a surrogate pair would have been an error before it.
    return parser.set_positions()


def _first(types: tuple[HiveType, ...]) -> HiveType:
    if not types:
        raise HiveTypeError("Index 0 out of bounds for length 0")
    return types[0]


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
        opened: list[OpenContainer] = []
        while True:
            done = self._start(opened)
            while done is not None:
                if not opened:
                    return done
                done = self._after(opened, done)

    def _start(self, opened: list[OpenContainer]) -> HiveType | None:
        """Read a type's beginning: the whole of it, or a container up to its first type."""
        name = self._expect_type()
        if name not in _CONTAINERS and name != "set":
            return self._primitive(name)
        self._expect("<")
        opened.append(OpenContainer(name))
        return self._field(opened) if name == "struct" else None

    def _after(self, opened: list[OpenContainer], done: HiveType) -> HiveType | None:
        """Go on after a type inside a container: to the next one, or to the container's end."""
        container = opened[-1]
        container.inside.append(done)
        kind = container.kind
        if kind == "struct":
            if self._expect(">", ",") == ",":
                return self._field(opened)
            return opened.pop().closed()
        if kind == "map" and len(container.inside) == 1:
            self._expect(",")
            return None
        if kind == "uniontype" and self._expect(">", ",") == ",":
            return None
        if kind != "uniontype":
            self._expect(">")
        return opened.pop().closed()

    def _field(self, opened: list[OpenContainer]) -> HiveType | None:
        """Read a field up to its type. In its place a ``>`` ends the struct, even after a comma."""
        name = self._tokens.take_name()
        if name is None:
            if self._tokens.take(">") is None:
                raise HiveTypeError(self._tokens.expected("name"))
            return opened.pop().closed()
        self._expect(":")
        opened[-1].names.append(name)
        return None

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
