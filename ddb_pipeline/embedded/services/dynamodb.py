"""DynamoDB: exports to S3, point-in-time recovery from the template, streams that are stored."""

import itertools
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.scan import ScanPlan, scan_pages
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.ministack import (
    Document,
    Operation,
    ServiceError,
    request_scope,
    run_in_background,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule
from ddb_pipeline.export.layout import export_folder, new_export_id, write_export

UNLIMITED_READ_UNITS = 1e9
DEFAULT_RECOVERY_DAYS = 35
TIME_TO_LIVE_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""The identity in the stream record of an expired item, as events of Lambda have it."""
LONGEST_EXPIRED_SECONDS = 5 * 366 * 86400
"""DynamoDB does not delete items whose time to live lies more than five years back."""


class DynamoDB:
    """The operations of DynamoDB that ministack answers without DynamoDB's effects."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ministack = DynamoDBModule()
        self._replaced: Mapping[str, Operation] = {}
        self._streams: Mapping[str, Operation] = {}
        self._record_numbers = itertools.count(1)
        self._is_expiring = False

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {
            "ExportTableToPointInTime": self.export_table_to_point_in_time,
            "DescribeExport": self.describe_export,
            "DescribeContinuousBackups": self.describe_continuous_backups,
            "UpdateContinuousBackups": self.update_continuous_backups,
            # BatchExecuteStatement executes each of its statements by ExecuteStatement.
            "ExecuteStatement": self.execute_statement,
            "ExecuteTransaction": self.execute_transaction,
        }

    def install(self) -> None:
        """Answer these operations' requests, and complete stream records."""
        self._replaced = self._ministack.replace_operations(self.operations)
        self._ministack.replace_sequence_numbers(self._next_sequence_number)
        self._ministack.complete_stream_records(self._complete)
        self._streams = self._ministack.streams.replace_operations(
            {"DescribeStream": self.describe_stream, "GetRecords": self.get_records}
        )
        self._ministack.on_provisioned(self._set_recovery)

    def export_table_to_point_in_time(self, request: Document) -> Document:
        """ExportTableToPointInTime: a full export of the table as it is now, in the background."""
        table = self._ministack.table_name(request.get("TableArn") or "")
        if table in self._ministack.tables and not self._ministack.recovery_enabled.get(table):
            raise ServiceError(
                "PointInTimeRecoveryUnavailableException",
                f"Point in time recovery is not enabled for table '{table}'",
            )
        if (
            request.get("ExportType") == "INCREMENTAL_EXPORT"
            or request.get("ExportFormat") == "ION"
        ):
            raise ServiceError(
                "ValidationException",
                "The embedded AWS writes full exports in DYNAMODB_JSON only.",
            )
        known = set(self._ministack.exports)
        response = self._replaced["ExportTableToPointInTime"](request)
        arn = response["ExportDescription"]["ExportArn"]
        # The stored description is changed when the export ends.
        description: Document = self._ministack.exports[arn]
        if arn not in known:  # else a request with the same ClientToken started it
            run_in_background(self._export, table, description)
        return {"ExportDescription": description}

    def resume(self) -> None:
        """Write the exports again that an earlier process had not ended."""
        for (account, region, _), description in self._ministack.exports.all_items():
            if description["ExportStatus"] == "IN_PROGRESS":
                with request_scope(account, region):
                    table = self._ministack.table_name(description["TableArn"])
                    run_in_background(self._export, table, description)

    def describe_export(self, request: Document) -> Document:
        """DescribeExport: as the export is, where ministack reports one completed by its age."""
        description = self._ministack.exports.get(request.get("ExportArn"))
        if description is None:
            return self._replaced["DescribeExport"](request)
        return {"ExportDescription": description}

    def describe_continuous_backups(self, request: Document) -> Document:
        """DescribeContinuousBackups: with the number of days that are recoverable."""
        response = self._replaced["DescribeContinuousBackups"](request)
        return self._with_recovery_period(request, response)

    def update_continuous_backups(self, request: Document) -> Document:
        """UpdateContinuousBackups: with the number of days that are recoverable."""
        response = self._replaced["UpdateContinuousBackups"](request)
        specification = request.get("PointInTimeRecoverySpecification") or {}
        if specification.get("PointInTimeRecoveryEnabled"):
            days = specification.get("RecoveryPeriodInDays", DEFAULT_RECOVERY_DAYS)
            self._ministack.recovery_enabled[request["TableName"]] = int(days)
        return self._with_recovery_period(request, response)

    def execute_statement(self, request: Document) -> Document:
        """ExecuteStatement: with the stream record of the item that it changes."""
        return self._execute("ExecuteStatement", request)

    def execute_transaction(self, request: Document) -> Document:
        """ExecuteTransaction: with the stream records of the items that it changes."""
        return self._execute("ExecuteTransaction", request)

    def describe_stream(self, request: Document) -> Document:
        """DescribeStream: with DynamoDB's message for a stream that does not exist."""
        try:
            return self._streams["DescribeStream"](request)
        except ServiceError as error:
            if error.code != "ResourceNotFoundException":
                raise
            message = f"Requested resource not found: Stream: {request.get('StreamArn')} not found"
            raise ServiceError(error.code, message) from error

    def get_records(self, request: Document) -> Document:
        """GetRecords: the members of an identity have other names than in events of Lambda."""
        response = self._streams["GetRecords"](request)
        for record in response["Records"]:
            identity = record.get("userIdentity")
            if identity:
                record["userIdentity"] = {n[0].upper() + n[1:]: v for n, v in identity.items()}
        return response

    def expire_items(self) -> int:
        """Delete the items whose time to live has passed, with their stream records.

        Returns:
            The number of items deleted.
        """
        now, count = time.time(), 0
        for (account, region, name), setting in self._ministack.time_to_live.all_items():
            with request_scope(account, region):
                table = self._ministack.tables.get(name)
                if table is None or setting.get("TimeToLiveStatus") != "ENABLED":
                    continue
                for keys, item in self._ministack.items(table):
                    if is_expired(item.get(setting["AttributeName"]), now):
                        self._expire(table, keys, item)
                        count += 1
        return count

    def _expire(self, table: Document, keys: tuple[str, str], item: Document) -> None:
        self._ministack.remove_item(table, keys)
        self._is_expiring = True
        try:
            self._ministack.put_stream_record(table, item, None)
        finally:
            self._is_expiring = False

    def _execute(self, operation: str, request: Document) -> Document:
        """Execute PartiQL; ministack puts no stream records for what it changes."""
        with self._ministack.collect_changes() as changes:
            response = self._replaced[operation](request)
        for table, old, new in changes:
            self._ministack.put_stream_record(table, old, new)
        return response

    def _with_recovery_period(self, request: Document, response: Document) -> Document:
        recovery = response["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        if recovery["PointInTimeRecoveryStatus"] == "ENABLED":
            days = self._ministack.recovery_enabled.get(request["TableName"])
            recovery["RecoveryPeriodInDays"] = DEFAULT_RECOVERY_DAYS if days is True else days
        return response

    def _complete(self, record: Document) -> None:
        """Set what ministack's stream records lack: the size, and who deleted an expired item."""
        change = record["dynamodb"]
        images = (change.get(member) for member in ("Keys", "NewImage", "OldImage"))
        change["SizeBytes"] = sum(self._ministack.item_size(image) for image in images if image)
        if self._is_expiring:
            record["userIdentity"] = dict(TIME_TO_LIVE_IDENTITY)

    def _next_sequence_number(self) -> str:
        """Return 23 digits without a leading zero; DynamoDB's sequence numbers have 21 to 40."""
        return f"{int(time.time() * 1000)}{next(self._record_numbers):010d}"

    def _set_recovery(self, table: str, properties: Mapping[str, Any]) -> None:
        specification = properties.get("PointInTimeRecoverySpecification") or {}
        enabled = str(specification.get("PointInTimeRecoveryEnabled", False)).lower() == "true"
        self._ministack.recovery_enabled[table] = enabled

    def _export(self, table: str, description: Document) -> None:
        """Write the export and complete its description."""
        try:
            result = self._write_export(table, description)
        except (ClientError, BotoCoreError) as error:
            no_bucket = "NoSuchBucket" in str(error)
            result = {
                "FailureCode": "S3NoSuchBucket" if no_bucket else "InternalError",
                "FailureMessage": str(error),
                "ExportStatus": "FAILED",
            }
        description |= {**result, "EndTime": time.time()}

    def _write_export(self, table: str, description: Mapping[str, Any]) -> Document:
        s3, bucket = shared_client(self._endpoint, "s3"), description["S3Bucket"]
        export_time = datetime.now(timezone.utc)
        export_id = description["ExportArn"].rpartition("/")[2] or new_export_id(export_time)
        prefix = description.get("S3Prefix") or ""
        size = 0

        def put(key: str, body: bytes) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=body)

        def measured() -> Iterator[Item]:
            nonlocal size
            for item in self._items(table):
                size += self._ministack.item_size(item)
                yield item

        export = write_export(
            measured(),
            put,
            table_arn=description["TableArn"],
            bucket=bucket,
            export_time=export_time,
            prefix=prefix,
            export_id=export_id,
            table_id=description["TableId"],
        )
        return {
            "ItemCount": sum(file.item_count for file in export.files),
            "BilledSizeBytes": size,
            "ExportTime": export_time.timestamp(),
            "ExportManifest": f"{export_folder(prefix, export_id)}manifest-summary.json",
            "ExportStatus": "COMPLETED",
        }

    def _items(self, table: str) -> Iterator[Item]:
        client = shared_client(self._endpoint, "dynamodb")
        for page in scan_pages(client, table, ScanPlan(1, UNLIMITED_READ_UNITS)):
            yield from page


def is_expired(value: Mapping[str, Any] | None, now: float) -> bool:
    """Return whether the value of a time-to-live attribute, seconds of the epoch, has passed."""
    if value is None or "N" not in value:
        return False
    return now - LONGEST_EXPIRED_SECONDS < float(value["N"]) < now
