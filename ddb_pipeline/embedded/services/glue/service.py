"""Glue: table versions, events of changes, partition expressions and pages, crawls of DynamoDB."""

import copy
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.glue.partition_expression import (
    ExpressionError,
    parse_expression,
)
from ddb_pipeline.embedded.services.ministack import (
    Document,
    GlueModule,
    Operation,
    ServiceError,
    current_region,
    run_in_background,
)
from ddb_pipeline.glue.catalog import TABLE_INPUT_MEMBERS, CatalogError
from ddb_pipeline.glue.crawled_table import CrawlTarget, run_crawl
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.glue.repair import DATABASE_CHANGE, TABLE_CHANGE

CRAWLER_CHANGE = "Glue Crawler State Change"
LATEST = "LATEST"
MAX_VERSIONS = 100
MAX_PAGE_ITEMS = 100
MAX_EVENT_ITEMS = 100


class Glue:
    """The operations of Glue that ministack lacks or has without Glue's effects."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ministack = GlueModule()
        self._replaced: Mapping[str, Operation] = {}
        # Reading a table's version and writing the next one is one step, as it is in Glue.
        self._writing = threading.RLock()

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {
            "CreateTable": self.create_table,
            "UpdateTable": self.update_table,
            "DeleteTable": self.delete_table,
            "BatchDeleteTable": self.batch_delete_table,
            "GetTables": self.get_tables,
            "GetTableVersion": self.get_table_version,
            "GetTableVersions": self.get_table_versions,
            "CreatePartition": self.create_partition,
            "BatchCreatePartition": self.batch_create_partition,
            "BatchUpdatePartition": self.batch_update_partition,
            "DeletePartition": self.delete_partition,
            "GetPartitions": self.get_partitions,
            "StartCrawler": self.start_crawler,
        }

    def install(self) -> None:
        """Answer these operations' requests."""
        self._replaced = self._ministack.replace_operations(self.operations)

    def resume(self) -> None:
        """End the crawls that an earlier process had not ended."""
        for crawler in self._ministack.crawlers.all_values():
            if crawler.get("State") != "READY":
                crawler["State"] = "READY"
                crawler["LastCrawl"] = {
                    "Status": "FAILED",
                    "ErrorMessage": "Internal service exception",
                    "StartTime": time.time(),
                }

    def find_table(self, database: str, name: str, version_id: str = LATEST) -> Document | None:
        """Return a version of a catalog table; None where there is no such table or version."""
        key = f"{database}/{name}"
        if version_id == LATEST:
            latest: Document | None = self._ministack.tables.get(key)
            return latest
        return next((v for v in self._versions(key) if v["VersionId"] == version_id), None)

    def create_table(self, request: Document) -> Document:
        """CreateTable: version 0, and the event of a changed database."""
        request, database, name = _table_request(request)
        key = f"{database}/{name}"
        with self._writing:
            response = self._replaced["CreateTable"](request)
            table = self._ministack.tables[key]
            table["VersionId"] = "0"
            table["Retention"] = request["TableInput"].get("Retention", 0)
            self._ministack.table_versions[key] = [copy.deepcopy(table)]
        self._put_database_event(database, [name], "CreateTable")
        return response

    def update_table(self, request: Document) -> Document:
        """UpdateTable: refused for another version than the current one, else the next version."""
        request, database, name = _table_request(request)
        key = f"{database}/{name}"
        requested = request.get("VersionId")
        with self._writing:
            current = self._ministack.tables.get(key, {}).get("VersionId")
            if None not in (current, requested) and str(requested) != current:
                raise ServiceError(
                    "ConcurrentModificationException",
                    "Update table failed due to concurrent modifications.",
                )
            response = self._replaced["UpdateTable"](request)
            versions = self._ministack.table_versions.setdefault(key, [])
            if request.get("SkipArchive"):
                del versions[-1:]
            versions.append(copy.deepcopy(self._ministack.tables[key]))
            del versions[:-MAX_VERSIONS]
        self._put_table_event(database, name, "UpdateTable", [])
        return response

    def delete_table(self, request: Document) -> Document:
        """DeleteTable: with the table's versions, and the event of a changed database."""
        database, name = str(request.get("DatabaseName")), str(request.get("Name"))
        with self._writing:
            response = self._replaced["DeleteTable"](request)
            self._ministack.table_versions.pop(f"{database}/{name}", None)
        self._put_database_event(database, [name], "DeleteTable")
        return response

    def batch_delete_table(self, request: Document) -> Document:
        """BatchDeleteTable: one event for the tables that existed."""
        database = str(request.get("DatabaseName"))
        with self._writing:
            names = [
                name
                for name in request.get("TablesToDelete", [])
                if f"{database}/{name}" in self._ministack.tables
            ]
            response = self._replaced["BatchDeleteTable"](request)
            for name in names:
                self._ministack.table_versions.pop(f"{database}/{name}", None)
        if names:
            self._put_database_event(database, names, "BatchDeleteTable")
        return response

    def get_tables(self, request: Document) -> Document:
        """GetTables: in pages."""
        database = request.get("DatabaseName")
        if database not in self._ministack.databases:
            raise ServiceError("EntityNotFoundException", f"Database {database} not found.")
        return _page(request, "TableList", self._replaced["GetTables"](request)["TableList"])

    def get_table_version(self, request: Document) -> Document:
        """GetTableVersion: the version with this number, or the oldest one where none is given."""
        key = f"{request.get('DatabaseName')}/{request.get('TableName')}"
        requested = request.get("VersionId")
        for table in self._versions(key):
            if requested is None or table["VersionId"] == str(requested):
                return {"TableVersion": {"Table": table, "VersionId": table["VersionId"]}}
        raise ServiceError("EntityNotFoundException", f"Version {requested} of {key} not found.")

    def get_table_versions(self, request: Document) -> Document:
        """GetTableVersions: the newest first, in pages."""
        key = f"{request.get('DatabaseName')}/{request.get('TableName')}"
        table = self._ministack.tables.get(key)
        if table is None:
            raise ServiceError(
                "EntityNotFoundException", f"Table {request.get('TableName')} not found."
            )
        newest_first = reversed(self._versions(key) or [table])
        listed = [{"Table": version, "VersionId": version["VersionId"]} for version in newest_first]
        return _page(request, "TableVersions", listed)

    def create_partition(self, request: Document) -> Document:
        """CreatePartition: with the event of a changed table."""
        values = [request.get("PartitionInput", {}).get("Values", [])]
        return self._change_partitions("CreatePartition", request, values)

    def batch_create_partition(self, request: Document) -> Document:
        """BatchCreatePartition: with the event of a changed table."""
        values = [entry["Values"] for entry in request.get("PartitionInputList", [])]
        return self._change_partitions("BatchCreatePartition", request, values)

    def batch_update_partition(self, request: Document) -> Document:
        """BatchUpdatePartition: with the event of a changed table."""
        values = [entry["PartitionValueList"] for entry in request.get("Entries", [])]
        return self._change_partitions("BatchUpdatePartition", request, values)

    def delete_partition(self, request: Document) -> Document:
        """DeletePartition: with the event of a changed table."""
        values = [request.get("PartitionValues", [])]
        return self._change_partitions("DeletePartition", request, values)

    def get_partitions(self, request: Document) -> Document:
        """GetPartitions: those that match the expression, in pages."""
        key = f"{request.get('DatabaseName')}/{request.get('TableName')}"
        partitions = list(self._ministack.partitions.get(key, []))
        expression = request.get("Expression")
        if expression:
            table = self._ministack.tables.get(key, {})
            names = [column["Name"] for column in table.get("PartitionKeys", [])]
            try:
                matches = parse_expression(expression, names)
            except ExpressionError as error:
                raise ServiceError("InvalidInputException", str(error)) from error
            partitions = [
                partition
                for partition in partitions
                if matches(dict(zip(names, partition["Values"], strict=False)))
            ]
        return _page(request, "Partitions", partitions)

    def start_crawler(self, request: Document) -> Document:
        """StartCrawler: crawls DynamoDB in the background; other targets are ministack's."""
        crawler = self._ministack.crawlers.get(request.get("Name"))
        if crawler is None or not crawler.get("Targets", {}).get("DynamoDBTargets"):
            return self._replaced["StartCrawler"](request)
        with self._writing:
            if crawler["State"] != "READY":
                raise ServiceError(
                    "CrawlerRunningException",
                    f"Crawler with name {crawler['Name']} has already started",
                )
            crawler["State"] = "RUNNING"
        self._put_crawler_event(crawler, "Started")
        run_in_background(self._crawl, crawler)
        return {}

    def _versions(self, key: str) -> list[Document]:
        versions: list[Document] = self._ministack.table_versions.get(key) or []
        return versions

    def _change_partitions(
        self, operation: str, request: Document, values: Sequence[Sequence[str]]
    ) -> Document:
        response = self._replaced[operation](request)
        changed = [f"[{', '.join(v)}]" for v in values]
        self._put_table_event(request["DatabaseName"], request["TableName"], operation, changed)
        return response

    def _crawl(self, crawler: Document) -> None:
        """Crawl each DynamoDB table as the project's own crawls do, as a client of this server."""
        started = time.time()
        endpoint = replace(self._endpoint, region=current_region())
        outcome = {"Status": "FAILED", "ErrorMessage": "Internal service exception"}
        try:
            for target in crawler["Targets"]["DynamoDBTargets"]:
                run_crawl(
                    shared_client(endpoint, "dynamodb"),
                    shared_client(endpoint, "glue"),
                    _crawl_target(target),
                    database=crawler["DatabaseName"],
                    table_prefix=crawler.get("TablePrefix") or "",
                )
            outcome = {"Status": "SUCCEEDED"}
        except (CrawlError, CatalogError) as error:
            outcome["ErrorMessage"] = str(error)
        finally:
            crawler["LastCrawl"] = {
                **outcome,
                "LogGroup": "/aws-glue/crawlers",
                "LogStream": crawler["Name"],
                "MessagePrefix": str(uuid.uuid4()),
                "StartTime": started,
            }
            crawler["CrawlElapsedTime"] = int((time.time() - started) * 1000)
            crawler["State"] = "READY"
            self._put_crawler_event(crawler, outcome["Status"].capitalize())

    def _put_table_event(
        self, database: str, table: str, change: str, partitions: Sequence[str]
    ) -> None:
        detail = {
            "databaseName": database,
            "changedPartitions": partitions[:MAX_EVENT_ITEMS],
            "typeOfChange": change,
            "tableName": table,
        }
        self._ministack.put_event(TABLE_CHANGE, f"table/{database}/{table}", detail)

    def _put_database_event(self, database: str, tables: Sequence[str], change: str) -> None:
        detail = {
            "databaseName": database,
            "typeOfChange": change,
            "changedTables": tables[:MAX_EVENT_ITEMS],
        }
        self._ministack.put_event(DATABASE_CHANGE, f"table/{database}/{tables[0]}", detail)

    def _put_crawler_event(self, crawler: Document, state: str) -> None:
        detail = {"crawlerName": crawler["Name"], "state": state}
        self._ministack.put_event(CRAWLER_CHANGE, f"crawler/{crawler['Name']}", detail)


