"""The catalog table over the snapshots: one partition an export, known when it is complete."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    Definition,
    TableReference,
    create_table,
    find_table,
    update_table,
    with_columns,
)
from ddb_pipeline.glue.lake_table import (
    DELIVERY_COLUMNS,
    LakePartition,
    parquet_definition,
    register_partitions,
)
from ddb_pipeline.hive.evolve import merge_columns
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

PARTITION_KEY = Column("export_id", "string")


def item_columns(lake: Sequence[Column]) -> tuple[Column, ...]:
    """The lake's columns without what the delivery says of each change."""
    delivery = {column.name for column in DELIVERY_COLUMNS}
    return tuple(column for column in lake if column.name not in delivery)


def snapshot_definition(name: str, location: str, columns: Sequence[Column]) -> dict[str, Any]:
    """A new snapshot table as Spark, Hive and Athena read one."""
    return parquet_definition(name, location, columns, (PARTITION_KEY,))


def publish_snapshot(
    glue: "GlueClient",
    reference: TableReference,
    location: str,
    columns: Sequence[Column],
    export_id: str,
    partition_location: str,
) -> CatalogTable:
    """Make a complete snapshot known to readers of the catalog, widening the table to it.

    Raises:
        CatalogError: the table or its partition may not be written.
    """

    def widened(table: CatalogTable) -> Definition | None:
        merged = tuple(merge_columns(table.columns, columns).columns)
        return with_columns(table.definition, merged) if merged != table.columns else None

    if find_table(glue, reference) is None:
        create_table(glue, reference, snapshot_definition(reference.name, location, columns))
    table = update_table(glue, reference, widened).after
    register_partitions(glue, table, [LakePartition((export_id,), partition_location)])
    return table
