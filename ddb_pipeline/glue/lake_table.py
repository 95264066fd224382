"""The catalog table over the Parquet: made once, and from then on only widened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    Definition,
    TableReference,
    create_table,
    find_table,
    translated,
    update_table,
    with_columns,
)
from ddb_pipeline.hive.evolve import Evolution, merge_columns
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

DELIVERY_COLUMNS = (
    Column("ddb_event_id", "string"),
    Column("ddb_event_name", "string"),
    Column("ddb_sequence_number", "string"),
    Column("ddb_event_time", "timestamp"),
    Column("ddb_keys", "string"),
    Column("ddb_expired", "boolean"),
)
"""What the streaming Lambda says of each change, beside the item's own attributes."""

PARTITION_KEYS = (Column("delivery_date", "string"), Column("delivery_hour", "string"))
"""The directories of the delivery stream's prefix, UTC."""

MAX_PARTITIONS_PER_CALL = 100

INPUT_FORMAT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
OUTPUT_FORMAT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
PARQUET_SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"


@dataclass(frozen=True, slots=True)
class LakeTableUpdate:
    """What became of the lake table when a crawled schema was merged into it."""

    table: CatalogTable
    created: bool
    written: bool
    evolution: Evolution


@dataclass(frozen=True, slots=True)
class LakePartition:
    """A partition: its values in the order of the partition keys, and its directory."""

    values: tuple[str, ...]
    location: str


def lake_columns(crawled: Sequence[Column]) -> tuple[Column, ...]:
    """The lake's columns for a crawled schema: delivery metadata, then the item's attributes."""
    return (*DELIVERY_COLUMNS, *normalize_columns(crawled)[0])


def lake_definition(name: str, location: str, columns: Sequence[Column]) -> dict[str, Any]:
    """A new lake table as Spark, Hive and Athena read one."""
    return parquet_definition(name, location, columns, PARTITION_KEYS)


def parquet_definition(
    name: str, location: str, columns: Sequence[Column], partition_keys: Sequence[Column] = ()
) -> dict[str, Any]:
    """A new table over Parquet."""
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE"},
        "PartitionKeys": [{"Name": key.name, "Type": key.type} for key in partition_keys],
        "StorageDescriptor": storage_descriptor(location, columns),
    }


def storage_descriptor(location: str, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "Columns": [{"Name": column.name, "Type": column.type} for column in columns],
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


def widened(table: CatalogTable, crawled: Sequence[Column]) -> Definition | None:
    """The lake table with what the crawled schema adds or widens; None where that is nothing."""
    evolution = merge_columns(table.columns, lake_columns(crawled))
    if tuple(evolution.columns) == table.columns:
        return None
    return with_columns(table.definition, evolution.columns)


def widen_lake_table(
    glue: "GlueClient", reference: TableReference, location: str, crawled: Sequence[Column]
) -> LakeTableUpdate:
    """Create the lake table, or widen it by a crawled schema under its VersionId.

    Raises:
        CatalogError: the table may not be written.
    """
    existing = find_table(glue, reference)
    if existing is None:
        columns = lake_columns(crawled)
        table = create_table(glue, reference, lake_definition(reference.name, location, columns))
        evolution = merge_columns((), columns)
        if table.columns == columns:
            return LakeTableUpdate(table, created=True, written=True, evolution=evolution)
    update = update_table(glue, reference, lambda table: widened(table, crawled))
    return LakeTableUpdate(
        table=update.after,
        created=False,
        written=update.written,
        evolution=merge_columns(update.before.columns, lake_columns(crawled)),
    )


def register_partitions(
    glue: "GlueClient", table: CatalogTable, partitions: Sequence[LakePartition]
) -> int:
    """Make partitions known to readers of a table; answers with how many were new.

    Raises:
        CatalogError: a partition could not be created for another reason than being there.
    """
    new = 0
    for start in range(0, len(partitions), MAX_PARTITIONS_PER_CALL):
        chunk = partitions[start : start + MAX_PARTITIONS_PER_CALL]
        try:
            answer = glue.batch_create_partition(
                DatabaseName=table.reference.database,
                TableName=table.reference.name,
                PartitionInputList=[
                    {
                        "Values": list(partition.values),
                        "StorageDescriptor": storage_descriptor(partition.location, table.columns),  # type: ignore[typeddict-item]
                    }
                    for partition in chunk
                ],
            )
        except ClientError as error:
            raise translated(error, table.reference, "glue:BatchCreatePartition") from error
        errors = answer.get("Errors", [])
        refused = [e for e in errors if _code(e) != "AlreadyExistsException"]
        if refused:
            raise translated(
                ClientError({"Error": refused[0].get("ErrorDetail", {})}, "BatchCreatePartition"),  # type: ignore[typeddict-item]
                table.reference,
                "glue:BatchCreatePartition",
            )
        new += len(chunk) - len(errors)
    return new


def _code(error: Any) -> str:
    return str((error.get("ErrorDetail") or {}).get("ErrorCode", ""))
