"""Glue: events of the catalog's changes, table versions, partition expressions, real crawls."""

import contextvars
import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.partition_expression import (
    ExpressionError,
    matches,
    parse_expression,
)
from ddb_pipeline.glue.catalog import TABLE_INPUT_MEMBERS, CatalogError
from ddb_pipeline.glue.crawled_table import CrawlTarget, run_crawl
from ddb_pipeline.glue.crawler import CrawlError
from ddb_pipeline.glue.repair import DATABASE_CHANGE, TABLE_CHANGE

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[dict[str, Any]], Response]

CRAWLER_CHANGE = "Glue Crawler State Change"
VERSIONS_KEPT = 100
PAGE_SIZE = 100

_writing = threading.RLock()
"""Reading a version and writing the next is one step, as it is in Glue."""


def install(endpoint: str) -> None:
    """Put Glue's missing behaviour into ministack's Glue service."""
    from ministack.core.responses import AccountRegionScopedDict
    from ministack.services import glue

    versions = AccountRegionScopedDict()
    glue._ALL_STATE["table_versions"] = versions
    _install_table_changes(glue, versions)
    _install_partition_changes(glue)
    _install_actions(glue, versions)
    _install_crawls(glue, endpoint)


def emit(detail_type: str, resource: str, detail: Mapping[str, Any]) -> None:
    """Publish one of Glue's own events to the rules that match it."""
    from ministack.services import eventbridge, glue

    eventbridge._put_events(
        {
            "Entries": [
                {
                    "Source": "aws.glue",
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail),
                    "Resources": [glue._arn(*resource.split("/", 1))],
                }
            ]
        },
        allow_aws_source=True,
    )


def _table_changed(database: str, table: str, change: str, partitions: list[str]) -> None:
    emit(
        TABLE_CHANGE,
        f"table/{database}/{table}",
        {
            "databaseName": database,
            "changedPartitions": partitions[:100],
            "typeOfChange": change,
            "tableName": table,
        },
    )


def _tables_changed(database: str, tables: list[str], change: str) -> None:
    emit(
        DATABASE_CHANGE,
        f"table/{database}/{tables[0]}",
        {"databaseName": database, "typeOfChange": change, "changedTables": tables[:100]},
    )


def _refused(code: str, message: str) -> Response:
    from ministack.core.responses import error_response_json

    response: Response = error_response_json(code, message, 400)
    return response


def _unknown_members(table_input: Mapping[str, Any]) -> Response | None:
    unknown = sorted(set(table_input) - {*TABLE_INPUT_MEMBERS, "ViewDefinition"})
    if not unknown:
        return None
    return _refused("InvalidInputException", f"Unknown parameter in TableInput: {unknown[0]!r}")


def _install_table_changes(glue: Any, versions: Any) -> None:
    created, updated = glue._create_table, glue._update_table
    deleted, batch_deleted = glue._delete_table, glue._batch_delete_table

    def remember(key: str, database: str, name: str) -> None:
        table = glue._tables[key]
        versions.setdefault(key, [])
        versions[key].append(copy.deepcopy(table))
        del versions[key][:-VERSIONS_KEPT]

    def create_table(data: dict[str, Any]) -> Response:
        table_input = data.get("TableInput", {})
        refused = _unknown_members(table_input)
        if refused:
            return refused
        database, name = str(data.get("DatabaseName")), str(table_input.get("Name")).lower()
        with _writing:
            response: Response = created({**data, "TableInput": {**table_input, "Name": name}})
            if response[0] >= 400:
                return response
            glue._tables[f"{database}/{name}"]["VersionId"] = "0"
            glue._tables[f"{database}/{name}"]["Retention"] = table_input.get("Retention", 0)
            versions[f"{database}/{name}"] = []
            remember(f"{database}/{name}", database, name)
        _tables_changed(database, [name], "CreateTable")
        return response

    def update_table(data: dict[str, Any]) -> Response:
        table_input = data.get("TableInput", {})
        refused = _unknown_members(table_input)
        if refused:
            return refused
        database, name = str(data.get("DatabaseName")), str(table_input.get("Name")).lower()
        key = f"{database}/{name}"
        with _writing:
            current = glue._tables.get(key, {}).get("VersionId")
            wanted = data.get("VersionId")
            if current is not None and wanted is not None and str(wanted) != current:
                return _refused(
                    "ConcurrentModificationException",
                    "Update table failed due to concurrent modifications.",
                )
            response: Response = updated({**data, "TableInput": {**table_input, "Name": name}})
            if response[0] >= 400:
                return response
            if data.get("SkipArchive") and versions.get(key):
                versions[key].pop()
            remember(key, database, name)
        _table_changed(database, name, "UpdateTable", [])
        return response

    def delete_table(data: dict[str, Any]) -> Response:
        database, name = str(data.get("DatabaseName")), str(data.get("Name"))
        with _writing:
            response: Response = deleted(data)
            versions.pop(f"{database}/{name}", None)
        if response[0] < 400:
            _tables_changed(database, [name], "DeleteTable")
        return response

    def batch_delete_table(data: dict[str, Any]) -> Response:
        database = str(data.get("DatabaseName"))
        with _writing:
            there = [n for n in data.get("TablesToDelete", []) if f"{database}/{n}" in glue._tables]
            response: Response = batch_deleted(data)
            for name in there:
                versions.pop(f"{database}/{name}", None)
        if response[0] < 400 and there:
            _tables_changed(database, there, "BatchDeleteTable")
        return response

    glue._create_table = create_table
    glue._update_table = update_table
    glue._delete_table = delete_table
    glue._batch_delete_table = batch_delete_table


