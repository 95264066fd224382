"""Crawled columns to columns that Firehose, Hive, Spark and Athena accept.

What is changed, and to what:

========================================  ======================================================
found                                     becomes
========================================  ======================================================
``set<T>``                                ``array<T>``: DynamoDB's sets are JSON arrays in records
``binary``                                ``string`` of base64, which the records hold already:
                                          Firehose refuses binary under the OpenX SerDe
``decimal(p,s)``                          ``string`` of all digits: the OpenX SerDe refuses every
                                          decimal value, and a double would round
``void``, ``null``, intervals, unknown    ``string``: no other type can hold their values
``struct<>``, ``uniontype<...>``          ``string`` of JSON: Parquet has neither
a container as a map's key                ``string``: JSON's keys are text
aliases (``long``), capitals, spaces      the type that was meant, as Hive spells it
names                                     the names that records have (``hive.names``)
a struct with numbers for names           ``map<string,T>``: Spark cannot read such a struct, and
                                          the names are data; T is string if the fields differ
a type that is invalid, too long or deep  ``string`` of JSON
========================================  ======================================================

Types that every engine accepts stay, ``char(n)`` and ``varchar(n)`` included.
A ``string`` loses nothing: the OpenX SerDe writes objects and arrays into it as compact JSON, and
numbers with the digits that they arrived with.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ddb_pipeline.hive.dialects import known_type, read_type
from ddb_pipeline.hive.names import DELIVERY_NAMES, distinct_names, reads_as_number
from ddb_pipeline.hive.types import (
    MAX_COLUMN_DEPTH,
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
    is_container,
    set_positions,
    with_children,
)

SET_REASON: Final = "Hive has no sets"
BINARY_REASON: Final = "Firehose's OpenX SerDe refuses binary; records hold base64 text"
DECIMAL_REASON: Final = "Firehose's OpenX SerDe refuses decimals; text holds every digit"
EMPTY_TYPE_REASON: Final = "no value can be stored under this type"
INTERVAL_REASON: Final = "Parquet has no intervals"
UNKNOWN_REASON: Final = "not a type of Hive"
SPELLING_REASON: Final = "not how Hive spells the type"
EMPTY_STRUCT_REASON: Final = "Parquet has no structs without fields; holds JSON text"
UNION_REASON: Final = "Parquet has no unions; holds JSON text"
MAP_KEY_REASON: Final = "a map's keys are text in JSON"
NAME_REASON: Final = "not a name that every engine accepts; records have the new one"
NUMBER_NAME_REASON: Final = (
    "Spark reads names like 7 or 30d as numbers; so they become a map's keys"
)
DEPTH_REASON: Final = f"nested deeper than {MAX_COLUMN_DEPTH} levels; holds JSON text"
LENGTH_REASON: Final = f"the column's type is over {MAX_TYPE_LENGTH} characters; holds JSON text"

_REFUSED_PRIMITIVES: Final = {
    "binary": BINARY_REASON,
    "void": EMPTY_TYPE_REASON,
    "interval_year_month": INTERVAL_REASON,
    "interval_day_time": INTERVAL_REASON,
}
_LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One change to a column.

    Attributes:
        column: the column's name before the change.
        path: the changed part of the column: ``.field``, ``[]`` for elements, ``{}`` for a map's
            values and ``{key}`` for its keys, with names before the change.
        before: the type there before the change, or the name where the name was changed.
        after: the type or name after the change.
        reason: why.
    """

    column: str
    path: str
    before: str
    after: str
    reason: str


