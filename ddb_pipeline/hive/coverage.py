"""Which attributes of a JSON document have no column: what a conversion would drop silently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    HiveType,
    HiveTypeError,
    MapType,
    StructType,
    parse_type,
)


@dataclass(frozen=True, slots=True)
class Fields:
    """A struct, or the table itself: the names that it has, as documents have them."""

    by_name: Mapping[str, "Node"]


@dataclass(frozen=True, slots=True)
class Elements:
    """An array, or the values of a map (``of_map``): any number of values of the same type."""

    each: "Node"
    of_map: bool


Node: TypeAlias = "Fields | Elements | None"
"""None holds any value: a scalar column, or a string that holds an object as JSON text."""


def covered_fields(columns: Sequence[Column]) -> Fields:
    """The names that a table's columns have. A column whose type is not valid holds any value."""
    return Fields({column.name.lower(): _column_node(column.type) for column in columns})


def map_columns(fields: Fields) -> Fields:
    """The columns in which there are maps, with the path to each map and nothing else."""
    return _with_maps(fields) or Fields({})


def node_of(node: Node, name: str) -> Node:
    """The node of a member; None for one without maps or without column."""
    if isinstance(node, Fields):
        return node.by_name.get(name)
    return node.each if node is not None else None


def _with_maps(node: Node) -> Any:
    match node:
        case Fields(by_name):
            inside = {name: _with_maps(each) for name, each in by_name.items()}
            kept = {name: each for name, each in inside.items() if each is not None}
            return Fields(kept) if kept else None
        case Elements(each, of_map):
            inner = _with_maps(each)
            return Elements(inner, of_map) if of_map or inner is not None else None
    return None


def _column_node(text: str) -> Node:
    try:
        return _node(parse_type(replace_sets(text)))
    except HiveTypeError:
        return None


def _node(kind: HiveType) -> Node:
    match kind:
        case StructType(fields):
            return Fields({field.name.lower(): _node(field.type) for field in fields})
        case ArrayType(element):
            return Elements(_node(element), of_map=False)
        case MapType(_, value):
            return Elements(_node(value), of_map=True)
    return None


def attributes_without_column(document: Mapping[str, Any], fields: Fields) -> tuple[str, ...]:
    """Paths of a JSON document's values that no column holds, such as ``device.screen.depth``.

    Nulls and empty containers need no column: a column that is missing reads the same.
    """
    return tuple(dict.fromkeys(path for path, _ in values_without_column(document, fields)))


def values_without_column(value: Any, node: Node, path: str = "") -> list[tuple[str, Any]]:
    """The values of a JSON document that no column holds, each with its path."""
    if isinstance(node, Fields):
        return _field_values(value, node, path) if isinstance(value, Mapping) else []
    if node is None or node.each is None:
        return []
    return [
        found
        for element in _elements(value, node.of_map)
        for found in values_without_column(element, node.each, f"{path}[]")
    ]


def _elements(value: Any, of_map: bool) -> Iterable[Any]:
    if isinstance(value, Mapping):
        # The SerDe reads an object where an array is expected as the array's one element.
        return value.values() if of_map else (value,)
    return value if isinstance(value, list) and not of_map else ()


def _field_values(value: Mapping[str, Any], node: Fields, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, inner in value.items():
        covered = name in node.by_name
        if covered and node.by_name[name] is None:
            continue
        inner_path = f"{path}.{name}" if path else name
        if covered:
            found += values_without_column(inner, node.by_name[name], inner_path)
        elif _has_content(inner):
            found.append((inner_path, inner))
    return found


def _has_content(value: Any) -> bool:
    """Whether a JSON value holds anything besides nulls and empty containers."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
        elif current is not None:
            return True
    return False