def _install_partition_changes(glue: Any) -> None:
    def announcing(handler: Handler, change: str, values: Callable[[Any], list[Any]]) -> Handler:
        def announced(data: dict[str, Any]) -> Response:
            response = handler(data)
            if response[0] < 400:
                changed = [f"[{', '.join(v)}]" for v in values(data)]
                _table_changed(data["DatabaseName"], data["TableName"], change, changed)
            return response

        return announced

    for name, change, values in (
        ("_create_partition", "CreatePartition", lambda d: [d["PartitionInput"]["Values"]]),
        (
            "_batch_create_partition",
            "BatchCreatePartition",
            lambda d: [p["Values"] for p in d["PartitionInputList"]],
        ),
        ("_delete_partition", "DeletePartition", lambda d: [d["PartitionValues"]]),
        (
            "_batch_update_partition",
            "BatchUpdatePartition",
            lambda d: [e["PartitionValueList"] for e in d["Entries"]],
        ),
    ):
        setattr(glue, name, announcing(getattr(glue, name), change, values))


def _install_actions(glue: Any, versions: Any) -> None:
    """Actions that ministack lacks, or answers without looking at all of the request."""
    from ministack.core.responses import json_response

    def table_versions(data: dict[str, Any]) -> Response:
        key = f"{data.get('DatabaseName')}/{data.get('TableName')}"
        if key not in glue._tables:
            return _refused("EntityNotFoundException", f"Table {data.get('TableName')} not found.")
        kept = list(reversed(versions.get(key) or [glue._tables[key]]))
        listed = [{"Table": table, "VersionId": table["VersionId"]} for table in kept]
        return _page(data, "TableVersions", listed)

    def table_version(data: dict[str, Any]) -> Response:
        key = f"{data.get('DatabaseName')}/{data.get('TableName')}"
        wanted = data.get("VersionId")
        for table in versions.get(key) or []:
            if wanted is None or table["VersionId"] == str(wanted):
                found = {"Table": table, "VersionId": table["VersionId"]}
                return json_response({"TableVersion": found})  # type: ignore[no-any-return]
        return _refused("EntityNotFoundException", f"Version {wanted} of {key} not found.")

    def tables(data: dict[str, Any]) -> Response:
        status, _, body = glue._get_tables(data)
        if status >= 400:
            return _refused("InvalidInputException", body.decode())
        if data.get("DatabaseName") not in glue._databases:
            return _refused(
                "EntityNotFoundException", f"Database {data.get('DatabaseName')} not found."
            )
        return _page(data, "TableList", json.loads(body)["TableList"])

    def partitions(data: dict[str, Any]) -> Response:
        key = f"{data.get('DatabaseName')}/{data.get('TableName')}"
        found = list(glue._partitions.get(key, []))
        expression = data.get("Expression")
        if expression:
            keys = [k["Name"] for k in glue._tables.get(key, {}).get("PartitionKeys", [])]
            try:
                tree = parse_expression(expression, keys)
            except ExpressionError as error:
                return _refused("InvalidInputException", str(error))
            found = [p for p in found if matches(tree, dict(zip(keys, p["Values"], strict=False)))]
        return _page(data, "Partitions", found)

    actions: dict[str, Handler] = {
        "GetTableVersions": table_versions,
        "GetTableVersion": table_version,
        "GetTables": tables,
        "GetPartitions": partitions,
    }
    answered = glue._handle_request_sync

    def handle(method: Any, path: str, headers: Any, body: bytes, query: Any) -> Response:
        action = headers.get("x-amz-target", "").partition(".")[2]
        if action in actions:
            return actions[action](json.loads(body or b"{}"))
        response: Response = answered(method, path, headers, body, query)
        return response

    glue._handle_request_sync = handle


