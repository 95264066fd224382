"""Exports of the embedded DynamoDB to S3: full ones at a point in time, and incremental ones.

They are made from the table and its history. A table that was empty when its point-in-time recovery
was turned on can be exported from any time of the last 35 days, since it had no items before;
DynamoDB itself would begin when the recovery was turned on.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline.embedded.services.ministack import (
    Document,
    Operation,
    ServiceError,
    request_scope,
    run_in_background,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule
from ddb_pipeline.export.layout import (
    NEW_AND_OLD_IMAGES,
    VIEWS,
    Export,
    export_folder,
    new_export_id,
    write_export,
    write_incremental_export,
)
from ddb_pipeline.export.window import (
    RECOVERY_DAYS,
    RecoveryPeriod,
    Window,
    WindowRefusedError,
    check_window,
)

INCREMENTAL: Final = "INCREMENTAL_EXPORT"
SPECIFICATION: Final = "IncrementalExportSpecification"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


class TableExports:
    """The operations of exports, for which ministack writes no files."""

    def __init__(
        self, endpoint: Endpoint, ministack: DynamoDBModule, history: ChangeHistory
    ) -> None:
        self._endpoint = endpoint
        self._ministack = ministack
        self._history = history
        self.replaced: Mapping[str, Operation] = {}
        """ministack's own operations."""

    def start(self, request: Document) -> Document:
        """ExportTableToPointInTime: written in the background."""
        table = self._ministack.table_name(request.get("TableArn") or "")
        if table in self._ministack.tables:
            self._check(table, request)
        known = set(self._ministack.exports)
        response = self.replaced["ExportTableToPointInTime"](request)
        arn = response["ExportDescription"]["ExportArn"]
        # The stored description is changed when the export ends.
        description: Document = self._ministack.exports[arn]
        if arn not in known:  # else a request with the same ClientToken started it
            description["ExportArn"] = with_padded_time(arn)
            self._ministack.exports[description["ExportArn"]] = self._ministack.exports.pop(arn)
            if request.get("ExportType") == INCREMENTAL:
                description[SPECIFICATION] = self._specification(request)
            run_in_background(self._export, table, description)
        return {"ExportDescription": description}

    def resume(self) -> None:
        """Write the exports again that an earlier process had not ended."""
        for (account, region, _), description in self._ministack.exports.all_items():
            if description["ExportStatus"] == "IN_PROGRESS":
                with request_scope(account, region):
                    table = self._ministack.table_name(description["TableArn"])
                    run_in_background(self._export, table, description)

    def describe(self, request: Document) -> Document:
        """DescribeExport: as the export is, where ministack reports one completed by its age."""
        description = self._ministack.exports.get(request.get("ExportArn"))
        if description is None:
            return self.replaced["DescribeExport"](request)
        return {"ExportDescription": description}

    def recovery_period(self, table: str) -> RecoveryPeriod:
        """The times to which a table can be restored."""
        now = datetime.now(timezone.utc).replace(microsecond=0)
        days = self._ministack.recovery_enabled.get(table)
        oldest = now - timedelta(days=RECOVERY_DAYS if days is True else int(days or 0))
        since = self._history.since(self._ministack.tables[table]["TableId"])
        complete = now if since is None else _EPOCH + timedelta(microseconds=since)
        return RecoveryPeriod(max(oldest, complete), now)

    def _check(self, table: str, request: Mapping[str, Any]) -> None:
        """Refuse what the service refuses, and what this one cannot write."""
        if not self._ministack.recovery_enabled.get(table):
            raise ServiceError(
                "PointInTimeRecoveryUnavailableException",
                f"Point in time recovery is not enabled for table '{table}'",
            )
        if request.get("ExportFormat") == "ION":
            raise ServiceError(
                "ValidationException", "The embedded AWS writes exports in DYNAMODB_JSON only."
            )
        period = self.recovery_period(table)
        if request.get("ExportType") == INCREMENTAL:
            specification = self._specification(request)
            if specification["ExportViewType"] not in VIEWS:
                raise ServiceError("ValidationException", "ExportViewType is invalid")
            try:
                window = Window(*_times(specification))
                check_window(window, datetime.now(timezone.utc), period)
            except WindowRefusedError as error:
                raise ServiceError("ValidationException", str(error)) from error
        elif request.get("ExportTime") is not None:
            wanted = _time(request["ExportTime"])
            if not period.earliest <= wanted <= datetime.now(timezone.utc):
                raise ServiceError(
                    "InvalidExportTimeException",
                    "The specified ExportTime is outside of the point in time recovery window.",
                )

    def _specification(self, request: Mapping[str, Any]) -> Document:
        """The window and view of a request, with what is left out."""
        given = request.get(SPECIFICATION) or {}
        if given.get("ExportFromTime") is None:
            raise ServiceError("ValidationException", "ExportFromTime is missing")
        return {
            "ExportFromTime": given["ExportFromTime"],
            "ExportToTime": given.get("ExportToTime") or int(time.time()),
            "ExportViewType": given.get("ExportViewType") or NEW_AND_OLD_IMAGES,
        }

    def _export(self, table: str, description: Document) -> None:
        """Write the export and complete its description."""
        try:
            if table not in self._ministack.tables:
                raise ServiceError("TableNotFound", "the table was deleted")
            result = self._written(table, description)
        except ServiceError as error:
            result = {
                "FailureCode": error.code,
                "FailureMessage": error.message,
                "ExportStatus": "FAILED",
            }
        except (ClientError, BotoCoreError) as error:
            no_bucket = "NoSuchBucket" in str(error)
            result = {
                "FailureCode": "S3NoSuchBucket" if no_bucket else "InternalError",
                "FailureMessage": str(error),
                "ExportStatus": "FAILED",
            }
        description |= {**result, "EndTime": time.time()}

    def _written(self, table: str, description: Mapping[str, Any]) -> Document:
        s3, bucket = shared_client(self._endpoint, "s3"), description["S3Bucket"]

        def put(key: str, body: bytes) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=body)

        now = datetime.now(timezone.utc)
        export_id = description["ExportArn"].rpartition("/")[2] or new_export_id(now)
        prefix = description.get("S3Prefix") or ""
        common = {
            "table_arn": description["TableArn"],
            "bucket": bucket,
            "prefix": prefix,
            "export_id": export_id,
            "table_id": description["TableId"],
        }
        written = self._incremental if SPECIFICATION in description else self._full
        export, size, extra = written(table, description, put, common)
        return {
            **extra,
            "ItemCount": sum(file.item_count for file in export.files),
            "BilledSizeBytes": size,
            "ExportManifest": f"{export_folder(prefix, export_id)}manifest-summary.json",
            "ExportStatus": "COMPLETED",
        }

    def _full(
        self, table: str, description: Mapping[str, Any], put: Any, common: Any
    ) -> tuple[Export, int, Document]:
        given = description.get("ExportTime")
        export_time, items = self._items(table, None if given is None else _time(given))
        size = sum(self._ministack.item_size(item) for item in items)
        export = write_export(items, put, export_time=export_time, **common)
        return export, size, {"ExportTime": export_time.timestamp()}

    def _incremental(
        self, table: str, description: Mapping[str, Any], put: Any, common: Any
    ) -> tuple[Export, int, Document]:
        specification = description[SPECIFICATION]
        start, end = _times(specification)
        changes = self._history.net_changes(
            description["TableId"],
            self._ministack.key_names(table),
            _micros(start),
            _micros(end),
        )
        size = sum(
            self._ministack.item_size(image)
            for change in changes
            for image in (change.new_image, change.old_image)
            if image
        )
        export = write_incremental_export(
            changes,
            put,
            from_time=start,
            to_time=end,
            view=specification["ExportViewType"],
            **common,
        )
        return export, size, {}

    def _items(self, table: str, wanted: datetime | None) -> tuple[datetime, Sequence[Item]]:
        """The items of a table as they were at a time, now if none is given; and the time."""
        stored = self._ministack.tables[table]
        with self._history.lock:
            now = self._history.now()
            at = _micros(wanted) if wanted is not None else now // 1000 * 1000
            items = dict(self._ministack.items(stored))
            changed = self._history.changed(stored["TableId"], at, now + 1)
        for keys, change in changed.items():
            if change.old is None:
                items.pop(keys, None)
            else:
                items[keys] = change.old
        return _EPOCH + timedelta(microseconds=at), list(items.values())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _times(specification: Mapping[str, Any]) -> tuple[datetime, datetime]:
    return _time(specification["ExportFromTime"]), _time(specification["ExportToTime"])


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def with_padded_time(arn: str) -> str:
    """An export's ARN whose id begins with 14 digits, as the service's: ids sort by time.

    ministack's have 13 (``01658528578619-c4d4e311`` is an id in DynamoDB's developer guide).
    """
    table, _, export_id = arn.rpartition("/")
    moment, dash, rest = export_id.partition("-")
    return f"{table}/{moment.zfill(14)}{dash}{rest}"
