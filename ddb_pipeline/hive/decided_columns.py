"""The types of crawled columns about which a user has decided (``hive.type_decisions``)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ddb_pipeline.hive.dialects import read_type
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.normalize import ColumnChange
from ddb_pipeline.hive.type_decisions import (
    BIGINT,
    DOUBLE,
    NO_DECISIONS,
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
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    PrimitiveType,
    SetType,
    StructField,
    StructType,
)

_CONTENTS: Final = re.compile(r"\w*<[^<>]*>")
_FRACTIONS: Final = re.compile(r"\b(?:double|float|real|decimal|numeric)\b", re.IGNORECASE)
_INTEGERS: Final = re.compile(
    r"\b(?:bigint|long|int|integer|smallint|short|tinyint|byte)\b", re.IGNORECASE
)


def decided_columns(
    columns: Sequence[Column | tuple[str, str]], decisions: TypeDecisions = NO_DECISIONS
) -> tuple[tuple[Column, ...], tuple[ColumnChange, ...]]:
    """The columns with the types that the decisions give them, and every change.

    A crawler's type of a column with several types need not be one of Hive's. The numbers in it
    decide which of the wider types of numbers a column has. The result needs no further change.
    """
    if not decisions:
        return tuple(Column(*column) for column in columns), ()
    decide = _ColumnTypes()
    tree = decisions.tree
    names = {column_name(name) for name, _ in columns}
    found: list[Column] = []
    for name, text in columns:
        decided = tree.at(column_name(name))
        if not decided:
            found.append(Column(name, text))
            continue
        kind = _read(text)
        if decided.decision is Decision.SPLIT:
            parts = decide.split(kind, column_name(name), name)
            found += [Column(part, str(inner)) for part, inner in parts if part not in names]
            continue
        after = decide.type(kind, decided, name)
        found.append(Column(name, text if after == kind else str(after)))
    return tuple(found), tuple(decide.changes)


def number_in(kind: HiveType) -> HiveType | None:
    """The type of the numbers that a crawled type has; None if it has none.

    Text may be what a crawler made of several types: its numbers may be any.
    """
    text, length = str(kind), 0
    while length != len(text):
        # Numbers in structs and lists are none of the attribute's own.
        length, text = len(text), _CONTENTS.sub("", text)
    if kind == STRING or _FRACTIONS.search(text):
        return DOUBLE
    return BIGINT if _INTEGERS.search(text) else None


def known_types(
    columns: Sequence[Column | tuple[str, str]], decisions: TypeDecisions
) -> dict[str, HiveType]:
    """The types that columns have where ``wider``, ``split`` or ``refuse`` is decided, by path."""
    kinds = {column_name(name): _read(text) for name, text in columns}
    return dict(_known(kinds, decisions.tree, ""))


def _known(
    kinds: Mapping[str, HiveType], decided: Decided, above: str
) -> Iterator[tuple[str, HiveType]]:
    for name, inner in decided.inside.items():
        if inner.decision is Decision.SPLIT:
            name = split_names(name)[0]
        kind = kinds.get(name)
        if kind is None:
            continue
        path = f"{above}{name}"
        if inner.decision is not None and inner.decision is not Decision.TEXT:
            yield path, kind
        while isinstance(kind, ArrayType):
            path, inner, kind = f"{path}[]", inner.elements, kind.element
            if inner.decision is not None and inner.decision is not Decision.TEXT:
                yield path, kind
        if isinstance(kind, StructType):
            yield from _known(dict(kind.fields), inner, f"{path}.")


def _read(text: str) -> HiveType:
    try:
        return read_type(text)
    except HiveTypeError:
        return PrimitiveType(text)


def _first_of(kind: HiveType) -> HiveType:
    """The first of the types in a text such as ``struct<a:int>/string``, which is no type.

    Several types of numbers are one.
    """
    if not isinstance(kind, PrimitiveType):
        return kind
    depth = 0
    for position, character in enumerate(kind.name):
        depth += (character == "<") - (character == ">")
        if character == "/" and not depth:
            first = _read(kind.name[:position].strip())
            is_number = first != STRING and number_in(first) is not None
            return number_in(kind) or first if is_number else first
    return kind


@dataclass(slots=True)
class _ColumnTypes:
    """Decides about types, and collects the changes."""

    changes: list[ColumnChange] = field(default_factory=list)

    def type(self, kind: HiveType, decided: Decided, path: str) -> HiveType:
        """The type at a path."""
        after = kind
        if decided.decision is Decision.TEXT:
            after = STRING
        elif decided.decision is Decision.WIDER:
            after = number_in(kind) or DOUBLE
        else:
            if decided.decision is Decision.REFUSE:
                after = _first_of(kind)
            if isinstance(after, DecimalType):
                # Firehose takes no decimal, and in a column of text no number is one.
                after = DOUBLE
            elif decided.inside:
                return self._inside(after, decided, path)
        if after != kind:
            self._change(path, kind, str(after), decided.decision)
        return after

    def split(self, kind: HiveType, name: str, path: str) -> Iterator[tuple[str, HiveType]]:
        """The columns, or fields, in place of one."""
        numbers, texts = split_names(name)
        number = number_in(kind)
        parts = {texts: STRING} if number is None else {numbers: number, texts: STRING}
        after = ", ".join(f"{part} {inner}" for part, inner in parts.items())
        self._change(path, kind, after, Decision.SPLIT)
        yield from parts.items()

    def _change(self, path: str, before: object, after: str, decision: Decision | None) -> None:
        column = re.split(r"[.\[{]", path, maxsplit=1)[0]
        reason = f"decided: {decision.value}" if decision else ""
        self.changes.append(ColumnChange(column, path, str(before), after, reason))

    def _inside(self, kind: HiveType, decided: Decided, path: str) -> HiveType:
        match kind:
            case StructType(fields):
                return StructType(tuple(self._fields(fields, decided, path)))
            case ArrayType(element):
                return ArrayType(self.type(element, decided.elements, f"{path}[]"))
            case SetType(element):
                return SetType(self.type(element, decided.elements, f"{path}[]"))
            case MapType(key, value):
                return MapType(key, self.type(value, decided.at(VALUES), f"{path}{{}}"))
        return kind

    def _fields(
        self, fields: Sequence[StructField], decided: Decided, path: str
    ) -> Iterator[StructField]:
        names = {column_name(name.strip()) for name, _ in fields}
        for name, kind in fields:
            inner = decided.at(column_name(name.strip()))
            if inner.decision is Decision.SPLIT:
                for part, part_kind in self.split(kind, column_name(name), f"{path}.{name}"):
                    if part not in names:
                        yield StructField(part, part_kind)
            else:
                yield StructField(name, self.type(kind, inner, f"{path}.{name}"))
