"""How an Iceberg table's schema follows the lake's columns: decided here, applied to pyiceberg.

The table's columns only widen. Where Iceberg promotes a type, or a column or field is new, its
metadata changes alone. Any other wider type replaces the column by a new one of the same name, and
all files have to be written with it, in the same commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IcebergType, NestedField

from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    HiveType,
    MapType,
    StructType,
    parse_type,
)
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.iceberg.types import (
    hive_form,
    iceberg_columns,
    iceberg_type,
    promotable,
)

FIRST_PARTITION_ID: Final = 1000
"""The id of the first partition field (Iceberg specification, "Partition Evolution")."""
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What changes in a table's schema.

    Attributes:
        columns: all columns after it.
        added: new columns and fields, by path, with their types.
        promoted: columns and fields whose type Iceberg promotes, with the new type.
        replaced: columns whose files have to be written again.
    """

    columns: tuple[Column, ...]
    added: tuple[tuple[Path, HiveType], ...] = ()
    promoted: tuple[tuple[Path, HiveType], ...] = ()
    replaced: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.promoted or self.replaced)


def schema_change(current: Sequence[Column], incoming: Sequence[Column]) -> SchemaChange:
    """The change by which a table's columns also hold what the incoming ones hold."""
    wanted = iceberg_columns(joined_columns(current, iceberg_columns(incoming)).columns)
    before = {column.name: parse_type(column.type) for column in current}
    added: list[tuple[Path, HiveType]] = []
    promoted: list[tuple[Path, HiveType]] = []
    replaced = []
    for name, text in wanted:
        kind = parse_type(text)
        if name not in before:
            added.append(((name,), kind))
        elif promotable(before[name], kind):
            _compare((name,), before[name], kind, added, promoted)
        else:
            replaced.append(name)
    return SchemaChange(wanted, tuple(added), tuple(promoted), tuple(replaced))


def _compare(
    path: Path,
    before: HiveType,
    after: HiveType,
    added: list[tuple[Path, HiveType]],
    promoted: list[tuple[Path, HiveType]],
) -> None:
    if before == after:
        return
    match before, after:
        case ArrayType(ours), ArrayType(theirs):
            _compare((*path, "element"), ours, theirs, added, promoted)
        case MapType(_, ours), MapType(_, theirs):
            _compare((*path, "value"), ours, theirs, added, promoted)
        case StructType(fields), StructType(others):
            types = {field.name: field.type for field in fields}
            for field in others:
                inside = (*path, field.name)
                if field.name in types:
                    _compare(inside, types[field.name], field.type, added, promoted)
                else:
                    added.append((inside, field.type))
        case _:
            promoted.append((path, after))


def apply(change: SchemaChange, update: UpdateSchema) -> None:
    """Make a change in an update of pyiceberg, which numbers the new fields."""
    types = {column.name: parse_type(column.type) for column in change.columns}
    for name in change.replaced:
        update.delete_column(name)
        update.add_column(name, _numbered(types[name]))
    for path, kind in change.promoted:
        update.update_column(path, field_type=_numbered(kind))
    for path, kind in change.added:
        update.add_column(path, _numbered(kind))


def new_schema(columns: Sequence[Column]) -> Schema:
    """The schema of a new table, with the ids that a catalog gives it."""
    numbers = count(1)
    fields = [
        NestedField(
            next(numbers), name, iceberg_type(parse_type(kind), lambda: next(numbers)), False
        )
        for name, kind in iceberg_columns(columns)
    ]
    return assign_fresh_schema_ids(Schema(*fields))


def partition_spec(schema: Schema, names: Sequence[str]) -> PartitionSpec:
    """Partitions by the values of columns."""
    return PartitionSpec(
        *(
            PartitionField(
                schema.find_field(name).field_id,
                FIRST_PARTITION_ID + position,
                IdentityTransform(),
                name,
            )
            for position, name in enumerate(names)
        )
    )


def columns_of(schema: Schema) -> tuple[Column, ...]:
    """A table's columns with the types that name their Iceberg types."""
    return tuple(Column(field.name, str(hive_form(field.field_type))) for field in schema.fields)


def _numbered(kind: HiveType) -> IcebergType:
    numbers = count(1)
    return iceberg_type(kind, lambda: next(numbers))
