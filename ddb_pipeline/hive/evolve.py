"""Schemas over time: merge what is found into what is there, and say what changed.

A schema only widens: types as in :mod:`ddb_pipeline.hive.widening`, also inside arrays and maps,
structs by fields appended. Two types without a common wider one conflict: the current one stays,
and the conflict is reported. Names are matched without regard to case, as Hive does; of names that
come twice in any case, the first counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from ddb_pipeline.hive.types import (
    MAX_TYPE_LENGTH,
    STRING,
    ArrayType,
    Column,
    HiveType,
    HiveTypeError,
    MapType,
    StructField,
    StructType,
    UnionType,
    children,
    parse_type,
    with_children,
)
from ddb_pipeline.hive.widening import wider_primitive


class Conflicts(Enum):
    """What becomes of a column, or a part of one, whose types have no common wider one."""

    KEEP = "keep the current type"
    STRING = "make it a string, where neither type is a container"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two schemas differ.

    Attributes:
        path: column and, inside of it, ``.field``, ``[]``, ``{}`` for a map's values and
            ``{key}`` for its keys.
        before: the type of the current schema there; empty where it has none.
        after: the type of the merged schema there; of the incoming one where that lost, empty
            where it has none.
    """

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SchemaDiff:
    """What an incoming schema means for the current one.

    Attributes:
        added: columns and fields that are new.
        widened: types that the incoming schema made wider.
        narrowed: types for which the incoming schema has a narrower one; the current ones stay.
        conflicting: types that cannot become one; the current ones stay.
        vanished: columns and fields that the incoming schema has no more; they stay.
    """

    added: tuple[Difference, ...] = ()
    widened: tuple[Difference, ...] = ()
    narrowed: tuple[Difference, ...] = ()
    conflicting: tuple[Difference, ...] = ()
    vanished: tuple[Difference, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the merged schema is another than the current one."""
        return bool(self.added or self.widened)


@dataclass(frozen=True, slots=True)
class Evolution:
    """A schema after a merge, and how it differs from before."""

    columns: tuple[Column, ...]
    diff: SchemaDiff


def merge_columns(
    current: Sequence[Column | tuple[str, str]],
    incoming: Sequence[Column | tuple[str, str]],
    conflicts: Conflicts = Conflicts.KEEP,
) -> Evolution:
    """The current columns, widened to hold what the incoming ones hold, then the new ones.

    The same goes for fields of structs. A type that Hive cannot parse is in conflict with any
    other; no new column gets one. Merging the same columns again changes nothing.
    """
    merge = _Merge(conflicts)
    arriving = list(map(Column._make, incoming))
    found = {column.name.lower(): column for column in reversed(arriving)}
    columns = []
    for column in map(Column._make, current):
        other = found.pop(column.name.lower(), None)
        if other is None:
            merge.vanished.append(Difference(column.name, column.type, ""))
            columns.append(column)
        else:
            columns.append(Column(column.name, merge.column(column, other)))
    columns.extend(
        column
        for column in arriving
        if found.pop(column.name.lower(), None) is not None and merge.accepts(column)
    )
    return Evolution(tuple(columns), merge.diff())


def narrowings(
    old: Sequence[Column | tuple[str, str]], new: Sequence[Column | tuple[str, str]]
) -> tuple[Difference, ...]:
    """What the new schema cannot hold of what the old one holds; empty if it only widens."""
    diff = merge_columns(old, new).diff
    return (*diff.vanished, *diff.narrowed, *diff.conflicting)


def is_widening(
    old: Sequence[Column | tuple[str, str]], new: Sequence[Column | tuple[str, str]]
) -> bool:
    """Whether every value under the old schema has a place under the new one."""
    return not narrowings(old, new)


_SHOWN_TYPE: Final = 160
_SIGNS: Final = {
    "added": "+",
    "widened": "~",
    "narrowed": "<",
    "conflicting": "!",
    "vanished": "-",
}
_MEANINGS: Final = {
    "added": "new",
    "widened": "widened",
    "narrowed": "narrower now, kept",
    "conflicting": "in conflict, kept",
    "vanished": "no longer seen, kept",
}


def render_text(diff: SchemaDiff) -> str:
    """The differences for a terminal, a line each; lines that start with ``!`` need a decision."""
    lines = []
    for kind, difference in _differences(diff):
        types = " -> ".join(_shown(t) for t in (difference.before, difference.after) if t)
        lines.append(f"{_SIGNS[kind]} {difference.path}: {types} ({_MEANINGS[kind]})")
    return "\n".join(lines) or "No differences."


def render_markdown(diff: SchemaDiff) -> str:
    """The differences as a Markdown table."""
    rows = [
        "| " + " | ".join((_MEANINGS[kind], *map(_cell, (d.path, d.before, d.after)))) + " |"
        for kind, d in _differences(diff)
    ]
    if not rows:
        return "No differences."
    return "\n".join(["| | path | type before | type found |", "|---|---|---|---|", *rows])


def _differences(diff: SchemaDiff) -> Iterator[tuple[str, Difference]]:
    for kind in _SIGNS:
        for difference in getattr(diff, kind):
            yield kind, difference


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_TYPE else f"{text[:_SHOWN_TYPE]}..."


def _cell(text: str) -> str:
    if not text:
        return ""
    return "`" + _shown(" ".join(text.split())).replace("|", "\\|").replace("`", "'") + "`"


_Path: TypeAlias = "tuple[_Path | None, str]"
"""The way to the container, and the last step: cheap to extend at any depth."""


def _text(path: _Path) -> str:
    steps = []
    rest: _Path | None = path
    while rest is not None:
        rest, step = rest
        steps.append(step)
    return "".join(reversed(steps))


class _Merge:
    """A merge under way: merges types one by one and collects the differences."""

    def __init__(self, conflicts: Conflicts) -> None:
        self._conflicts = conflicts
        self.added: list[Difference] = []
        self.widened: list[Difference] = []
        self.narrowed: list[Difference] = []
        self.conflicting: list[Difference] = []
        self.vanished: list[Difference] = []

    def diff(self) -> SchemaDiff:
        return SchemaDiff(
            tuple(self.added),
            tuple(self.widened),
            tuple(self.narrowed),
            tuple(self.conflicting),
            tuple(self.vanished),
        )

    def accepts(self, column: Column) -> bool:
        """Whether a new column can be added."""
        try:
            parse_type(column.type)
        except HiveTypeError:
            self.conflicting.append(Difference(column.name, "", column.type))
            return False
        self.added.append(Difference(column.name, "", column.type))
        return True

    def column(self, current: Column, incoming: Column) -> str:
        """The type of a column after the merge."""
        if current.type == incoming.type:
            return current.type
        try:
            one, other = parse_type(current.type), parse_type(incoming.type)
        except HiveTypeError:
            self.conflicting.append(Difference(current.name, current.type, incoming.type))
            return current.type
        trial = _Merge(self._conflicts)
        merged = trial.types(one, other, current.name)
        if merged == one:
            self._take(trial)
            return current.type
        text = str(merged)
        if len(text) > MAX_TYPE_LENGTH:
            self.conflicting.append(Difference(current.name, current.type, incoming.type))
            return current.type
        self._take(trial)
        return text

    def _take(self, other: "_Merge") -> None:
        self.added += other.added
        self.widened += other.widened
        self.narrowed += other.narrowed
        self.conflicting += other.conflicting
        self.vanished += other.vanished

    def types(self, current: HiveType, incoming: HiveType, column: str) -> HiveType:
        """The type that two become, at any depth."""
        merged: list[HiveType] = []
        pending: list[_Pair | _Rebuild] = [_Pair(current, incoming, (None, column))]
        while pending:
            task = pending.pop()
            if isinstance(task, _Rebuild):
                start = len(merged) - task.count
                merged[start:] = [task.kind_of(tuple(merged[start:]))]
            elif task.current is task.incoming:
                merged.append(task.current)
            else:
                inside = self._inside(task)
                if inside is None:
                    merged.append(self._primitive(task))
                else:
                    pending.append(inside[0])
                    pending.extend(reversed(inside[1]))
        return merged[0]

    def _inside(self, pair: "_Pair") -> "tuple[_Rebuild, list[_Pair]] | None":
        """The pairs to merge inside two types of the same kind; None where there is nothing."""
        one, other = pair.current, pair.incoming
        if isinstance(one, StructType) and isinstance(other, StructType):
            return self._fields(one, other, pair.path)
        steps: tuple[str, ...] = ("[]",)
        if isinstance(one, MapType) and isinstance(other, MapType):
            steps = ("{key}", "{}")
        elif isinstance(one, UnionType) and isinstance(other, UnionType):
            if len(one.members) != len(other.members):
                return None
            steps = tuple([f"<{index}>" for index in range(len(one.members))])
        elif not (isinstance(one, ArrayType) and isinstance(other, ArrayType)):
            return None
        pairs = [
            _Pair(a, b, (pair.path, step))
            for a, b, step in zip(children(one), children(other), steps, strict=True)
        ]
        return _Rebuild(one, len(pairs)), pairs

    def _fields(
        self, one: StructType, other: StructType, path: _Path
    ) -> "tuple[_Rebuild, list[_Pair]]":
        found = {name.lower(): kind for name, kind in reversed(other.fields)}
        pairs, names = [], []
        for name, kind in one.fields:
            inside: _Path = (path, f".{name}")
            incoming = found.pop(name.lower(), None)
            if incoming is None:
                self.vanished.append(Difference(_text(inside), str(kind), ""))
            pairs.append(_Pair(kind, kind if incoming is None else incoming, inside))
            names.append(name)
        for name, kind in other.fields:
            if found.pop(name.lower(), None) is not None:
                inside = (path, f".{name}")
                self.added.append(Difference(_text(inside), "", str(kind)))
                pairs.append(_Pair(kind, kind, inside))
                names.append(name)
        return _Rebuild(one, len(pairs), tuple(names)), pairs

    def _primitive(self, pair: "_Pair") -> HiveType:
        current, incoming = pair.current, pair.incoming
        wider = wider_primitive(current, incoming)
        if wider is None and self._conflicts is Conflicts.STRING:
            wider = None if _is_container(current) or _is_container(incoming) else STRING
        if wider == current:
            if current != incoming:
                self.narrowed.append(Difference(_text(pair.path), str(current), str(incoming)))
            return current
        if wider is None:
            self.conflicting.append(Difference(_text(pair.path), str(current), str(incoming)))
            return current
        self.widened.append(Difference(_text(pair.path), str(current), str(wider)))
        return wider


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two types to merge."""

    current: HiveType
    incoming: HiveType
    path: _Path


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """A container to put together from the merged types inside it."""

    kind: HiveType
    count: int
    names: tuple[str, ...] = ()

    def kind_of(self, inside: tuple[HiveType, ...]) -> HiveType:
        if isinstance(self.kind, StructType):
            return StructType(tuple(map(StructField, self.names, inside)))
        return with_children(self.kind, inside)


def _is_container(kind: HiveType) -> bool:
    return isinstance(kind, StructType) or bool(children(kind))
