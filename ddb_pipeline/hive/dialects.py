"""Type strings that other programs write and Hive refuses.

Glue's crawler writes ``set<string>`` and puts attribute names into structs unchanged
(``struct<a-b:int,c:d:int>``); people and other catalogs write ``STRUCT< a: INT >``, ``long`` or
``double precision``.
"""

import re
from typing import Final

from ddb_pipeline.hive.types import (
    MAX_COLUMN_DEPTH,
    PRIMITIVE_TYPES,
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    PrimitiveType,
    SetType,
    StructField,
    StructType,
    UnionType,
    VarcharType,
    parse_crawled_type,
    parse_type,
)

_CONTAINERS: Final = {
    "array": "array",
    "list": "array",
    "set": "set",
    "map": "map",
    "struct": "struct",
    "row": "struct",
    "uniontype": "uniontype",
    "union": "uniontype",
}

_ALIASES: Final = {
    "bool": "boolean",
    "byte": "tinyint",
    "short": "smallint",
    "integer": "int",
    "long": "bigint",
    "real": "float",
    "double precision": "double",
    "dec": "decimal",
    "numeric": "decimal",
    "character": "char",
    "character varying": "varchar",
    "text": "string",
    "datetime": "timestamp",
    "timestamptz": "timestamp",
    "timestamp_ltz": "timestamp",
    "timestamp_ntz": "timestamp",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamp with local time zone": "timestamp",
    "bytes": "binary",
    "varbinary": "binary",
    "blob": "binary",
    "null": "void",
}
"""Names in Spark, Trino, ORC and SQL of types that have another name in Hive."""

_DELIMITER: Final = re.compile(r"[<>(),:;]")
_BRACKET: Final = re.compile(r"[<>]")
_PARAMETERS: Final = re.compile(r"\(([^<>():;]*)\)\s*")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*").fullmatch
_QUOTED: Final = re.compile(r"`([^`]+)`|\"([^\"]+)\"").fullmatch
_SPACES: Final = re.compile(r"\s+")


def read_type(text: str) -> HiveType:
    """The type that a catalog's type string means; as Hive reads it, where Hive can.

    A set becomes a SetType. A type name that is not Hive's, and a container nested deeper than
    ``MAX_COLUMN_DEPTH``, become a PrimitiveType that has their text for its name. The name of a
    field ends at the first colon that a type can follow.

    Raises:
        HiveTypeError: with Hive's own message, if the text is no type under either reading.
    """
    try:
        return parse_crawled_type(text)
    except HiveTypeError as error:
        try:
            return _Reader(text).whole()
        except ValueError:
            raise error from None


def known_type(name: str) -> HiveType | None:
    """The Hive type that a type name means in any program, with its parameters; None if unknown.

    >>> str(known_type("Character Varying(20)"))
    'varchar(20)'
    """
    word, _, parameters = name.partition("(")
    word = _SPACES.sub(" ", word.strip().lower())
    word = _ALIASES.get(word, word)
    if word in PRIMITIVE_TYPES:
        return PRIMITIVE_TYPES[word]
    if word == "decimal" and parameters and "," not in parameters:
        # decimal(12) means decimal(12,0) to every program but Hive 2, which reads decimal(10,0).
        parameters = parameters.replace(")", ",0)")
    try:
        found = parse_type(f"{word}({parameters}".replace(" ", "") if parameters else word)
    except HiveTypeError:
        return None
    return found if isinstance(found, DecimalType | CharType | VarcharType) else None


class _UnreadableError(ValueError):
    """The text is no type."""


class _Reader:
    """Reads one type string from left to right, in linear time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> HiveType:
        """Read the whole text as one type."""
        found = self._type(1)
        if self._text[self._at :].strip(" \t\r\n,;"):
            raise _UnreadableError
        return found

    def _type(self, level: int) -> HiveType:
        found = self._type_at(self._at)
        if found is None:
            raise _UnreadableError
        word, end, is_container = found
        if is_container and level >= MAX_COLUMN_DEPTH:
            return self._too_deep()
        self._at = end
        if not is_container:
            return PRIMITIVE_TYPES.get(word) or PrimitiveType(word)
        kind = _CONTAINERS[word.lower()]
        if kind == "struct":
            return StructType(tuple(self._fields(level + 1)))
        inside = [self._type(level + 1)]
        while self._has_next():
            inside.append(self._type(level + 1))
        return _container(kind, inside)

    def _fields(self, level: int) -> list[StructField]:
        fields: list[StructField] = []
        while not fields or self._has_next():
            self._skip_spaces()
            if self._text.startswith(">", self._at):
                self._at += 1
                break
            fields.append(StructField(self._field_name(), self._type(level)))
        return fields

    def _field_name(self) -> str:
        """Read a field up to its type."""
        colon = self._text.find(":", self._at)
        while colon >= 0 and self._type_at(colon + 1) is None:
            colon = self._text.find(":", colon + 1)
        if colon < 0:
            raise _UnreadableError
        name = self._text[self._at : colon].strip()
        quoted = _QUOTED(name)
        self._at = colon + 1
        return (quoted[1] or quoted[2]) if quoted else name

    def _has_next(self) -> bool:
        """Read what follows a type in a container: True for a comma, False for the end."""
        self._skip_spaces()
        self._at += 1
        delimiter = self._text[self._at - 1 : self._at]
        if delimiter not in (",", ">"):
            raise _UnreadableError
        return delimiter == ","

    def _too_deep(self) -> HiveType:
        """Read over a container, up to the bracket that closes it."""
        start, level = self._at, 0
        for bracket in _BRACKET.finditer(self._text, start):
            level += 1 if bracket[0] == "<" else -1
            if level == 0:
                self._at = bracket.end()
                return PrimitiveType(self._text[start : self._at].strip())
        raise _UnreadableError

    def _type_at(self, start: int) -> tuple[str, int, bool] | None:
        """The type name from ``start`` on, where it ends, and whether it is a container's."""
        delimiter = _DELIMITER.search(self._text, start)
        end = delimiter.start() if delimiter else len(self._text)
        word = self._text[start:end].strip()
        if not _WORD(word):
            return None
        if delimiter and delimiter[0] == "<":
            return (word, end + 1, True) if word.lower() in _CONTAINERS else None
        if delimiter and delimiter[0] == "(":
            parameters = _PARAMETERS.match(self._text, end)
            if parameters is None:
                return None
            word, end = f"{word}({parameters[1].strip()})", parameters.end()
        return (word, end, False) if self._text[end : end + 1] in ("", ",", ">", ";") else None

    def _skip_spaces(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1


def _container(kind: str, inside: list[HiveType]) -> HiveType:
    match kind, inside:
        case "array", [element]:
            return ArrayType(element)
        case "set", [element]:
            return SetType(element)
        case "map", [key, value]:
            return MapType(key, value)
        case "uniontype", _:
            return UnionType(tuple(inside))
    raise _UnreadableError
