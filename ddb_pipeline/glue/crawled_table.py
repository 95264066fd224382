"""Crawls of DynamoDB tables without a Glue crawler, and the catalog table that a crawl writes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code
from ddb_pipeline.dynamodb.scan import plan_scan, scan_pages
from ddb_pipeline.glue.catalog import (
    CatalogTable,
    Definition,
    TableReference,
    create_table,
    find_table,
    update_table,
    with_columns,
)
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.hive.infer import (
    Inference,
    InferenceOptions,
    Shape,
    crawled_columns,
    infer_items,
    merge,
)
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_glue.client import GlueClient


@dataclass(frozen=True, slots=True)
class CrawlTarget:
    """A DynamoDB table to crawl, in the words of Glue's ``DynamoDBTarget``.

    Attributes:
        table: the DynamoDB table's name.
        scan_all: read every item; otherwise a sample.
        scan_rate: share of the table's read capacity to use, 0.1 to 1.5; None for the default.
    """

    table: str
    scan_all: bool = True
    scan_rate: float | None = None


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """A table's items as a scan saw them, beside DescribeTable's ``Table``."""

    description: Mapping[str, Any]
    inference: Inference


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What a crawl by :func:`run_crawl` found and wrote."""

    table: TableReference
    items: int
    created: bool
    changed: bool
    columns: tuple[Column, ...]
    inference: Inference


def catalog_table_name(dynamodb_table: str, prefix: str = "") -> str:
    """The name a crawler gives the catalog table: lower case, other characters as ``_``."""
    return prefix + re.sub(r"[^a-z0-9_]", "_", dynamodb_table.lower())


def crawled_definition(
    description: Mapping[str, Any], name: str, columns: Sequence[Column], items: int
) -> dict[str, Any]:
    """The catalog table as Glue's crawler defines one over a DynamoDB table."""
    size = int(description.get("TableSizeBytes") or 0)
    statistics = {
        "classification": "dynamodb",
        "typeOfData": "table",
        "hashKey": _key(description, "HASH"),
        "rangeKey": _key(description, "RANGE"),
        "recordCount": str(items),
        "sizeKey": str(size),
        "averageRecordSize": str(size // items if items else 0),
    }
    parameters = {key: value for key, value in statistics.items() if value}
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Retention": 0,
        "PartitionKeys": [],
        "Parameters": parameters,
        "StorageDescriptor": {
            "Columns": [{"Name": column.name, "Type": column.type} for column in columns],
            "Location": description["TableArn"],
            "Compressed": False,
            "NumberOfBuckets": -1,
            "SerdeInfo": {"Parameters": {}},
            "BucketColumns": [],
            "SortColumns": [],
            "Parameters": parameters,
            "StoredAsSubDirectories": False,
        },
    }


def _key(description: Mapping[str, Any], kind: str) -> str:
    names = [k["AttributeName"] for k in description["KeySchema"] if k["KeyType"] == kind]
    return names[0] if names else ""


def recrawled(table: CatalogTable, found: Mapping[str, Any]) -> Definition:
    """The table after another crawl under UPDATE_IN_DATABASE.

    Columns and statistics become what was found; parameters that others set stay.
    """
    descriptor = found["StorageDescriptor"]
    columns = [Column(entry["Name"], entry["Type"]) for entry in descriptor["Columns"]]
    definition = dict(table.definition)
    definition["Parameters"] = {**(definition.get("Parameters") or {}), **found["Parameters"]}
    definition["StorageDescriptor"] = {
        **(definition.get("StorageDescriptor") or {}),
        "Location": descriptor["Location"],
        "Parameters": descriptor["Parameters"],
    }
    updated = with_columns(definition, columns)
    unchanged = updated["StorageDescriptor"]["Columns"] == table.definition.get(
        "StorageDescriptor", {}
    ).get("Columns")
    return table.definition if unchanged else updated


def observe_table(dynamodb: "DynamoDBClient", target: CrawlTarget) -> ObservedTable:
    """Scan the table within its read budget; what its items tell of their types.

    Raises:
        CrawlError: the table is missing or may not be read.
    """
    try:
        description = dynamodb.describe_table(TableName=target.table)["Table"]
        plan = plan_scan(description, scan_all=target.scan_all, scan_rate=target.scan_rate)
        keys = key_attributes(description)
        inference = Inference.empty()
        for page in scan_pages(dynamodb, target.table, plan):
            inference = merge(inference, infer_items(page, keys))
    except ClientError as error:
        raise dynamodb_error(error, target.table) from error
    return ObservedTable(description, inference)


def key_attributes(description: Mapping[str, Any]) -> tuple[str, ...]:
    """The table's key attributes, partition key first, from DescribeTable's ``Table``."""
    return tuple(filter(None, (_key(description, "HASH"), _key(description, "RANGE"))))


def run_crawl(
    dynamodb: "DynamoDBClient",
    glue: "GlueClient",
    target: CrawlTarget,
    database: str,
    table_prefix: str = "",
    shapes: Mapping[str, Shape] | None = None,
) -> CrawlResult:
    """Crawl a DynamoDB table without a Glue crawler and write what it would.

    The table is written only where its columns changed, under its VersionId. ``shapes`` says by
    path what is to be made of a map, as in :class:`ddb_pipeline.hive.infer.InferenceOptions`.

    Raises:
        CrawlError: the DynamoDB table is missing or may not be read.
        CatalogError: the catalog table may not be written.
    """
    observed = observe_table(dynamodb, target)
    description, inference, items = (
        observed.description,
        observed.inference,
        observed.inference.items,
    )
    options = InferenceOptions(keys=key_attributes(description), shapes=shapes or {})
    columns = crawled_columns(inference, options)
    reference = TableReference(database, catalog_table_name(target.table, table_prefix))
    found = crawled_definition(description, reference.name, columns, items)
    existing = find_table(glue, reference)
    if existing is None:
        create_table(glue, reference, found)
        return CrawlResult(reference, items, True, True, columns, inference)
    update = update_table(glue, reference, lambda table: recrawled(table, found))
    return CrawlResult(reference, items, False, update.written, columns, inference)


def dynamodb_error(error: ClientError, table: str) -> CrawlError:
    """What went wrong with reading a table, for a person: the name, the missing permission."""
    code = error_code(error)
    if code == "ResourceNotFoundException":
        return CrawlError(
            f"DynamoDB table {table!r} does not exist in this account and region. "
            "Correct the table's name or the region."
        )
    if code in DENIED_CODES:
        return CrawlError(
            f"Reading DynamoDB table {table!r} is denied. "
            "Grant dynamodb:DescribeTable and dynamodb:Scan on it to this role."
        )
    return CrawlError(f"DynamoDB table {table!r} could not be scanned: {error}")
