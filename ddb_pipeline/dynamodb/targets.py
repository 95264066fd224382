"""Where the values of an item go in a table: the columns, and the fields and elements inside them.

A target knows the JSON object that a map becomes there: the names of its members, and which of them
have no column.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ddb_pipeline.dynamodb.scalars import quoted
from ddb_pipeline.hive.coverage import Elements, Fields, Node
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError

MAX_CACHED_NAMES: Final = 200
"""The layout of a map with more names is not cached: its names are probably data."""
MAX_LAYOUTS: Final = 256
"""So many layouts are cached for each target."""


class Target:
    """Where a value goes: a column, a field, an element, or the table itself.

    Attributes:
        fields: the fields or columns by name, None if any value is accepted there.
        map_values: where the values of a map with data keys go; None if it is not of type map.
        others: where attributes without a field go.
        elements: where the elements of a list go.
        as_map: where a map goes: its only element where an array of it is expected, because the
            SerDe reads an object in place of an array that way.
        layouts: the layouts that maps had here, by names.
        columns: of the table itself: the columns, where they are known.
    """

    __slots__ = ("as_map", "columns", "elements", "fields", "layouts", "map_values", "others")

    def __init__(self, node: Node = None, columns: Sequence[Column] = ()) -> None:
        self.columns = columns
        self.fields: dict[str, Target] | None = None
        self.map_values: Target | None = None
        self.others: Target = self if node is None else ANY
        self.elements: Target = self.others
        self.as_map: Target = self
        self.layouts: dict[tuple[str, ...], Layout] = {}
        match node:
            case Fields(by_name):
                self.fields = {name: _target(inner) for name, inner in by_name.items()}
            case Elements(each, of_map=True):
                self.map_values = _target(each)
            case Elements(each):
                self.elements = _target(each)
                self.as_map = self.elements.as_map

    @classmethod
    def as_written(cls) -> "Target":
        """A row whose values keep all names inside them, at any depth."""
        value = cls()
        value.map_values = value
        row = cls()
        row.others = value
        return row

    def layout(self, names: tuple[str, ...]) -> "Layout":
        """The JSON object that a map of these attribute names becomes here.

        Raises:
            UndecodableValueError: a name is not a string.
        """
        layout = _layout(self, names)
        if self.map_values is None and len(names) <= MAX_CACHED_NAMES:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[names] = layout
        return layout


class Layout(NamedTuple):
    """A JSON object of an item's or a map's attributes.

    Attributes:
        template: its text, with ``%s`` in place of each value.
        targets: where each value goes.
        without_column: names of attributes that no column or field holds.
    """

    template: str
    targets: Sequence[Target]
    without_column: Sequence[str]


def _target(node: Node) -> Target:
    return ANY if node is None else Target(node)


ANY: Final = Target()
"""The target of a table whose columns are not known, and of a column that holds any value."""
AS_WRITTEN: Final = Target.as_written()
"""A row of a table whose columns, and whose maps with data keys, are not known yet."""


def _layout(target: Target, names: tuple[str, ...]) -> Layout:
    if not all(isinstance(name, str) for name in names):
        raise UndecodableValueError("an attribute's name is not a string")
    if target.map_values is not None:
        keys = [quoted(key).replace("%", "%%") for key in names]
        return Layout(_template(keys), (target.map_values,) * len(names), ())
    columns = column_names(names)
    template = _template(f'"{columns[name]}"' for name in names)
    if target.fields is None:
        return Layout(template, (target.others,) * len(names), ())
    targets = [target.fields.get(columns[name]) for name in names]
    without = [name for name, found in zip(names, targets, strict=True) if found is None]
    return Layout(template, tuple(found or target.others for found in targets), tuple(without))


def _template(keys: Iterable[str]) -> str:
    # A column name has no character that % formatting takes as its own.
    return "{" + ",".join([f"{key}:%s" for key in keys]) + "}"
