"""The schema fix: whatever a crawler wrote, the catalog table ends valid for its readers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    Definition,
    TableReference,
    read_table,
    update_table,
    with_columns,
)
from ddb_pipeline.hive.normalize import ColumnChange, normalize_columns
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

TABLE_CHANGE = "Glue Data Catalog Table State Change"
DATABASE_CHANGE = "Glue Data Catalog Database State Change"
"""EventBridge detail-types: UpdateTable and partition operations arrive as the first, CreateTable,
DeleteTable and BatchDeleteTable as the second (AWS Glue Developer Guide, "EventBridge events")."""

REMOVALS = frozenset({"DeleteTable", "BatchDeleteTable", "DeleteDatabase"})


@dataclass(frozen=True, slots=True)
class Repair:
    """What the fix did to one table; ``changes`` is empty where nothing was wrong."""

    table: TableReference
    version_before: str
    version_after: str
    columns_before: tuple[Column, ...]
    columns_after: tuple[Column, ...]
    changes: tuple[ColumnChange, ...]

    @property
    def written(self) -> bool:
        return self.version_before != self.version_after


def pending_changes(table: CatalogTable) -> tuple[ColumnChange, ...]:
    """What the fix would change in this version of the table."""
    return normalize_columns(table.columns)[1]


def repaired(table: CatalogTable) -> Definition | None:
    """The table's definition with every column valid, or None where it already is."""
    columns, changes = normalize_columns(table.columns)
    return with_columns(table.definition, columns) if changes else None


def fix_table(glue: "GlueClient", reference: TableReference, *, dry_run: bool = False) -> Repair:
    """Bring one catalog table to types that Firehose, Hive, Spark and Athena accept.

    Writes nothing where nothing is wrong, so that the fix's own table-change event ends there.

    Raises:
        CatalogError: the table is missing, may not be written, or never held still.
    """
    if dry_run:
        table = read_table(glue, reference)
        columns, changes = normalize_columns(table.columns)
        return Repair(
            reference, table.version_id, table.version_id, table.columns, columns, changes
        )
    update = update_table(glue, reference, repaired)
    return Repair(
        table=reference,
        version_before=update.before.version_id,
        version_after=update.after.version_id,
        columns_before=update.before.columns,
        columns_after=normalize_columns(update.before.columns)[0],
        changes=pending_changes(update.before),
    )


def changed_tables(event: Mapping[str, Any]) -> tuple[TableReference, ...]:
    """The tables that one EventBridge event says were created or updated.

    Empty for deletions, for events of other services, and for shapes that are not known.
    """
    if event.get("source") != "aws.glue":
        return ()
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or detail.get("typeOfChange") in REMOVALS:
        return ()
    database = detail.get("databaseName")
    if event.get("detail-type") == TABLE_CHANGE:
        names: Sequence[Any] = (detail.get("tableName"),)
    elif event.get("detail-type") == DATABASE_CHANGE:
        names = detail.get("changedTables") or ()
    else:
        return ()
    if not isinstance(database, str):
        return ()
    return tuple(TableReference(database, name) for name in names if isinstance(name, str) and name)


def watched(
    tables: Iterable[TableReference], patterns: Sequence[TableReference]
) -> tuple[TableReference, ...]:
    """Those of ``tables`` that are looked after, once each; ``*`` as a name takes a database."""
    wanted = {(pattern.database, pattern.name) for pattern in patterns}
    return tuple(
        dict.fromkeys(
            table
            for table in tables
            if (table.database, table.name) in wanted or (table.database, "*") in wanted
        )
    )
