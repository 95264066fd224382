"""Many partitions of a catalog table at once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.glue.catalog import TableReference, catalog_error
from ddb_pipeline.glue.partitions import CatalogPartition, find_partition
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

MAX_PARTITIONS_PER_READ = 1000
"""The limit of BatchGetPartition (AWS Glue API reference)."""


def all_partitions(glue: "GlueClient", reference: TableReference) -> Iterator[CatalogPartition]:
    """Read the partitions of a table, a page at a time.

    Raises:
        CatalogError: they cannot be read.
    """
    pages = glue.get_paginator("get_partitions").paginate(
        DatabaseName=reference.database, TableName=reference.name
    )
    try:
        for page in pages:
            yield from map(_partition, page["Partitions"])
    except ClientError as error:
        raise catalog_error(error, reference, "glue:GetPartitions") from error


def partitions_with(
    glue: "GlueClient", reference: TableReference, values: Sequence[Sequence[str]]
) -> dict[tuple[str, ...], CatalogPartition]:
    """Read the partitions with these values, by their values; those that do not exist are missing.

    Raises:
        CatalogError: they cannot be read.
    """
    found: list[CatalogPartition] = []
    for start in range(0, len(values), MAX_PARTITIONS_PER_READ):
        wanted = values[start : start + MAX_PARTITIONS_PER_READ]
        try:
            response = glue.batch_get_partition(
                DatabaseName=reference.database,
                TableName=reference.name,
                PartitionsToGet=[{"Values": list(each)} for each in wanted],
            )
        except ClientError as error:
            raise catalog_error(error, reference, "glue:BatchGetPartition") from error
        found += map(_partition, response.get("Partitions", ()))
        # Keys are returned unprocessed for any reason: each of these is asked for by itself.
        for entry in response.get("UnprocessedKeys", ()):
            partition = find_partition(glue, reference, entry["Values"])
            found += [partition] if partition else []
    return {partition.values: partition for partition in found}


def _partition(entry: Mapping[str, Any]) -> CatalogPartition:
    descriptor = entry.get("StorageDescriptor", {})
    columns = tuple(Column(c["Name"], c.get("Type", "")) for c in descriptor.get("Columns", ()))
    return CatalogPartition(tuple(entry["Values"]), descriptor.get("Location", ""), columns)