def _page(data: Mapping[str, Any], member: str, found: list[Any]) -> Response:
    from ministack.core.responses import json_response

    start = int(data.get("NextToken") or 0)
    size = min(int(data.get("MaxResults") or PAGE_SIZE), PAGE_SIZE)
    answer: dict[str, Any] = {member: found[start : start + size]}
    if start + size < len(found):
        answer["NextToken"] = str(start + size)
    response: Response = json_response(answer)
    return response


def _install_crawls(glue: Any, endpoint: str) -> None:
    started = glue._start_crawler

    def start_crawler(data: dict[str, Any]) -> Response:
        from ministack.core.responses import json_response

        crawler = glue._crawlers.get(data.get("Name"))
        targets = (crawler or {}).get("Targets", {}).get("DynamoDBTargets")
        if crawler is None or not targets:
            response: Response = started(data)
            return response
        with _writing:
            if crawler["State"] != "READY":
                return _refused(
                    "CrawlerRunningException",
                    f"Crawler with name {crawler['Name']} has already started",
                )
            crawler["State"] = "RUNNING"
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=lambda: context.run(_crawl, crawler, targets, endpoint), daemon=True
        )
        _announce(crawler, "Started")
        thread.start()
        answer: Response = json_response({})
        return answer

    glue._start_crawler = start_crawler


def _crawl(crawler: dict[str, Any], targets: list[dict[str, Any]], endpoint: str) -> None:
    """Crawl each target with the project's own crawl, through the server's front door."""
    began = time.time()
    outcome: dict[str, Any] = {"Status": "FAILED", "ErrorMessage": "Internal service exception"}
    try:
        for target in targets:
            _crawl_target(crawler, target, endpoint)
        outcome = {"Status": "SUCCEEDED"}
    except (CrawlError, CatalogError) as error:
        outcome["ErrorMessage"] = str(error)
    finally:
        crawler["LastCrawl"] = {
            **outcome,
            "LogGroup": "/aws-glue/crawlers",
            "LogStream": crawler["Name"],
            "MessagePrefix": str(uuid.uuid4()),
            "StartTime": began,
        }
        crawler["CrawlElapsedTime"] = int((time.time() - began) * 1000)
        crawler["State"] = "READY"
        _announce(crawler, "Succeeded" if outcome["Status"] == "SUCCEEDED" else "Failed")


def _crawl_target(crawler: Mapping[str, Any], target: Mapping[str, Any], endpoint: str) -> None:
    run_crawl(
        shared_client(Endpoint(endpoint), "dynamodb"),
        shared_client(Endpoint(endpoint), "glue"),
        CrawlTarget(
            target["Path"],
            scan_all=_flag(target.get("ScanAll", target.get("scanAll", True))),
            scan_rate=_rate(target.get("ScanRate", target.get("scanRate"))),
        ),
        database=crawler["DatabaseName"],
        table_prefix=crawler.get("TablePrefix") or "",
    )


def _announce(crawler: Mapping[str, Any], state: str) -> None:
    emit(
        CRAWLER_CHANGE,
        f"crawler/{crawler['Name']}",
        {"crawlerName": crawler["Name"], "state": state},
    )


def _flag(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _rate(value: Any) -> float | None:
    return None if value is None else float(value)
