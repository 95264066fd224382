"""Crawled columns to columns that Firehose, Hive, Spark and Athena accept.

What is mended, and to what:

========================================  ======================================================
found                                     becomes
========================================  ======================================================
``set<T>``                                ``array<T>``: DynamoDB's sets are JSON arrays in records
``binary``                                ``string`` of base64, which the records hold already:
                                          Firehose refuses binary under the OpenX SerDe
``decimal(p,s)``                          ``string`` of all digits: the OpenX SerDe refuses every
                                          decimal value, and a double would round
``void``, ``null``, intervals, unknown    ``string``: nothing else can be stored for them
``struct<>``, ``uniontype<...>``          ``string`` of JSON: Parquet has neither
a container as a map's key                ``string``: JSON's keys are text
aliases (``long``), capitals, spaces      the type that was meant, as Hive spells it
names                                     as :mod:`ddb_pipeline.hive.names` has them in records
a struct with numbers for names           ``map<string,T>``: Spark cannot read such a struct, and
                                          the names are data; T is string if the fields differ
what cannot be read, is too long or deep  ``string`` of JSON
========================================  ======================================================

Types that every engine takes stay, ``char(n)`` and ``varchar(n)`` included.
A ``string`` loses nothing: the OpenX SerDe writes objects and arrays into it as compact JSON, and
numbers with the digits that they came with.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ddb_pipeline.hive.dialects import known_type, read_type
from ddb_pipeline.hive.names import DELIVERY_NAMES, distinct_names, reads_as_number
from ddb_pipeline.hive.types import (
    MAX_TYPE_LENGTH,
    STRING,
    ArrayType,
    Column,
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    PrimitiveType,
    SetType,
    StructField,
    StructType,
    UnionType,
    children,
    set_positions,
    with_children,
)

MAX_DEPTH: Final = 64
"""Levels of nesting in a column's type: twice what DynamoDB nests, and no engine's limit."""

SET_REASON: Final = "Hive has no sets"
BINARY_REASON: Final = "Firehose's OpenX SerDe takes no binary; records hold base64 text"
DECIMAL_REASON: Final = "Firehose's OpenX SerDe takes no decimals; text keeps every digit"
EMPTY_TYPE_REASON: Final = "no value can be stored under this type"
INTERVAL_REASON: Final = "Parquet has no intervals"
UNKNOWN_REASON: Final = "no type that Hive has"
SPELLING_REASON: Final = "not how Hive spells the type"
EMPTY_STRUCT_REASON: Final = "Parquet has no structs without fields; holds JSON text"
UNION_REASON: Final = "Parquet has no unions; holds JSON text"
MAP_KEY_REASON: Final = "a map's keys are text in JSON"
NAME_REASON: Final = "not a name that every engine takes; records have it under the new one"
NUMBER_NAME_REASON: Final = "Spark takes names like 7 or 30d for numbers; they are data, so a map's"
DEPTH_REASON: Final = f"nested deeper than {MAX_DEPTH} levels; holds JSON text"
LENGTH_REASON: Final = f"the column's type is over {MAX_TYPE_LENGTH} characters; holds JSON text"

_UNSTORABLE: Final = {
    "binary": BINARY_REASON,
    "void": EMPTY_TYPE_REASON,
    "interval_year_month": INTERVAL_REASON,
    "interval_day_time": INTERVAL_REASON,
}
_LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One thing that was mended.

    Attributes:
        column: the column's name as it was found.
        path: where in the column: ``.field``, ``[]`` for elements, ``{}`` for a map's values and
            ``{key}`` for its keys, names as they were found.
        before: the type there as it was found, or the name where the name was changed.
        after: what it was changed to.
        reason: why.
    """

    column: str
    path: str
    before: str
    after: str
    reason: str


def replace_sets(text: str) -> str:
    """The type string with each ``set<`` that stands for a type replaced by ``array<``.

    Nothing else is touched: a field named ``set`` stays, and so does whatever else is wrong.
    """
    parts = []
    end = 0
    for position in set_positions(text):
        parts += [text[end:position], "array"]
        end = position + len("set")
    return "".join([*parts, text[end:]])


def normalize_columns(
    columns: Sequence[Column | tuple[str, str]],
) -> tuple[tuple[Column, ...], tuple[ColumnChange, ...]]:
    """The same columns, in the same order, under names and types that all engines accept.

    Whatever is found, the result is valid for Hive, and normalising it again changes nothing.
    The second value tells all that was changed; it is empty exactly where nothing was.

    A table that has all of the delivery's own columns (``names.DELIVERY_NAMES``) is the lake's,
    and keeps them.
    """
    names = _column_names([name for name, _ in columns])
    normalized: list[Column] = []
    changes: list[ColumnChange] = []
    for (found, text), name in zip(columns, names, strict=True):
        if name != found:
            changes.append(ColumnChange(found, found, found, name, NAME_REASON))
        kind, mended = _normalize_type(found, text)
        normalized.append(Column(name, kind))
        changes.extend(mended)
    return tuple(normalized), tuple(changes)


