"""Crawlers of DynamoDB tables: run Glue's and wait, or crawl without one."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
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


class CrawlError(Exception):
    """A crawl could not be run or failed; the message names the crawler or table."""


class CrawlTimeoutError(CrawlError):
    """The crawler was still running when the time given to wait was over."""


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


@dataclass(frozen=True, slots=True)
class CrawlerRun:
    """One finished run of a Glue crawler."""

    crawler: str
    seconds: float
    status: str
    log_stream: str


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


def run_crawler(
    glue: "GlueClient",
    crawler: str,
    *,
    timeout_seconds: float = 3600.0,
    poll_seconds: float = 5.0,
    on_progress: Callable[[str, float], None] = lambda state, seconds: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CrawlerRun:
    """Start a Glue crawler and wait until it is READY again.

    A run that is already under way is joined, and another one started after it, since it may
    have read its items before the change that this call is for. ``on_progress`` gets the
    crawler's state and the seconds waited, once a poll.

    Raises:
        CrawlError: no such crawler, not permitted, or the run failed (with Glue's message).
        CrawlTimeoutError: still running after ``timeout_seconds``.
    """
    started = clock()
    deadline = started + timeout_seconds

    def wait() -> Mapping[str, Any]:
        while True:
            state: Mapping[str, Any] = glue.get_crawler(Name=crawler)["Crawler"]
            if state["State"] == "READY":
                return state
            on_progress(state["State"], clock() - started)
            if clock() >= deadline:
                raise CrawlTimeoutError(
                    f"Crawler {crawler!r} is still {state['State']} after "
                    f"{timeout_seconds:.0f} s. Give it more time or look at its log."
                )
            sleep(poll_seconds)

    try:
        while not _started(glue, crawler):
            wait()
        state = wait()
    except ClientError as error:
        raise _crawler_error(error, crawler) from error
    last: Mapping[str, Any] = state.get("LastCrawl") or {}
    status = str(last.get("Status") or "UNKNOWN")
    if status in ("FAILED", "CANCELLED"):
        raise CrawlError(
            f"Crawler {crawler!r} {status.lower()}: {last.get('ErrorMessage') or 'no message'}. "
            f"Its log: {last.get('LogGroup', '')} {last.get('LogStream', '')}"
        )
    return CrawlerRun(crawler, clock() - started, status, str(last.get("LogStream") or ""))


def _started(glue: "GlueClient", crawler: str) -> bool:
    try:
        glue.start_crawler(Name=crawler)
    except ClientError as error:
        if error_code(error) == "CrawlerRunningException":
            return False
        raise
    return True


def _crawler_error(error: ClientError, crawler: str) -> CrawlError:
    code = error_code(error)
    if code == "EntityNotFoundException":
        return CrawlError(
            f"Glue crawler {crawler!r} does not exist. Deploy the template, or name the crawler "
            "in the pipeline's configuration."
        )
    if code in DENIED_CODES:
        return CrawlError(
            f"Running Glue crawler {crawler!r} is denied. "
            "Grant glue:StartCrawler and glue:GetCrawler on it to this role."
        )
    return CrawlError(f"Glue crawler {crawler!r} could not be run: {error}")
