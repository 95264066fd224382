"""Types of the state and of changes joined, and columns converted to the joined types.

``hive.evolve`` decides. Where it finds no wider type, values are stored in a form that holds both:
a struct and a map become a map, everything else text, unless a user has decided otherwise. Each
such column is reported.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.dynamodb.scalars import quoted
from ddb_pipeline.hive.evolve import merge_columns
from ddb_pipeline.hive.type_decisions import (
    BIGINT,
    DOUBLE,
    NO_DECISIONS,
    UNDECIDED,
    VALUES,
    Decided,
    Decision,
    TypeDecisions,
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
from ddb_pipeline.hive.widening import wider_type
from ddb_pipeline.lake.current.keys import canonical_number


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """Columns that hold the values of a state and of changes.

    Attributes:
        columns: the state's columns in their order, then the new ones.
        conflicts: columns without a common wider type, a line each for a person.
    """

    columns: tuple[Column, ...]
    conflicts: tuple[str, ...]

    def changed_from(self, current: Sequence[Column]) -> bool:
        """Whether files with the current columns have to be written again."""
        return self.columns != tuple(current)


def joined_columns(
    current: Sequence[Column],
    incoming: Sequence[Column],
    decisions: TypeDecisions = NO_DECISIONS,
) -> JoinedColumns:
    """The columns for the values of both; numbers that are decided as ``wider`` stay numbers."""
    tree = decisions.tree
    evolution = merge_columns(current, incoming)
    conflicting = {_column_of(found.path) for found in evolution.diff.conflicting}
    theirs = {column.name: column.type for column in incoming}
    ours = {column.name: column.type for column in current}
    columns, conflicts = [], []
    for column in evolution.columns:
        if column.name in conflicting and column.name in theirs and column.name in ours:
            before, other = ours[column.name], theirs[column.name]
            kind = str(_joined(parse_type(before), parse_type(other), tree.at(column.name)))
            if kind != before:
                conflicts.append(f"{column.name}: {before} and {other} are stored as {kind}")
            column = Column(column.name, kind)
        columns.append(column)
    return JoinedColumns(tuple(columns), tuple(conflicts))


def _column_of(path: str) -> str:
    return path.split(".")[0].split("[")[0].split("{")[0]


def _joined(one: HiveType, other: HiveType, decided: Decided = UNDECIDED) -> HiveType:
    if one == other:
        return one
    match one, other:
        case StructType(), StructType():
            return _joined_structs(one, other, decided)
        case ArrayType(ours), ArrayType(theirs):
            return ArrayType(_joined(ours, theirs, decided.elements))
        case MapType(key, ours), MapType(_, theirs):
            return MapType(key, _joined(ours, theirs, decided.at(VALUES)))
        case (StructType(fields), MapType(key, value)) | (MapType(key, value), StructType(fields)):
            for field in fields:
                value = _joined(value, field.type)
            return MapType(key, value)
    if decided.decision is Decision.WIDER and {one, other} == {BIGINT, DOUBLE}:
        return DOUBLE
    return wider_type(one, other) or STRING


def _joined_structs(one: StructType, other: StructType, decided: Decided) -> HiveType:
    theirs = {field.name: field.type for field in other.fields}
    fields = [
        StructField(
            field.name,
            _joined(
                field.type,
                theirs.pop(field.name, field.type),
                decided.at(field.name),
            ),
        )
        for field in one.fields
    ]
    return StructType((*fields, *(field for field in other.fields if field.name in theirs)))


def widened(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as a wider type: no value changes, and a missing field of a struct is null."""
    if values.type.equals(kind):
        return values
    if values.null_count == len(values):
        return pa.nulls(len(values), kind)
    if pa.types.is_struct(kind) and pa.types.is_struct(values.type):
        return _widened_struct(values, kind)
    if pa.types.is_list(kind) and pa.types.is_list(values.type):
        return _widened_list(values, kind)
    if pa.types.is_map(kind) and pa.types.is_map(values.type):
        return _widened_map(values, kind)
    if pa.types.is_map(kind) and pa.types.is_struct(values.type):
        return _struct_as_map(values, kind)
    if pa.types.is_string(kind):
        return _texts(values)
    if pa.types.is_decimal(kind) and pa.types.is_integer(values.type):
        # Arrow casts integers to decimals only if these hold all values of the integer type.
        return values.cast(pa.decimal128(19, 0)).cast(kind)
    return values.cast(kind)