def _column_names(found: Sequence[str]) -> tuple[str, ...]:
    if not set(DELIVERY_NAMES) <= set(found):
        return distinct_names(found)
    own = {found.index(name) for name in DELIVERY_NAMES}
    others = iter(distinct_names([name for i, name in enumerate(found) if i not in own]))
    return tuple([name if i in own else next(others) for i, name in enumerate(found)])


def _normalize_type(column: str, text: str) -> tuple[str, Iterable[ColumnChange]]:
    try:
        found = read_type(text)
    except HiveTypeError as error:
        message = str(error)
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}..."
        reason = f"cannot be read, so it holds JSON text ({message})"
        return str(STRING), [ColumnChange(column, column, text, str(STRING), reason)]
    mender = _Mender(column)
    mended = mender.mended(found, column, 1)
    excess = _length(mended) - MAX_TYPE_LENGTH
    after = str(mender.shortened(mended, column, excess) if excess > 0 else mended)
    if after != text and not mender.changes:
        mender.change(column, text, after, SPELLING_REASON)
    return after, mender.changes


class _Mender:
    """The mending of one column's type. Recursion ends at MAX_DEPTH."""

    def __init__(self, column: str) -> None:
        self._column = column
        self.changes: list[ColumnChange] = []

    def change(self, path: str, before: object, after: object, reason: str) -> None:
        self.changes.append(ColumnChange(self._column, path, str(before), str(after), reason))

    def mended(self, kind: HiveType, path: str, level: int) -> HiveType:
        if isinstance(kind, PrimitiveType):
            return self._primitive(kind, path)
        reason = _refused(kind, level)
        if reason is not None:
            return self._text(kind, path, reason)
        if isinstance(kind, StructType):
            return self._struct(kind, path, level)
        if isinstance(kind, MapType):
            return MapType(
                self._map_key(kind.key, f"{path}{{key}}"),
                self.mended(kind.value, f"{path}{{}}", level + 1),
            )
        if isinstance(kind, ArrayType):
            return ArrayType(self.mended(kind.element, f"{path}[]", level + 1))
        if isinstance(kind, SetType):
            array = ArrayType(self.mended(kind.element, f"{path}[]", level + 1))
            self.change(path, kind, array, SET_REASON)
            return array
        return kind

    def _primitive(self, kind: PrimitiveType, path: str) -> HiveType:
        known = known_type(kind.name)
        if known is None:
            return self._text(kind, path, UNKNOWN_REASON)
        reason = _refused(known, 1)
        if reason is not None:
            return self._text(kind, path, reason)
        if known != kind:
            self.change(path, kind, known, SPELLING_REASON)
        return known

    def _map_key(self, key: HiveType, path: str) -> HiveType:
        if children(key) or isinstance(key, StructType):
            return self._text(key, path, MAP_KEY_REASON)
        return self.mended(key, path, 1)

    def _struct(self, kind: StructType, path: str, level: int) -> HiveType:
        # People write a space after the comma; to Hive it is part of the name.
        names = distinct_names([name.strip() for name, _ in kind.fields])
        fields = []
        for (found, inside), name in zip(kind.fields, names, strict=True):
            field_path = f"{path}.{found}"
            if name != found:
                self.change(field_path, found, name, NAME_REASON)
            fields.append(StructField(name, self.mended(inside, field_path, level + 1)))
        if not any(map(reads_as_number, names)):
            return StructType(tuple(fields))
        first = fields[0].type
        value = first if all(field.type == first for field in fields) else STRING
        self.change(path, kind, MapType(STRING, value), NUMBER_NAME_REASON)
        return MapType(STRING, value)

    def _text(self, kind: HiveType, path: str, reason: str) -> HiveType:
        self.change(path, kind, STRING, reason)
        return STRING

    def shortened(self, kind: HiveType, path: str, excess: int) -> HiveType:
        """The type with the innermost part made text that is ``excess`` longer than ``string``."""
        inside = children(kind)
        longest = max(inside, key=_length, default=STRING)
        if _length(longest) - _length(STRING) < excess:
            self.changes = [c for c in self.changes if not _is_inside(c.path, path)]
            return self._text(kind, path, LENGTH_REASON)
        at = inside.index(longest)
        shorter = self.shortened(longest, path + _steps(kind)[at], excess)
        return with_children(kind, (*inside[:at], shorter, *inside[at + 1 :]))


def _is_inside(path: str, container: str) -> bool:
    return path.startswith(container) and path[len(container) :][:1] in (".", "[", "{")


def _length(kind: HiveType) -> int:
    return len(str(kind))


def _steps(kind: HiveType) -> tuple[str, ...]:
    """How a path goes on from a type to each of the types inside it."""
    if isinstance(kind, StructType):
        return tuple([f".{name}" for name, _ in kind.fields])
    return ("{key}", "{}") if isinstance(kind, MapType) else ("[]",)


def _refused(kind: HiveType, level: int) -> str | None:
    """Why a type of Hive's can only be text, if so."""
    if isinstance(kind, PrimitiveType):
        return _UNSTORABLE.get(kind.name)
    if isinstance(kind, UnionType):
        return UNION_REASON
    if isinstance(kind, StructType) and not kind.fields:
        return EMPTY_STRUCT_REASON
    if isinstance(kind, DecimalType):
        return DECIMAL_REASON
    if level >= MAX_DEPTH and children(kind):
        return DEPTH_REASON
    return None
