"""DynamoDB: exports to S3, point-in-time recovery from the template, streams that are stored."""

import itertools
import time
from collections.abc import Mapping
from typing import Any

from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.embedded.services.dynamodb_exports import TableExports
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline.embedded.services.ministack import (
    Document,
    Operation,
    ServiceError,
    request_scope,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule
from ddb_pipeline.export.window import RECOVERY_DAYS

UNLIMITED_READ_UNITS = 1e9
TIME_TO_LIVE_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""The identity in the stream record of an expired item, as events of Lambda have it."""
LONGEST_EXPIRED_SECONDS = 5 * 366 * 86400
"""DynamoDB does not delete items whose time to live lies more than five years back."""


class DynamoDB:
    """The operations of DynamoDB that ministack has without DynamoDB's effects."""

    def __init__(self, endpoint: Endpoint, history: ChangeHistory) -> None:
        self._ministack = DynamoDBModule()
        self._history = history
        self._exports = TableExports(endpoint, self._ministack, history)
        self._replaced: Mapping[str, Operation] = {}
        self._streams: Mapping[str, Operation] = {}
        self._record_numbers = itertools.count(1)
        self._is_expiring = False

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {
            "ExportTableToPointInTime": self._exports.start,
            "DescribeExport": self._exports.describe,
            "DescribeContinuousBackups": self.describe_continuous_backups,
            "UpdateContinuousBackups": self.update_continuous_backups,
            # BatchExecuteStatement executes each of its statements by ExecuteStatement.
            "ExecuteStatement": self.execute_statement,
            "ExecuteTransaction": self.execute_transaction,
        }

    def install(self) -> None:
        """Answer these operations' requests, and complete stream records."""
        self._replaced = self._ministack.replace_operations(self.operations)
        self._exports.replaced = self._replaced
        self._ministack.replace_sequence_numbers(self._next_sequence_number)
        self._ministack.complete_stream_records(self._complete)
        self._streams = self._ministack.streams.replace_operations(
            {"DescribeStream": self.describe_stream, "GetRecords": self.get_records}
        )
        self._ministack.on_provisioned(self._set_recovery)

    def resume(self) -> None:
        """Go on with what the end of the last process interrupted."""
        for (account, region, _), table in self._ministack.tables.all_items():
            with request_scope(account, region):
                enabled = self._ministack.recovery_enabled.get(table["TableName"])
                if enabled and self._history.since(table["TableId"]) is None:
                    self._history.begin(table)
        self._exports.resume()

    def describe_continuous_backups(self, request: Document) -> Document:
        """DescribeContinuousBackups: with the number of days that are recoverable."""
        response = self._replaced["DescribeContinuousBackups"](request)
        return self._with_recovery_period(request, response)

    def update_continuous_backups(self, request: Document) -> Document:
        """UpdateContinuousBackups: with the number of days that are recoverable."""
        response = self._replaced["UpdateContinuousBackups"](request)
        specification = request.get("PointInTimeRecoverySpecification") or {}
        if specification.get("PointInTimeRecoveryEnabled"):
            days = specification.get("RecoveryPeriodInDays", RECOVERY_DAYS)
            self._begin_recovery(request["TableName"], int(days))
        else:
            self._end_recovery(request["TableName"])
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
            table = self._ministack.name_of(request["TableName"])
            days = self._ministack.recovery_enabled.get(table)
            recovery["RecoveryPeriodInDays"] = RECOVERY_DAYS if days is True else days
            period = self._exports.recovery_period(table)
            recovery["EarliestRestorableDateTime"] = period.earliest.timestamp()
            recovery["LatestRestorableDateTime"] = period.latest.timestamp()
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
        if str(specification.get("PointInTimeRecoveryEnabled", False)).lower() == "true":
            self._begin_recovery(table, True)
        else:
            self._end_recovery(table)

    def _begin_recovery(self, name: str, days: bool | int) -> None:
        """Turn recovery on; it goes on where it was on already."""
        table = self._ministack.name_of(name)
        was_on = self._ministack.recovery_enabled.get(table)
        with self._history.lock:
            self._ministack.recovery_enabled[table] = days
            stored = self._ministack.tables[table]
            if not was_on or self._history.since(stored["TableId"]) is None:
                self._history.begin(stored)

    def _end_recovery(self, name: str) -> None:
        table = self._ministack.name_of(name)
        with self._history.lock:
            self._ministack.recovery_enabled[table] = False
            self._history.end(self._ministack.tables[table])


def is_expired(value: Mapping[str, Any] | None, now: float) -> bool:
    """Return whether the value of a time-to-live attribute, seconds of the epoch, has passed."""
    if value is None or "N" not in value:
        return False
    return now - LONGEST_EXPIRED_SECONDS < float(value["N"]) < now
