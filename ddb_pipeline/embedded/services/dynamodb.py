"""DynamoDB: exports to S3, point-in-time recovery from the template, streams that are stored."""

import itertools
import json
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
    DynamoDBModule,
    Operation,
    ServiceError,
    request_scope,
    run_in_background,
)
from ddb_pipeline.export.layout import export_folder, new_export_id, write_export

UNLIMITED_READ_UNITS = 1e9


class DynamoDB:
    """The operations of DynamoDB that ministack answers without DynamoDB's effects."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ministack = DynamoDBModule()
        self._replaced: Mapping[str, Operation] = {}
        self._record_numbers = itertools.count(1)

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {
            "ExportTableToPointInTime": self.export_table_to_point_in_time,
            "DescribeExport": self.describe_export,
        }

    def install(self) -> None:
        """Answer these operations' requests, and complete stream records."""
        self._replaced = self._ministack.replace_operations(self.operations)
        self._ministack.replace_sequence_numbers(self._next_sequence_number)
        self._ministack.complete_stream_records(_set_size)
        self._ministack.on_provisioned(self._set_recovery)

    def export_table_to_point_in_time(self, request: Document) -> Document:
        """ExportTableToPointInTime: a full export of the table as it is now, in the background."""
        table = self._ministack.table_name(request.get("TableArn") or "")
        if table in self._ministack.tables and not self._ministack.recovery_enabled.get(table):
            raise ServiceError(
                "PointInTimeRecoveryUnavailableException",
                "Point in time recovery is not enabled for table "
                f"'{table}'. Enable it before exporting.",
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
            nonlocal size
            size += len(body)
            s3.put_object(Bucket=bucket, Key=key, Body=body)

        export = write_export(
            self._items(table),
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


def _set_size(record: Document) -> None:
    change = record["dynamodb"]
    images = [change.get(member) for member in ("Keys", "NewImage", "OldImage")]
    change["SizeBytes"] = len(json.dumps(images))
