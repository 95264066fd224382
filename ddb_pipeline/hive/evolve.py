"""Schemas over time: merge an incoming schema into the current one, and report the differences.

A schema only widens: types as in :mod:`ddb_pipeline.hive.widening`, also inside arrays and maps,
structs by fields appended. Two types without a common wider one conflict: the current one stays,
and the conflict is reported. Names are compared without regard to case, as Hive does; of names
that repeat, the first counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from ddb_pipeline.hive.types import (
    MAX_TYPE_LENGTH,
    ArrayType,
    Column,
    HiveType,
    HiveTypeError,
    MapType,
    StructField,
    StructType,
    UnionType,
    parse_type,
)
from ddb_pipeline.hive.widening import wider_type

Named = TypeVar("Named", Column, StructField)
Kind: TypeAlias = Literal["added", "widened", "narrowed", "conflicting", "vanished"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two schemas.

    Attributes:
        path: column and, inside of it, ``.field``, ``[]``, ``{}`` for a map's values and
            ``{key}`` for its keys.
        before: the type in the current schema; empty if the path is new.
        after: the type in the merged schema or, where the current type stays, in the incoming
            one; empty if the path is missing there.
    """

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SchemaDiff:
    """How an incoming schema differs from the current one.

    Attributes:
        added: columns and fields that are new.
        widened: types that became wider.
        narrowed: types that are narrower in the incoming schema; the current ones stay.
        conflicting: types without a common wider type; the current ones stay.
        vanished: columns and fields that are missing in the incoming schema; they stay.
    """

    added: tuple[Difference, ...] = ()
    widened: tuple[Difference, ...] = ()
    narrowed: tuple[Difference, ...] = ()
    conflicting: tuple[Difference, ...] = ()
    vanished: tuple[Difference, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the merged schema differs from the current one."""
        return bool(self.added or self.widened)


@dataclass(frozen=True, slots=True)
class Evolution:
    """A schema after a merge, and how the incoming schema differed."""

    columns: tuple[Column, ...]
    diff: SchemaDiff


def merge_columns(
    current: Sequence[Column | tuple[str, str]],
    incoming: Sequence[Column | tuple[str, str]],
) -> Evolution:
    """The current columns, widened to hold what the incoming ones hold, then the new ones.

    The same goes for fields of structs. A type that Hive cannot parse conflicts with any other;
    a new column with such a type is not added. Merging the same columns again changes nothing.
    """
    merge = _Merge()
    columns = merge.columns([Column(*c) for c in current], [Column(*c) for c in incoming])
    return Evolution(columns, merge.diff())


def narrowings(
    old: Sequence[Column | tuple[str, str]], new: Sequence[Column | tuple[str, str]]
) -> tuple[Difference, ...]:
    """What the new schema cannot hold of what the old one holds; empty if it only widens."""
    diff = merge_columns(old, new).diff
    return (*diff.vanished, *diff.narrowed, *diff.conflicting)


_LONGEST_SHOWN: Final = 160
_MEANINGS: Final[dict[Kind, str]] = {
    "added": "new",
    "widened": "widened",
    "narrowed": "narrower now, current type stays",
    "conflicting": "in conflict, current type stays",
    "vanished": "no longer found, stays",
}


def render_markdown(diff: SchemaDiff) -> str:
    """The differences as a Markdown table."""
    rows = [
        "| " + " | ".join((meaning, _cell(d.path), _cell(d.before), _cell(d.after))) + " |"
        for kind, meaning in _MEANINGS.items()
        for d in getattr(diff, kind)
    ]
    if not rows:
        return "No differences."
    return "\n".join(["| | path | type before | type found |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    if not text:
        return ""
    shown = " ".join(text.split())
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    return "`" + shown.replace("|", "\\|").replace("`", "'") + "`"


class _Merge:
    """One merge, which collects the differences."""

    def __init__(self) -> None:
        self._found: list[tuple[Kind, Difference]] = []

    def diff(self) -> SchemaDiff:
        """The differences collected so far."""
        return SchemaDiff(
            **{kind: tuple([d for k, d in self._found if k == kind]) for kind in _MEANINGS}
        )

    def _note(self, kind: Kind, path: str, before: object = "", after: object = "") -> None:
        self._found.append((kind, Difference(path, str(before), str(after))))

    def columns(self, current: list[Column], incoming: list[Column]) -> tuple[Column, ...]:
        """The columns after the merge."""
        pairs, new = _matched(current, incoming)
        merged = [Column(ours.name, self._column_type(ours, theirs)) for ours, theirs in pairs]
        return (*merged, *filter(self._is_added, new))

    def _is_added(self, column: Column) -> bool:
        try:
            parse_type(column.type)
        except HiveTypeError:
            self._note("conflicting", column.name, after=column.type)
            return False
        self._note("added", column.name, after=column.type)
        return True

    def _column_type(self, current: Column, incoming: Column | None) -> str:
        if incoming is None:
            self._note("vanished", current.name, before=current.type)
            return current.type
        if current.type == incoming.type:
            return current.type
        before = len(self._found)
        try:
            ours, theirs = parse_type(current.type), parse_type(incoming.type)
            merged = str(self._type(ours, theirs, current.name))
            if merged == str(ours):
                return current.type
            if len(merged) <= MAX_TYPE_LENGTH:
                return merged
            del self._found[before:]
        except HiveTypeError:
            pass
        self._note("conflicting", current.name, current.type, incoming.type)
        return current.type

    def _type(self, current: HiveType, incoming: HiveType, path: str) -> HiveType:
        match current, incoming:
            case StructType(), StructType():
                return self._struct(current, incoming, path)
            case ArrayType(ours), ArrayType(theirs):
                return ArrayType(self._type(ours, theirs, f"{path}[]"))
            case MapType(our_key, ours), MapType(their_key, theirs):
                key = self._type(our_key, their_key, f"{path}{{key}}")
                return MapType(key, self._type(ours, theirs, f"{path}{{}}"))
            case UnionType(ours), UnionType(theirs) if len(ours) == len(theirs):
                pairs = zip(ours, theirs, strict=True)
                merged = [self._type(*p, f"{path}<{index}>") for index, p in enumerate(pairs)]
                return UnionType(tuple(merged))
        return self._scalar(current, incoming, path)

    def _struct(self, current: StructType, incoming: StructType, path: str) -> StructType:
        pairs, new = _matched(current.fields, incoming.fields)
        fields = []
        for ours, theirs in pairs:
            inside = f"{path}.{ours.name}"
            if theirs is None:
                self._note("vanished", inside, before=ours.type)
                fields.append(ours)
            else:
                fields.append(StructField(ours.name, self._type(ours.type, theirs.type, inside)))
        for field in new:
            self._note("added", f"{path}.{field.name}", after=field.type)
        return StructType((*fields, *new))

    def _scalar(self, current: HiveType, incoming: HiveType, path: str) -> HiveType:
        wider = wider_type(current, incoming)
        if wider is None:
            self._note("conflicting", path, current, incoming)
            return current
        if wider != current:
            self._note("widened", path, current, wider)
        elif current != incoming:
            self._note("narrowed", path, current, incoming)
        return wider


def _matched(
    current: Sequence[Named], incoming: Sequence[Named]
) -> tuple[list[tuple[Named, Named | None]], list[Named]]:
    """Each current column or field with the incoming one of its name; and the new ones."""
    found = {one.name.lower(): one for one in reversed(incoming)}
    pairs = [(one, found.pop(one.name.lower(), None)) for one in current]
    return pairs, [one for one in incoming if found.pop(one.name.lower(), None) is not None]
