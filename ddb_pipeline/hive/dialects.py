"""Type strings that Hive refuses and other programs write, read for what they mean.

A crawler writes ``set<string>``, and names of fields as they come (``struct<a-b:int,c:d:int>``);
people and other catalogs write ``STRUCT< a: INT >``, ``long`` or ``double precision``.
"""

import re
from typing import Final

from ddb_pipeline.hive.tree import OpenContainer
from ddb_pipeline.hive.types import (
    PRIMITIVE_TYPES,
    CharType,
    DecimalType,
    HiveType,
    HiveTypeError,
    PrimitiveType,
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
"""Names of Spark, Trino, ORC and SQL for types that Hive has under another name."""

_DELIMITER: Final = re.compile(r"[<>(),:;]")
_PARAMETERS: Final = re.compile(r"\(([^<>():;]*)\)\s*")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*").fullmatch
_QUOTED: Final = re.compile(r"`([^`]+)`|\"([^\"]+)\"").fullmatch
_SPACES: Final = re.compile(r"\s+")


def read_type(text: str) -> HiveType:
    """The type that a catalog's type string means: Hive's reading where Hive has one.

    Sets come out as SetType, and types that no reader knows as a PrimitiveType of their own name.
    Names of fields are taken up to the first colon after which a type can begin.

    Raises:
        HiveTypeError: with Hive's own message, when no type can be made out.
    """
    try:
        return parse_crawled_type(text)
    except HiveTypeError as error:
        try:
            return _Reader(text).type()
        except ValueError:
            raise error from None


def known_type(name: str) -> HiveType | None:
    """The Hive type for a type name in any spelling, parameters included; None if there is none."""
    word, _, parameters = name.partition("(")
    word = _SPACES.sub(" ", word.strip().lower())
    word = _ALIASES.get(word, word)
    if word in PRIMITIVE_TYPES:
        return PRIMITIVE_TYPES[word]
    if word == "decimal" and parameters and "," not in parameters:
        # Whoever writes one parameter means it; only Hive 2 reads decimal(10,0) into it.
        parameters = parameters.replace(")", ",0)")
    try:
        found = parse_type(f"{word}({parameters}".replace(" ", "") if parameters else word)
    except HiveTypeError:
        return None
    return found if isinstance(found, DecimalType | CharType | VarcharType) else None


class _UnreadableError(ValueError):
    """No type can be made out."""


class _Reader:
    """One type string on its way from left to right, in linear time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._opened: list[OpenContainer] = []

    def type(self) -> HiveType:
        """The type that the whole text is."""
        while True:
            done = self._begin()
            while done is not None:
                if not self._opened:
                    if self._text[self._at :].strip(" \t\r\n,;"):
                        raise _UnreadableError
                    return done
                self._opened[-1].inside.append(done)
                done = self._next_or_end()

    def _begin(self) -> HiveType | None:
        """Read a leaf type, or a container's beginning up to its first type."""
        found = self._type_at(self._at)
        if found is None:
            raise _UnreadableError
        word, self._at, is_container = found
        if not is_container:
            return PRIMITIVE_TYPES.get(word) or PrimitiveType(word)
        self._opened.append(OpenContainer(_CONTAINERS[word.lower()]))
        return self._field_or_end()

    def _next_or_end(self) -> HiveType | None:
        """Go on after a type inside a container: to the next one, or to the container's end."""
        self._skip_spaces()
        self._at += 1
        delimiter = self._text[self._at - 1 : self._at]
        if delimiter == ",":
            return self._field_or_end()
        if delimiter == ">":
            return self._opened.pop().closed()
        raise _UnreadableError

    def _field_or_end(self) -> HiveType | None:
        """In a struct, read a field up to its type, or the end in a field's place."""
        if self._opened[-1].kind != "struct":
            return None
        self._skip_spaces()
        if self._text[self._at : self._at + 1] == ">":
            self._at += 1
            return self._opened.pop().closed()
        colon = self._text.find(":", self._at)
        while colon >= 0 and self._type_at(colon + 1) is None:
            colon = self._text.find(":", colon + 1)
        if colon < 0:
            raise _UnreadableError
        name = self._text[self._at : colon].strip()
        quoted = _QUOTED(name)
        self._opened[-1].names.append((quoted[1] or quoted[2]) if quoted else name)
        self._at = colon + 1
        return None

    def _type_at(self, start: int) -> tuple[str, int, bool] | None:
        """A type's name from ``start`` on, where it ends, and whether it is a container's."""
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