def _validity(values: pa.Array) -> pa.Array | None:
    return pc.is_null(values) if values.null_count else None


def _widened_struct(values: pa.StructArray, kind: pa.StructType) -> pa.Array:
    children = [
        widened(values.field(values.type.get_field_index(field.name)), field.type)
        if values.type.get_field_index(field.name) >= 0
        else pa.nulls(len(values), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=_validity(values))


def _ends(values: pa.Array) -> pa.Array:
    """Offsets from 0 for the flattened elements; those of a null list are left out."""
    lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))


def _widened_list(values: pa.ListArray, kind: pa.ListType) -> pa.Array:
    elements = widened(values.flatten(), kind.value_type)
    return pa.ListArray.from_arrays(_ends(values), elements, type=kind, mask=_validity(values))


def _widened_map(values: pa.MapArray, kind: pa.MapType) -> pa.Array:
    as_list = values.cast(
        pa.list_(pa.struct([("key", values.type.key_type), ("value", values.type.item_type)]))
    )
    entries = as_list.flatten()
    keys = widened(entries.field(0), kind.key_type)
    items = widened(entries.field(1), kind.item_type)
    return _map(_ends(as_list), keys, items, values, kind)


def _struct_as_map(values: pa.StructArray, kind: pa.MapType) -> pa.Array:
    """Each struct as a map of its fields that are not null."""
    fields = values.type.num_fields
    members = values.flatten()
    present = np.column_stack([pc.is_valid(m).to_numpy(zero_copy_only=False) for m in members])
    flat = present.ravel()
    # Position of each entry (row by row) in the concatenation (field by field).
    order = np.arange(fields) * len(values) + np.arange(len(values))[:, None]
    items = pa.concat_arrays([widened(member, kind.item_type) for member in members])
    names = pa.array([field.name for field in values.type], kind.key_type)
    keys = names.take(pa.array(np.tile(np.arange(fields), len(values))[flat]))
    taken = items.take(pa.array(order.ravel()[flat]))
    ends = pa.array(np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int32))
    return _map(ends, keys, taken, values, kind)


def _map(
    ends: pa.Array, keys: pa.Array, items: pa.Array, parent: pa.Array, kind: pa.MapType
) -> pa.Array:
    mask = _validity(parent)
    return pa.MapArray.from_arrays(ends, keys, items, type=kind, mask=mask)


def _texts(values: pa.Array) -> pa.Array:
    """Values as the text that the converter writes for them in a string column."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string())
    read = values.to_pylist()
    if pa.types.is_binary(kind):
        return pa.array(
            [v if v is None else b64encode(v).decode("ascii") for v in read], pa.string()
        )
    return pa.array([v if v is None else _json(v, kind) for v in read], pa.string())


def _json(value: Any, kind: pa.DataType) -> str:
    """A value as JSON text; members without a value are left out."""
    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        members = {name: (found, kind.field(name).type) for name, found in value.items()}
        return _json_object(members)
    if pa.types.is_map(kind):
        return _json_object({name: (found, kind.item_type) for name, found in value})
    if pa.types.is_list(kind):
        return "[" + ",".join(_json(found, kind.value_type) for found in value) + "]"
    if pa.types.is_binary(kind):
        return quoted(b64encode(value).decode("ascii"))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return json.dumps(value)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return canonical_number(str(value))
    return quoted(str(value))


def _json_object(members: Mapping[str, tuple[Any, pa.DataType]]) -> str:
    found = [f"{quoted(n)}:{_json(v, kind)}" for n, (v, kind) in members.items() if v is not None]
    return "{" + ",".join(found) + "}"
