"""The schema of a table, inferred from its items.

Each attribute gets the one type that holds all of its values:

- ``S`` string, ``BOOL`` boolean, ``B`` binary, ``SS`` set<string>, ``BS`` set<binary>;
- ``N`` by :mod:`ddb_pipeline.hive.numbers`, ``NS`` a set of that;
- ``L`` array of the one type that holds all elements; sets and lists together make an array;
- ``M`` struct, or ``map<string,...>`` for a map with data keys (see :func:`has_data_keys`);
- values without a common type: what a user has decided (:mod:`ddb_pipeline.hive.type_decisions`),
  else string, and a :class:`TypeConflict` that reports it.

An attribute that has only nulls, empty lists and empty maps gets no column: its type is not known,
and a wrong one could be corrected only by rewriting the values stored under it.

A schema is inferred in two steps: :func:`infer_items` observes items, in parts that
:func:`merge` joins; :func:`inferred_schema` decides about the types.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.names import column_name, reads_as_number
from ddb_pipeline.hive.numbers import number_type
from ddb_pipeline.hive.observation import MAX_ATTRIBUTES, Observation, observe_item
from ddb_pipeline.hive.observation_json import observation_document, read_observation
from ddb_pipeline.hive.type_decisions import (
    DOUBLE,
    NO_DECISIONS,
    VALUES,
    Decided,
    Decision,
    TypeDecisions,
    split_names,
    wider_number,
)
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
"""A map has data keys if it has at least so many keys and this share of them looks like ids."""

MIN_SPARSE_KEYS: Final = 50
MAX_SPARSE_FILL: Final = 0.1
"""Or if it has at least so many keys and one value has, on average, at most this share of them."""

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
    """The type of an attribute that the user decides: a struct, a map, or a string of JSON."""

    STRUCT = "struct"
    MAP = "map"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """What the user knows of a table.

    Attributes:
        keys: the table's key attributes, whose columns come first.
        shapes: types decided by the user, by path (``orders[].lines``, ``{}`` for a map's values).
        decisions: what the user has decided about values of several types.
        known: types that decided columns and fields have already, by path.
    """

    keys: tuple[str, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    decisions: TypeDecisions = NO_DECISIONS
    known: Mapping[str, HiveType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TypeConflict:
    """An attribute whose values have no common type; it becomes a string.

    Attributes:
        path: its path, in column names.
        counts: DynamoDB's type tags in order, each with the number of values.
        examples: the same tags, each with the keys of a few items as JSON; without keys if
            :func:`infer_items` was not given the table's key attributes.
    """

    path: str
    counts: tuple[tuple[str, int], ...]
    examples: tuple[tuple[str, tuple[str, ...]], ...]

    def __str__(self) -> str:
        seen = ", ".join(f"{number} {tag}" for tag, number in self.counts)
        return f"{self.path}: {seen}"


@dataclass(frozen=True, slots=True)
class InferredSchema:
    """Columns, and what a person should know about them.

    Attributes:
        columns: as AWS's crawler writes them, ``set<...>`` and ``binary`` included; keys first,
            then by name.
        conflicts: attributes that became strings because their values have no common type.
        untyped: paths without a column or field, because all values are nulls or empty.
        data_key_paths: paths of the maps with data keys.
    """

    columns: tuple[Column, ...]
    conflicts: tuple[TypeConflict, ...]
    untyped: tuple[str, ...]
    data_key_paths: tuple[str, ...]


class TooManyAttributesError(DdbPipelineError):
    """The items have more attribute names than a table can have columns."""


@dataclass(frozen=True, slots=True)
class Inference:
    """The observation of a table's items, and their number. Parts are joined by :func:`merge`."""

    items: int
    seen: Observation

    def to_json(self) -> str:
        """The inference as a JSON object."""
        return json.dumps({"items": self.items, "seen": observation_document(self.seen)})

    @classmethod
    def from_json(cls, text: str) -> "Inference":
        """An inference from the text that ``to_json`` returned.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: it is another text.
        """
        document = json.loads(text)
        return cls(document["items"], read_observation(document["seen"]))

    @classmethod
    def empty(cls) -> "Inference":
        """The inference from no items."""
        return cls(0, Observation())


def infer_items(items: Iterable[Mapping[str, Any]], keys: tuple[str, ...] = ()) -> Inference:
    """Observe items in DynamoDB's typed form; their order makes no difference.

    ``keys`` names the table's key attributes; with them, conflicts report a few items as examples.

    Raises:
        UndecodableValueError: a value that DynamoDB never writes.
    """
    seen, number = Observation(), 0
    for item in items:
        observe_item(seen, item, keys)
        number += 1
    return Inference(number, seen)


def merge(one: Inference, other: Inference) -> Inference:
    """The inference from the items of both; neither argument changes."""
    seen = Observation()
    seen.absorb(one.seen)
    seen.absorb(other.seen)
    return Inference(one.items + other.items, seen)


def inferred_schema(
    inference: Inference, options: InferenceOptions | None = None
) -> InferredSchema:
    """The columns for the items that were observed, and what could not be decided.

    Raises:
        TooManyAttributesError: the items have so many attribute names that these must be data.
    """
    options = options or InferenceOptions()
    if inference.seen.fields is None:
        raise TooManyAttributesError(
            f"The items have more than {MAX_ATTRIBUTES:,} attribute names, so the names are data. "
            "Move the attributes into one attribute of type map."
        )
    types = _Types(options)
    keys = tuple(dict.fromkeys(map(column_name, options.keys)))
    names = [name for name in keys if name in inference.seen.fields]
    names += sorted(inference.seen.fields.keys() - set(keys))
    columns = [
        Column(column, str(kind))
        for name in names
        for column, kind in types.named(inference.seen, name, name, options.decisions.tree)
    ]
    return InferredSchema(
        tuple(columns),
        tuple(types.conflicts),
        tuple(types.untyped),
        tuple(types.data_key_paths),
    )


class _Types:
    """Decides about the types of one table, and collects what to report."""

    def __init__(self, options: InferenceOptions) -> None:
        self._options = options
        self.conflicts: list[TypeConflict] = []
        self.untyped: list[str] = []
        self.data_key_paths: list[str] = []

    def named(
        self, seen: Observation, name: str, path: str, above: Decided
    ) -> Iterator[tuple[str, HiveType]]:
        """The columns, or fields, for the members of one name."""
        inside, decided = (seen.fields or {})[name], above.at(name)
        if decided.decision is Decision.SPLIT:
            yield from self._split(inside, name, path)
        else:
            kind = self.type(inside, path, decided)
            if kind is not None:
                yield name, kind

    def _split(self, seen: Observation, name: str, path: str) -> Iterator[tuple[str, HiveType]]:
        numbers, texts = split_names(name)
        if not seen.counts.keys() - {"NULL"}:
            self.untyped.append(path)
            return
        known = self._options.known.get(path[: len(path) - len(name)] + numbers)
        if seen.numbers is not None or known is not None:
            yield numbers, known or wider_number(seen.numbers)
        yield texts, STRING

    def type(self, seen: Observation, path: str, decided: Decided) -> HiveType | None:
        """The type of the values at a path; None if it is not known."""
        if self._options.shapes.get(path) is Shape.JSON:
            return STRING
        tags = seen.counts.keys() - {"NULL"}
        if not tags:
            self.untyped.append(path)
            return None
        if decided.decision is Decision.TEXT:
            return STRING
        known = self._options.known.get(path)
        if decided.decision is Decision.WIDER:
            return DOUBLE if known == DOUBLE else wider_number(seen.numbers)
        if decided.decision is Decision.REFUSE:
            if known is not None:
                return known
            tags = set(_most(seen.counts))
            if tags == {"N"}:
                return wider_number(seen.numbers)
        if tags == {"N"}:
            return number_type(seen.numbers) if seen.numbers else None
        if tags == {"M"}:
            return self._map(seen, path, decided)
        if tags <= _LISTS:
            return self._list(seen, path, decided)
        if len(tags) == 1:
            return _SCALARS[min(tags)]
        counts = sorted((tag, seen.counts[tag]) for tag in tags)
        examples = sorted((tag, seen.examples.get(tag, ())) for tag in tags)
        self.conflicts.append(TypeConflict(path, tuple(counts), tuple(examples)))
        return STRING

    def _list(self, seen: Observation, path: str, decided: Decided) -> HiveType | None:
        if seen.elements is None:
            self.untyped.append(path)
            return None
        element = self.type(seen.elements, f"{path}[]", decided.elements)
        if element is None:
            return None
        return ArrayType(element) if "L" in seen.counts else SetType(element)

    def _map(self, seen: Observation, path: str, decided: Decided) -> HiveType | None:
        if seen.objects == 0:
            self.untyped.append(path)
            return None
        shape = self._options.shapes.get(path)
        if seen.fields is None or shape is Shape.MAP:
            return self._map_type(seen, path, decided.at(VALUES))
        if shape is None and has_data_keys(seen):
            return self._map_type(seen, path, decided.at(VALUES))
        fields = [
            StructField(field, kind)
            for name in sorted(seen.fields)
            for field, kind in self.named(seen, name, f"{path}.{name}", decided)
        ]
        return StructType(tuple(fields)) if fields else None

    def _map_type(self, seen: Observation, path: str, decided: Decided) -> HiveType | None:
        value = self.type(_values(seen), f"{path}{{}}", decided)
        if value is None:
            return None
        self.data_key_paths.append(path)
        return MapType(STRING, value)


def _most(counts: Mapping[str, int]) -> frozenset[str]:
    """The type tag, or all tags of lists and sets, that most values have which are not null."""
    lists = sum(count for tag, count in counts.items() if tag in _LISTS)
    others = {tag: count for tag, count in counts.items() if tag not in (*_LISTS, "NULL")}
    most = max(others, key=lambda tag: (others[tag], tag), default="")
    if lists > others.get(most, 0):
        return _LISTS & counts.keys()
    return frozenset({most})


def has_data_keys(seen: Observation) -> bool:
    """Whether a map has data keys: keys that are values, such as ids, and no names of fields.

    It has if a key is a number (Spark reads no struct with such a name), if there are too many
    keys to observe them individually, if most of them look like ids (dates, hashes, UUIDs), or if
    there are many, each value has only a few of them, and the members all have one type.
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
    """The observation of a map's members of any name."""
    merged = Observation()
    merged.absorb(seen, 1)
    merged.forget_names(1)
    return merged.values or Observation()


def notes(schema: InferredSchema) -> Iterator[str]:
    """What a person should know of an inferred schema, a line each."""
    for conflict in schema.conflicts:
        yield f"{conflict}: values of several types are stored as text"
    for path in schema.untyped:
        yield f"{path}: all values are null or empty, so it has no column"
    for path in schema.data_key_paths:
        yield f"{path}: its keys are data, so it is a map"
