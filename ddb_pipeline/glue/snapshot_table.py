"""The catalog tables of converted exports, with one partition for each complete export."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    create_table,
    find_table,
    update_table,
)
from ddb_pipeline.glue.lake_table import (
    LakePartition,
    parquet_definition,
    register_partitions,
    widened,
)
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef

PARTITION_KEY = Column("export_id", "string")


def item_columns(lake: Sequence[Column]) -> tuple[Column, ...]:
    """The lake table's columns without the delivery columns."""
    return tuple(column for column in lake if column.name not in DELIVERY_NAMES)


def snapshot_definition(name: str, location: str, columns: Sequence[Column]) -> "TableInputTypeDef":
    """Define a new table of exports for Spark, Hive and Athena."""
    return parquet_definition(name, location, columns, (PARTITION_KEY,))


def publish_export(
    glue: "GlueClient",
    reference: TableReference,
    *,
    location: str,
    columns: Sequence[Column],
    export_id: str,
    partition_location: str,
) -> CatalogTable:
    """Add the partition of a converted export; creates the table, or widens it to ``columns``.

    Raises:
        CatalogError: the table or its partition cannot be written.
    """
    if find_table(glue, reference) is None:
        create_table(glue, reference, snapshot_definition(reference.name, location, columns))
    table = update_table(glue, reference, lambda table: widened(table, columns)).after
    register_partitions(glue, table, [LakePartition((export_id,), partition_location)])
    return table
