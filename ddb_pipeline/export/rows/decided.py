"""The column types as the fast paths read them, where a user has decided about an attribute.

They are those of the columns, with further ones at decided places, such as the parts of a split
attribute. A row for which that does not suffice is left to the
exact path, which applies ``dynamodb.decided_items``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.type_decisions import (
    VALUES,
    Decided,
    Decision,
    TypeDecisions,
    split_names,
)
from ddb_pipeline.hive.types import (
    STRING,
    ArrayType,
    Column,
    HiveType,
    MapType,
    StructField,
    StructType,
    parse_type,
)


@dataclass(frozen=True, slots=True)
class OnlyText(HiveType):
    """A string column that takes strings and binary alone."""

    def __str__(self) -> str:
        return str(STRING)


@dataclass(frozen=True, slots=True)
class OnlyExact(HiveType):
    """A column whose values the exact path alone reads."""

    kind: HiveType

    def __str__(self) -> str:
        return str(self.kind)


@dataclass(frozen=True, slots=True)
class Unused(HiveType):
    """A column from before its attribute was split: no attribute fills it any more."""

    kind: HiveType

    def __str__(self) -> str:
        return str(self.kind)


@dataclass(frozen=True, slots=True)
class Part(HiveType):
    """One of the columns into which an attribute is split.

    Attributes:
        source: the name that the attribute's column would have.
        kind: the type of this column.
        numbers: whether it takes the numbers; the other one takes the rest.
        alone: whether there is no other one yet, so that the exact path decides about the rest.
    """

    source: str
    kind: HiveType
    numbers: bool
    alone: bool

    def __str__(self) -> str:
        return str(self.kind)


def kinds_to_read(
    columns: Sequence[Column | tuple[str, str]], decisions: TypeDecisions
) -> dict[str, HiveType]:
    """How the fast paths read each column."""
    kinds = {name: parse_type(text) for name, text in columns}
    return _members(kinds, decisions.tree) if decisions else kinds


def _members(kinds: Mapping[str, HiveType], decided: Decided) -> dict[str, HiveType]:
    found = {name: _kind(kind, decided.at(column_name(name))) for name, kind in kinds.items()}
    for name, inner in decided.inside.items():
        if inner.decision is not Decision.SPLIT:
            continue
        numbers, texts = split_names(name)
        parts = kinds.keys() & {numbers, texts}
        for part in parts:
            found[part] = Part(name, kinds[part], part == numbers, len(parts) < 2)
        if name in kinds:
            found[name] = Unused(kinds[name]) if parts else OnlyExact(kinds[name])
    return found


def _kind(kind: HiveType, decided: Decided) -> HiveType:
    if not decided:
        return kind
    if kind == STRING and decided.decision is Decision.REFUSE:
        return OnlyText()
    if kind == STRING and decided.decision is Decision.WIDER:
        return OnlyExact(kind)
    match kind:
        case StructType(fields):
            inside = _members(dict(fields), decided)
            return StructType(tuple(StructField(*each) for each in inside.items()))
        case ArrayType(element):
            return ArrayType(_kind(element, decided.elements))
        case MapType(key, value):
            return MapType(key, _kind(value, decided.at(VALUES)))
    return kind