def replace_sets(text: str) -> str:
    """The type string, of any depth, with each ``set<`` that stands for a type made ``array<``.

    Nothing else changes: a field named ``set`` stays, and so does whatever else is wrong.
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
    """The same columns, in the same order, with names and types that all engines accept.

    Whatever the input, the result is valid for Hive, and normalising it again changes nothing.
    A table that has all of the delivery's own columns (``names.DELIVERY_NAMES``) is the lake's,
    and keeps them.

    Returns:
        The columns, and every change; no changes exactly if the columns are as they were.
    """
    names = _column_names([name for name, _ in columns])
    normalized: list[Column] = []
    changes: list[ColumnChange] = []
    for (found, text), name in zip(columns, names, strict=True):
        if name != found:
            changes.append(ColumnChange(found, found, found, name, NAME_REASON))
        after, type_changes = _normalize_type(found, text)
        normalized.append(Column(name, after))
        changes.extend(type_changes)
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
    repair = _Repair(column)
    repaired = repair.type(found, column)
    after = str(repaired)
    if len(after) > MAX_TYPE_LENGTH:
        after = str(repair.shortened(repaired, column, len(after) - MAX_TYPE_LENGTH))
    if after != text and not repair.changes:
        repair.change(column, text, after, SPELLING_REASON)
    return after, repair.changes


class _Repair:
    """The repair of one column's type, which collects the changes."""

    def __init__(self, column: str) -> None:
        self._column = column
        self.changes: list[ColumnChange] = []

    def change(self, path: str, before: object, after: object, reason: str) -> None:
        """Record a change."""
        self.changes.append(ColumnChange(self._column, path, str(before), str(after), reason))

    def type(self, kind: HiveType, path: str) -> HiveType:
        """The type that takes the place of ``kind``, which is found at ``path``."""
        if isinstance(kind, PrimitiveType):
            return self._primitive(kind, path)
        reason = _refusal(kind)
        if reason is not None:
            return self._string(kind, path, reason)
        match kind:
            case StructType():
                return self._struct(kind, path)
            case MapType(key, value):
                return MapType(
                    self._map_key(key, f"{path}{{key}}"), self.type(value, f"{path}{{}}")
                )
            case ArrayType(element):
                return ArrayType(self.type(element, f"{path}[]"))
            case SetType(element):
                array = ArrayType(self.type(element, f"{path}[]"))
                self.change(path, kind, array, SET_REASON)
                return array
        return kind

    def _primitive(self, kind: PrimitiveType, path: str) -> HiveType:
        known = known_type(kind.name)
        if known is None:
            # What read_type makes of a container that is too deep.
            too_deep = "<" in kind.name
            return self._string(kind, path, DEPTH_REASON if too_deep else UNKNOWN_REASON)
        reason = _refusal(known)
        if reason is not None:
            return self._string(kind, path, reason)
        if known != kind:
            self.change(path, kind, known, SPELLING_REASON)
        return known

    def _map_key(self, key: HiveType, path: str) -> HiveType:
        return (
            self._string(key, path, MAP_KEY_REASON) if is_container(key) else self.type(key, path)
        )

    def _struct(self, kind: StructType, path: str) -> HiveType:
        # People write a space after the comma; to Hive it is part of the name.
        names = distinct_names([name.strip() for name, _ in kind.fields])
        fields = []
        for (found, inside), name in zip(kind.fields, names, strict=True):
            field_path = f"{path}.{found}"
            if name != found:
                self.change(field_path, found, name, NAME_REASON)
            fields.append(StructField(name, self.type(inside, field_path)))
        if not any(map(reads_as_number, names)):
            return StructType(tuple(fields))
        first = fields[0].type
        value = first if all(field.type == first for field in fields) else STRING
        self.change(path, kind, MapType(STRING, value), NUMBER_NAME_REASON)
        return MapType(STRING, value)

    def _string(self, kind: HiveType, path: str, reason: str) -> HiveType:
        self.change(path, kind, STRING, reason)
        return STRING

    def shortened(self, kind: HiveType, path: str, excess: int) -> HiveType:
        """The type, at least ``excess`` characters shorter by one part of it made a string.

        The part is the innermost one that is long enough, inside the longest part of each level.
        """
        return self._shortened(kind, path, excess, _lengths(kind, {}))

    def _shortened(
        self, kind: HiveType, path: str, excess: int, lengths: Mapping[int, int]
    ) -> HiveType:
        inside = children(kind)
        sizes = [lengths[id(part)] for part in inside]
        longest = max(sizes, default=0)
        if longest - len(STRING.name) < excess:
            self.changes = [c for c in self.changes if not _is_inside(c.path, path)]
            return self._string(kind, path, LENGTH_REASON)
        at = sizes.index(longest)
        shorter = self._shortened(inside[at], path + _steps(kind)[at], excess, lengths)
        return with_children(kind, (*inside[:at], shorter, *inside[at + 1 :]))


def _is_inside(path: str, container: str) -> bool:
    return path.startswith(container) and path[len(container) :][:1] in (".", "[", "{")


def _lengths(kind: HiveType, found: dict[int, int]) -> dict[int, int]:
    """The length of the type string of a type and of each type inside it, by ``id``."""
    inside = children(kind)
    for part in inside:
        _lengths(part, found)
    frame = with_children(kind, (PrimitiveType(""),) * len(inside))
    found[id(kind)] = len(str(frame)) + sum(found[id(part)] for part in inside)
    return found


def _steps(kind: HiveType) -> tuple[str, ...]:
    """How a path goes on from a type to each of the types inside it."""
    if isinstance(kind, StructType):
        return tuple([f".{name}" for name, _ in kind.fields])
    return ("{key}", "{}") if isinstance(kind, MapType) else ("[]",)


def _refusal(kind: HiveType) -> str | None:
    """Why a valid type has to become a string; None if it does not."""
    match kind:
        case PrimitiveType(name):
            return _REFUSED_PRIMITIVES.get(name)
        case UnionType():
            return UNION_REASON
        case StructType(fields=()):
            return EMPTY_STRUCT_REASON
        case DecimalType():
            return DECIMAL_REASON
    return None
