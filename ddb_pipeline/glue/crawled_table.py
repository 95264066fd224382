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
    TableReference,
    column_entries,
    columns_of,
    create_table,
    find_table,
    update_table,
    with_columns,
)
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.glue.repair import CRAWLED_CLASSIFICATION
from ddb_pipeline.hive.infer import (
    Inference,
    InferenceOptions,
    Shape,
    infer_items,
    inferred_schema,
    merge,
)
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef


@dataclass(frozen=True, slots=True)
class CrawlTarget:
    """A DynamoDB table to crawl, with the options of Glue's ``DynamoDBTarget``.

    Attributes:
        table: the DynamoDB table's name.
        scan_all: read every item, not only a sample.
        scan_rate: the share of the table's read capacity to use, 0.1 to 1.5; None for the default.
    """

    table: str
    scan_all: bool = True
    scan_rate: float | None = None


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """DescribeTable's ``Table``, and the types inferred from the items that a scan returned."""

    description: Mapping[str, Any]
    inference: Inference


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """The result of :func:`run_crawl`.

    Attributes:
        table: the catalog table.
        items: number of items read.
        created: whether the catalog table is new.
        changed: whether the crawl wrote to the catalog.
        columns: the columns of the catalog table.
    """

    table: TableReference
    items: int
    created: bool
    changed: bool
    columns: tuple[Column, ...]


def catalog_table_name(dynamodb_table: str, prefix: str = "") -> str:
    """The name that a crawler gives the catalog table: in lower case, other characters ``_``."""
    return prefix + re.sub(r"[^a-z0-9_]", "_", dynamodb_table.lower())


def crawled_definition(
    description: Mapping[str, Any], name: str, columns: Sequence[Column], items: int
) -> "TableInputTypeDef":
    """Define the catalog table of a DynamoDB table as Glue's crawler does."""
    size = int(description.get("TableSizeBytes") or 0)
    statistics = {
        "classification": CRAWLED_CLASSIFICATION,
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
            "Columns": column_entries(columns),
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
    names = (k["AttributeName"] for k in description["KeySchema"] if k["KeyType"] == kind)
    return next(names, "")


def recrawled(table: CatalogTable, found: "TableInputTypeDef") -> "TableInputTypeDef":
    """The definition of an existing catalog table after another crawl (UPDATE_IN_DATABASE).

    It has the columns, the location and the statistics of ``found``, and keeps all other members
    and parameters. It is the old one where the columns are the same.
    """
    old = table.definition.get("StorageDescriptor") or {}
    new = found["StorageDescriptor"]
    updated = with_columns(table.definition, columns_of(found))
    descriptor = updated["StorageDescriptor"]
    if descriptor["Columns"] == old.get("Columns"):
        return table.definition
    return {
        **updated,
        "Parameters": {**(updated.get("Parameters") or {}), **found["Parameters"]},
        "StorageDescriptor": {
            **descriptor,
            "Location": new["Location"],
            "Parameters": new["Parameters"],
        },
    }


def observe_table(dynamodb: "DynamoDBClient", target: CrawlTarget) -> ObservedTable:
    """Scan a table within its read capacity and infer the types of its items.

    Raises:
        CrawlError: the table does not exist or may not be read.
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
    """The key attributes of DescribeTable's ``Table``, the partition key first."""
    return tuple(filter(None, (_key(description, "HASH"), _key(description, "RANGE"))))


def run_crawl(
    dynamodb: "DynamoDBClient",
    glue: "GlueClient",
    target: CrawlTarget,
    *,
    database: str,
    table_prefix: str = "",
    shapes: Mapping[str, Shape] | None = None,
    decisions: TypeDecisions = NO_DECISIONS,
) -> CrawlResult:
    """Crawl a DynamoDB table without a Glue crawler and write the table that one would write.

    It writes an existing catalog table only if the columns differ.

    Args:
        shapes: the type of a map by its path, as in
            :class:`ddb_pipeline.hive.infer.InferenceOptions`.
        decisions: what is decided about values of several types.

    Raises:
        CrawlError: the DynamoDB table does not exist or may not be read.
        CatalogError: the catalog table cannot be written.
    """
    observed = observe_table(dynamodb, target)
    description, inference = observed.description, observed.inference
    options = InferenceOptions(key_attributes(description), shapes or {}, decisions)
    columns = inferred_schema(inference, options).columns
    reference = TableReference(database, catalog_table_name(target.table, table_prefix))
    found = crawled_definition(description, reference.name, columns, inference.items)
    created = find_table(glue, reference) is None
    if created:
        create_table(glue, reference, found)
        changed = True
    else:
        changed = update_table(glue, reference, lambda table: recrawled(table, found)).written
    return CrawlResult(
        table=reference,
        items=inference.items,
        created=created,
        changed=changed,
        columns=columns,
    )


def dynamodb_error(error: ClientError, table: str) -> CrawlError:
    """Return an error that names the table, and what to do about DynamoDB's error."""
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
