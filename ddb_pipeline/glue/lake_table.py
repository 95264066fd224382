"""The lake table: the catalog table of the delivered Parquet, which is only ever widened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    catalog_error,
    column_entries,
    create_table,
    find_table,
    update_table,
    with_columns,
)
from ddb_pipeline.hive.evolve import Evolution, merge_columns
from ddb_pipeline.hive.names import DELIVERY_NAMES, EVENT_TIME, EXPIRED
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import (
        PartitionInputTypeDef,
        StorageDescriptorTypeDef,
        TableInputTypeDef,
    )

_DELIVERY_TYPES = {EVENT_TIME: "timestamp", EXPIRED: "boolean"}

DELIVERY_COLUMNS = tuple(
    Column(name, _DELIVERY_TYPES.get(name, "string")) for name in DELIVERY_NAMES
)
"""The columns in which the streaming function describes each change, before the item's own."""

PARTITION_KEYS = (Column("delivery_date", "string"), Column("delivery_hour", "string"))
"""The partitions under the delivery stream's prefix, in UTC."""

MAX_PARTITIONS_PER_CALL = 100
"""The limit of BatchCreatePartition (AWS Glue API reference)."""

INPUT_FORMAT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
OUTPUT_FORMAT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
PARQUET_SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"


@dataclass(frozen=True, slots=True)
class LakeTableUpdate:
    """The result of merging a crawled schema into the lake table."""

    table: CatalogTable
    created: bool
    written: bool
    evolution: Evolution


@dataclass(frozen=True, slots=True)
class LakePartition:
    """A partition: its values in the order of the partition keys, and its location."""

    values: tuple[str, ...]
    location: str


def lake_columns(crawled: Sequence[Column]) -> tuple[Column, ...]:
    """The lake table's columns: the delivery columns, then a crawled schema's, repaired."""
    return (*DELIVERY_COLUMNS, *normalize_columns(crawled)[0])


def lake_definition(name: str, location: str, columns: Sequence[Column]) -> "TableInputTypeDef":
    """Define a new lake table for Spark, Hive and Athena."""
    return parquet_definition(name, location, columns, PARTITION_KEYS)


def parquet_definition(
    name: str, location: str, columns: Sequence[Column], partition_keys: Sequence[Column] = ()
) -> "TableInputTypeDef":
    """Define a new table of Parquet data."""
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE"},
        "PartitionKeys": column_entries(partition_keys),
        "StorageDescriptor": storage_descriptor(location, columns),
    }


def storage_descriptor(location: str, columns: Sequence[Column]) -> "StorageDescriptorTypeDef":
    """Describe Parquet data at a location, of a table or of a partition."""
    return {
        "Columns": column_entries(columns),
        "Location": location,
        "InputFormat": INPUT_FORMAT,
        "OutputFormat": OUTPUT_FORMAT,
        "Compressed": False,
        "SerdeInfo": {
            "SerializationLibrary": PARQUET_SERDE,
            "Parameters": {"serialization.format": "1"},
        },
        "StoredAsSubDirectories": False,
    }


def widened(table: CatalogTable, columns: Sequence[Column]) -> "TableInputTypeDef | None":
    """The definition with ``columns`` merged into the table's; None where that changes nothing."""
    merged = tuple(merge_columns(table.columns, columns).columns)
    return None if merged == table.columns else with_columns(table.definition, merged)


def widen_lake_table(
    glue: "GlueClient", reference: TableReference, location: str, crawled: Sequence[Column]
) -> LakeTableUpdate:
    """Create the lake table for a crawled schema, or widen it to that schema.

    Raises:
        CatalogError: the table cannot be written.
    """
    columns = lake_columns(crawled)
    if find_table(glue, reference) is None:
        table = create_table(glue, reference, lake_definition(reference.name, location, columns))
        evolution = merge_columns((), columns)
        if table.columns == columns:
            return LakeTableUpdate(table, created=True, written=True, evolution=evolution)
    update = update_table(glue, reference, lambda table: widened(table, columns))
    return LakeTableUpdate(
        table=update.after,
        created=False,
        written=update.written,
        evolution=merge_columns(update.before.columns, columns),
    )


def register_partitions(
    glue: "GlueClient", table: CatalogTable, partitions: Sequence[LakePartition]
) -> int:
    """Create partitions of a table in the catalog; returns how many did not exist before.

    Raises:
        CatalogError: a partition cannot be created.
    """
    new = 0
    for start in range(0, len(partitions), MAX_PARTITIONS_PER_CALL):
        new += _create_partitions(glue, table, partitions[start : start + MAX_PARTITIONS_PER_CALL])
    return new


def _create_partitions(
    glue: "GlueClient", table: CatalogTable, partitions: Sequence[LakePartition]
) -> int:
    inputs: list[PartitionInputTypeDef] = [
        {
            "Values": list(partition.values),
            "StorageDescriptor": storage_descriptor(partition.location, table.columns),
        }
        for partition in partitions
    ]
    operation, permission = "BatchCreatePartition", "glue:BatchCreatePartition"
    try:
        response = glue.batch_create_partition(
            DatabaseName=table.reference.database,
            TableName=table.reference.name,
            PartitionInputList=inputs,
        )
    except ClientError as error:
        raise catalog_error(error, table.reference, permission) from error
    details = [error.get("ErrorDetail", {}) for error in response.get("Errors", [])]
    for detail in details:
        code, message = detail.get("ErrorCode", ""), detail.get("ErrorMessage", "")
        if code != "AlreadyExistsException":
            refusal = ClientError({"Error": {"Code": code, "Message": message}}, operation)
            raise catalog_error(refusal, table.reference, permission)
    return len(partitions) - len(details)
