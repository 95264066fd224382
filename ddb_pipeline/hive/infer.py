"""The schema of a table from its items: what a crawler concludes, and what it could not decide.

Each attribute gets the one type that holds all of its values:

- ``S`` string, ``BOOL`` boolean, ``B`` binary, ``SS`` set<string>, ``BS`` set<binary>;
- ``N`` as :mod:`ddb_pipeline.hive.numbers` has it, ``NS`` a set of that;
- ``L`` array of the one type that holds all elements; a set and a list make an array;
- ``M`` struct, or ``map<string,...>`` where its keys are data (see :func:`has_data_keys`);
- values of types that have nothing in common: string, and a :class:`TypeConflict` that says so.

An attribute of which only ``NULL``, empty lists and empty maps were seen has no type yet. It gets
no column, since any type now could only be corrected by rewriting what was stored under it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from ddb_pipeline.hive.names import column_name, reads_as_number
from ddb_pipeline.hive.numbers import number_type
from ddb_pipeline.hive.observation import Observation, observe_item
from ddb_pipeline.hive.types import (
    PRIMITIVE_TYPES,
    STRING,
    ArrayType,
    Column,
    HiveType,
    MapType,
    SetType,
    StructField,
    StructType,
)

MIN_ID_KEYS: Final = 5
MIN_ID_SHARE: Final = 0.8
"""Keys of a map are data if there are at least so many and this share of them looks like ids."""

MIN_SPARSE_KEYS: Final = 50
MAX_SPARSE_FILL: Final = 0.1
"""Or if there are at least so many and a map has, on average, at most this share of them."""

_ID: Final = re.compile(
    r"[0-9].*"  # numbers, dates, times
    r"|.*[0-9]{4}.*"  # anything with a longer number in it
    r"|[0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{12}"  # UUIDs, - being _ by now
    r"|(?=.*[0-9])[0-9a-f]{8,}"  # hashes
    r"|(?=.*[0-9].*[0-9])[0-9a-z]{20,}",  # ULIDs, KSUIDs
).fullmatch

_LISTS: Final = frozenset({"L", "SS", "NS", "BS"})
_SCALARS: Final = {
    "S": STRING,
    "B": PRIMITIVE_TYPES["binary"],
    "BOOL": PRIMITIVE_TYPES["boolean"],
}


class Shape(Enum):
    """What to make of an attribute, instead of what its values suggest."""

    STRUCT = "struct"
    MAP = "map"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """How to read what was seen.

    Attributes:
        keys: the table's key attributes, whose columns come first.
        shapes: by path (``orders[].lines``, ``{}`` for a map's values), what is to be made of it: a
            map, a struct whatever its keys look like, or a string of JSON.
    """

    keys: tuple[str, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TypeConflict:
    """An attribute whose values have nothing in common; its type is string.

    Attributes:
        path: where, in column names.
        counts: how many values of each of DynamoDB's types were seen, in the order of the tags.
        examples: keys of a few items for each type, as JSON; empty if keys were not asked for.
    """

    path: str
    counts: tuple[tuple[str, int], ...]
    examples: tuple[tuple[str, tuple[str, ...]], ...]

    def __str__(self) -> str:
        seen = ", ".join(f"{number} {tag}" for tag, number in self.counts)
        return f"{self.path}: {seen}"


@dataclass(frozen=True, slots=True)
class InferredSchema:
    """Columns, and what is worth knowing about them.

    Attributes:
        columns: as AWS's crawler writes them, ``set<...>`` and ``binary`` included; keys first,
            then by name.
        conflicts: what became a string for want of a common type.
        untyped: paths that got no column or field, since nothing but nulls and empty containers
            was seen there.
        data_key_paths: paths of structs that became maps, their keys being data.
    """

    columns: tuple[Column, ...]
    conflicts: tuple[TypeConflict, ...]
    untyped: tuple[str, ...]
    data_key_paths: tuple[str, ...]


class TooManyAttributesError(ValueError):
    """The items have more attribute names than a table can have columns."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What is known of the types of a table's items. Immutable; merged by :func:`merge`."""

    items: int
    seen: Observation

    @classmethod
    def empty(cls) -> "Inference":
        return cls(0, Observation())


def infer_item(item: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Inference:
    """What one item, in DynamoDB's typed form, tells.

    Raises:
        AttributeValueError: a value is none of DynamoDB's.
    """
    return infer_items((item,), keys)


def infer_items(items: Iterable[Mapping[str, Any]], keys: tuple[str, ...] = ()) -> Inference:
    """What many items tell, whatever their order.

    ``keys`` names the table's key attributes; with them, conflicts name a few of the items.

    Raises:
        AttributeValueError: a value is none of DynamoDB's.
    """
    seen, number = Observation(), 0
    for item in items:
        observe_item(seen, item, keys)
        number += 1
    return Inference(number, seen)


def merge(one: Inference, other: Inference) -> Inference:
    """What two sets of items tell together; neither argument changes."""
    seen = Observation()
    seen.absorb(one.seen)
    seen.absorb(other.seen)
    return Inference(one.items + other.items, seen)


def crawled_columns(
    inference: Inference, options: InferenceOptions | None = None
) -> tuple[Column, ...]:
    """The columns that AWS's crawler would write for these items: see :func:`inferred_schema`."""
    return inferred_schema(inference, options).columns


def inferred_schema(
    inference: Inference, options: InferenceOptions | None = None
) -> InferredSchema:
    """The columns for the items seen, and what could not be decided.

    Raises:
        TooManyAttributesError: attribute names are data.
    """
    options = options or InferenceOptions()
    if inference.seen.fields is None:
        raise TooManyAttributesError(
            "The items have more than 10,000 attribute names, so these are data. Move what they "
            "name into one attribute of type map."
        )
    decided = _Decision(options)
    keys = tuple(dict.fromkeys(map(column_name, options.keys)))
    names = [name for name in keys if name in inference.seen.fields]
    names += sorted(inference.seen.fields.keys() - set(keys))
    columns = []
    for name in names:
        kind = decided.type(inference.seen.fields[name], name)
        if kind is not None:
            columns.append(Column(name, str(kind)))
    return InferredSchema(
        tuple(columns),
        tuple(decided.conflicts),
        tuple(decided.untyped),
        tuple(decided.data_key_paths),
    )


class _Decision:
    """Types for observations, with notes on the way. Recursion ends with the observations."""

    def __init__(self, options: InferenceOptions) -> None:
        self._options = options
        self.conflicts: list[TypeConflict] = []
        self.untyped: list[str] = []
        self.data_key_paths: list[str] = []

    def type(self, seen: Observation, path: str) -> HiveType | None:
        """The type for a place; None if it is not known yet."""
        if self._options.shapes.get(path) is Shape.JSON:
            return STRING
        tags = seen.counts.keys() - {"NULL"}
        if not tags:
            self.untyped.append(path)
            return None
        if tags == {"N"}:
            return number_type(seen.numbers) if seen.numbers else None
        if tags == {"M"}:
            return self._map(seen, path)
        if tags <= _LISTS:
            return self._list(seen, path)
        if len(tags) == 1:
            return _SCALARS[min(tags)]
        counts = sorted((tag, seen.counts[tag]) for tag in tags)
        examples = sorted((tag, seen.examples.get(tag, ())) for tag in tags)
        self.conflicts.append(TypeConflict(path, tuple(counts), tuple(examples)))
        return STRING

    def _list(self, seen: Observation, path: str) -> HiveType | None:
        if seen.elements is None:
            self.untyped.append(path)
            return None
        element = self.type(seen.elements, f"{path}[]")
        if element is None:
            return None
        return ArrayType(element) if "L" in seen.counts else SetType(element)

    def _map(self, seen: Observation, path: str) -> HiveType | None:
        if seen.objects == 0:
            self.untyped.append(path)
            return None
        shape = self._options.shapes.get(path)
        if seen.fields is None or shape is Shape.MAP:
            return self._map_type(seen, path)
        if shape is None and has_data_keys(seen):
            return self._map_type(seen, path)
        fields = []
        for name in sorted(seen.fields):
            kind = self.type(seen.fields[name], f"{path}.{name}")
            if kind is not None:
                fields.append(StructField(name, kind))
        return StructType(tuple(fields)) if fields else None

    def _map_type(self, seen: Observation, path: str) -> HiveType | None:
        value = self.type(_values(seen), f"{path}{{}}")
        if value is None:
            return None
        self.data_key_paths.append(path)
        return MapType(STRING, value)


def has_data_keys(seen: Observation) -> bool:
    """Whether a map's keys are data rather than names of fields.

    They are if one is a number (no struct that Spark can read has such a name), if there are too
    many to be told apart, if most look like ids (dates, hashes, UUIDs), or if there are many and
    each map has only a few of them, all of one type.
    """
    if seen.fields is None or any(map(reads_as_number, seen.fields)):
        return True
    names = len(seen.fields)
    if names >= MIN_ID_KEYS and sum(map(bool, map(_ID, seen.fields))) >= MIN_ID_SHARE * names:
        return True
    if names < MIN_SPARSE_KEYS:
        return False
    occurrences = sum(inside.total for inside in seen.fields.values())
    if occurrences > MAX_SPARSE_FILL * names * seen.objects:
        return False
    return len(_values(seen).counts.keys() - {"NULL"}) == 1


def _values(seen: Observation) -> Observation:
    """What was seen under any key of a map."""
    merged = Observation()
    merged.absorb(seen, 1)
    merged.forget_names(1)
    return merged.values or Observation()


def notes(schema: InferredSchema) -> Iterator[str]:
    """What a person should know of an inferred schema, a line each."""
    for conflict in schema.conflicts:
        yield f"{conflict}: values of several types are kept as text"
    for path in schema.untyped:
        yield f"{path}: nothing but nulls and empty containers yet, so it has no column"
    for path in schema.data_key_paths:
        yield f"{path}: its keys are data, so it is a map"
