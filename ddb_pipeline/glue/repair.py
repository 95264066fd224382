"""The schema fix: column types that a crawler wrote become types that readers accept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    TableUpdate,
    read_table,
    update_table,
    with_columns,
)
from ddb_pipeline.hive.decided_columns import decided_columns
from ddb_pipeline.hive.normalize import ColumnChange, normalize_columns
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef

TABLE_CHANGE = "Glue Data Catalog Table State Change"
DATABASE_CHANGE = "Glue Data Catalog Database State Change"
"""EventBridge detail-types: of UpdateTable and partition operations the first, of CreateTable,
DeleteTable and BatchDeleteTable the second (AWS Glue Developer Guide, "EventBridge events")."""

CRAWLED_CLASSIFICATION = "dynamodb"

REMOVALS = frozenset({"DeleteTable", "BatchDeleteTable", "DeleteDatabase"})


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of the fix of one table.

    Attributes:
        changes: empty where all types were valid, or the table was left alone.
        left_alone: why the fix does not apply to the table; empty where it does.
    """

    table: TableReference
    version_before: str
    version_after: str
    changes: tuple[ColumnChange, ...]
    left_alone: str = ""

    @property
    def written(self) -> bool:
        """Whether the fix wrote a new version."""
        return self.version_before != self.version_after


def sign_of_files(table: CatalogTable) -> str:
    """What shows that a table describes files and no DynamoDB table; empty where nothing does.

    The types of such a table are those of its files: with other types no reader could read them.
    A crawler sets ``classification`` on each table (AWS Glue Developer Guide, "Parameters set on
    Data Catalog tables by crawler"), on a DynamoDB table's to ``dynamodb``, and gives that table
    the ARN as location and neither input format nor SerDe. A table without these is one that
    somebody wrote by hand for Firehose.
    """
    descriptor = table.definition.get("StorageDescriptor") or {}
    classification = (table.definition.get("Parameters") or {}).get("classification", "")
    if classification:
        is_crawled = classification.lower() == CRAWLED_CLASSIFICATION
        return "" if is_crawled else f"its classification is {classification!r}"
    if descriptor.get("InputFormat"):
        return f"its input format is {descriptor['InputFormat']}"
    serde = (descriptor.get("SerdeInfo") or {}).get("SerializationLibrary")
    if serde:
        return f"its SerDe is {serde}"
    return f"its location is {table.location}" if table.location.startswith("s3") else ""


def repaired_columns(
    table: CatalogTable, decisions: TypeDecisions = NO_DECISIONS
) -> tuple[tuple[Column, ...], tuple[ColumnChange, ...]]:
    """The columns after the fix, and the changes that lead to them.

    The decisions come first: they may know what a type means that no engine accepts.
    """
    if sign_of_files(table):
        return table.columns, ()
    decided, changes = decided_columns(table.columns, decisions)
    columns, more_changes = normalize_columns(decided)
    return tuple(columns), (*changes, *more_changes)


def pending_changes(
    table: CatalogTable, decisions: TypeDecisions = NO_DECISIONS
) -> tuple[ColumnChange, ...]:
    """The changes that the fix would make to this version of the table."""
    return repaired_columns(table, decisions)[1]


def repaired(
    table: CatalogTable, decisions: TypeDecisions = NO_DECISIONS
) -> "TableInputTypeDef | None":
    """The definition with valid types in all columns; None where nothing is to change."""
    columns, changes = repaired_columns(table, decisions)
    return with_columns(table.definition, columns) if changes else None


def fix_table(
    glue: "GlueClient",
    reference: TableReference,
    decisions: TypeDecisions = NO_DECISIONS,
    *,
    dry_run: bool = False,
) -> Repair:
    """Repair the types of a catalog table, so that Firehose, Hive, Spark and Athena accept them.

    A table of files is left alone (see ``sign_of_files``). It writes nothing where all types are
    valid, so the fix that follows its own table-change event causes no further event.

    Raises:
        CatalogError: the table does not exist, may not be written, or changed in every attempt.
    """
    if dry_run:
        table = read_table(glue, reference)
        update = TableUpdate(table, table)
    else:
        update = update_table(glue, reference, lambda table: repaired(table, decisions))
    return Repair(
        table=reference,
        version_before=update.before.version_id,
        version_after=update.after.version_id,
        changes=pending_changes(update.before, decisions),
        left_alone=sign_of_files(update.before),
    )


def changed_tables(event: Mapping[str, Any]) -> tuple[TableReference, ...]:
    """The tables that were created or updated according to an EventBridge event.

    Empty for deletions, for events of other services, and for events of an unknown form.
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
    """Those of ``tables`` that match a pattern, once each.

    A pattern's name may end with ``*``, which stands for any end of a name.
    """
    names = {(pattern.database, pattern.name) for pattern in patterns}
    prefixes = [
        (pattern.database, pattern.name[:-1]) for pattern in patterns if pattern.name[-1:] == "*"
    ]
    return tuple(
        dict.fromkeys(
            table
            for table in tables
            if (table.database, table.name) in names
            or any(
                table.database == database and table.name.startswith(prefix)
                for database, prefix in prefixes
            )
        )
    )