def _table_request(request: Document) -> tuple[Document, str, str]:
    """Return the request with the table's name in lower case, as Glue stores it; database and name.

    Raises:
        ServiceError: TableInput has a member that Glue does not know.
    """
    table_input = request.get("TableInput", {})
    unknown = sorted(set(table_input) - {*TABLE_INPUT_MEMBERS, "ViewDefinition"})
    if unknown:
        raise ServiceError(
            "InvalidInputException", f"Unknown parameter in TableInput: {unknown[0]!r}"
        )
    name = str(table_input.get("Name")).lower()
    request = {**request, "TableInput": {**table_input, "Name": name}}
    return request, str(request.get("DatabaseName")), name


def _page(request: Mapping[str, Any], member: str, entries: Sequence[Any]) -> Document:
    start = int(request.get("NextToken") or 0)
    end = start + min(int(request.get("MaxResults") or MAX_PAGE_ITEMS), MAX_PAGE_ITEMS)
    page: Document = {member: entries[start:end]}
    if end < len(entries):
        page["NextToken"] = str(end)
    return page


def _crawl_target(target: Mapping[str, Any]) -> CrawlTarget:
    """Read a crawler's DynamoDBTarget; CloudFormation writes flags and numbers as text."""
    scan_all = target.get("ScanAll", target.get("scanAll", True))
    scan_rate = target.get("ScanRate", target.get("scanRate"))
    return CrawlTarget(
        target["Path"],
        scan_all=str(scan_all).lower() == "true",
        scan_rate=None if scan_rate is None else float(scan_rate),
    )
