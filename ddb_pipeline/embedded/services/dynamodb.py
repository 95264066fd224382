"""DynamoDB: real exports to S3, point-in-time recovery from the template, streams kept on disk."""

import contextvars
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.scan import ScanPlan, scan_pages
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export.layout import export_folder, new_export_id, write_export

Response = tuple[int, dict[str, str], bytes]

TABLE_TYPE = "AWS::DynamoDB::Table"
READ_UNITS = 1e9

logger = logging.getLogger("ddb_pipeline.embedded.dynamodb")


def install(endpoint: str) -> None:
    """Put DynamoDB's missing behaviour into ministack's DynamoDB service."""
    from ministack.services import dynamodb
    from ministack.services.cloudformation import provisioners

    _install_sequence_numbers(dynamodb)
    _install_stream_state(dynamodb)
    _install_recovery(dynamodb, provisioners)
    _install_export(dynamodb, endpoint)


def _install_sequence_numbers(dynamodb: Any) -> None:
    """Sequence numbers as DynamoDB's: 21 to 40 digits without leading zeros."""
    counter = itertools.count(1)

    def next_number() -> str:
        return f"{int(time.time() * 1000)}{next(counter):010d}"

    dynamodb._next_stream_seq = next_number


def _install_stream_state(dynamodb: Any) -> None:
    """Stream records survive a restart, so that what no function has read yet is not lost."""
    from ministack.core.responses import AccountRegionScopedDict

    saved, restored, built = (
        dynamodb.get_state,
        dynamodb.load_persisted_state,
        dynamodb._build_change_record,
    )

    def get_state() -> dict[str, Any]:
        records = AccountRegionScopedDict()
        for scope, entries in list(dynamodb._stream_records._data.items()):
            records._data[scope] = list(entries)
        trimmed = AccountRegionScopedDict()
        trimmed._data.update(dynamodb._stream_trimmed._data)
        return {**saved(), "stream_records": records, "stream_trimmed": trimmed}

    def load(data: Mapping[str, Any]) -> None:
        restored(data)
        dynamodb._stream_records.update(data.get("stream_records", {}))
        dynamodb._stream_trimmed.update(data.get("stream_trimmed", {}))

    def build(*arguments: Any) -> dict[str, Any]:
        record: dict[str, Any] = built(*arguments)
        change = record["dynamodb"]
        images = [change.get(m) for m in ("Keys", "NewImage", "OldImage")]
        change["SizeBytes"] = len(json.dumps(images))
        return record

    dynamodb.get_state = get_state
    dynamodb.load_persisted_state = load
    dynamodb._build_change_record = build


def _install_recovery(dynamodb: Any, provisioners: Any) -> None:
    handlers = next(
        table[TABLE_TYPE]
        for table in vars(provisioners).values()
        if isinstance(table, dict) and "create" in (table.get(TABLE_TYPE) or ())
    )
    created, updated = handlers["create"], handlers["update"]

    def apply(name: str, properties: Mapping[str, Any]) -> None:
        wanted = properties.get("PointInTimeRecoverySpecification") or {}
        enabled = str(wanted.get("PointInTimeRecoveryEnabled", False)).lower() == "true"
        dynamodb._pitr_settings[name] = enabled

    def create(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:
        answer = created(logical_id, properties, stack)
        apply(answer[0], properties)
        return answer

    def update(physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], *rest: Any) -> Any:
        answer = updated(physical_id, old, new, *rest)
        apply(answer[0] if isinstance(answer, tuple) else physical_id, new)
        return answer

    handlers["create"], handlers["update"] = create, update


def _install_export(dynamodb: Any, endpoint: str) -> None:
    requested, described = (
        dynamodb._export_table_to_point_in_time,
        dynamodb._describe_export,
    )

    def export(data: dict[str, Any]) -> Response:
        from ministack.core.responses import error_response_json, json_response

        table = dynamodb._table_name_from_arn(data.get("TableArn") or "")
        if table in dynamodb._tables and not dynamodb._pitr_settings.get(table):
            refused: Response = error_response_json(
                "PointInTimeRecoveryUnavailableException",
                "Point in time recovery is not enabled for table "
                f"'{table}'. Enable it before exporting.",
                400,
            )
            return refused
        if data.get("ExportType") == "INCREMENTAL_EXPORT" or data.get("ExportFormat") == "ION":
            unsupported: Response = error_response_json(
                "ValidationException",
                "The embedded AWS writes full exports in DYNAMODB_JSON only.",
                400,
            )
            return unsupported
        status, headers, body = requested(data)
        if status >= 400:
            return status, headers, body
        description = dynamodb._exports[json.loads(body)["ExportDescription"]["ExportArn"]]
        if "ExportManifest" not in description and description["ExportStatus"] == "IN_PROGRESS":
            _begin(dynamodb, endpoint, table, description)
        answer: Response = json_response({"ExportDescription": description})
        return answer

    def describe(data: dict[str, Any]) -> Response:
        from ministack.core.responses import json_response

        description = dynamodb._exports.get(data.get("ExportArn"))
        if description is None:
            missing: Response = described(data)
            return missing
        answer: Response = json_response({"ExportDescription": description})
        return answer

    dynamodb._export_table_to_point_in_time = export
    dynamodb._describe_export = describe


def _begin(dynamodb: Any, endpoint: str, table: str, description: dict[str, Any]) -> None:
    context = contextvars.copy_context()
    threading.Thread(
        target=lambda: context.run(_export, endpoint, table, description), daemon=True
    ).start()


def _export(endpoint: str, table: str, description: dict[str, Any]) -> None:
    """Write the export through the project's own writer, then complete its description."""
    s3, bucket = shared_client(Endpoint(endpoint), "s3"), description["S3Bucket"]
    now = datetime.now(timezone.utc)
    export_id = description["ExportArn"].rpartition("/")[2] or new_export_id(now)
    prefix = description.get("S3Prefix") or ""
    size = 0

    def put(key: str, body: bytes) -> None:
        nonlocal size
        size += len(body)
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    try:
        export = write_export(
            _items(endpoint, table),
            put,
            table_arn=description["TableArn"],
            bucket=bucket,
            export_time=now,
            prefix=prefix,
            export_id=export_id,
            table_id=description["TableId"],
        )
    except (ClientError, BotoCoreError) as error:
        description |= {
            "ExportStatus": "FAILED",
            "FailureCode": "S3NoSuchBucket" if "NoSuchBucket" in str(error) else "InternalError",
            "FailureMessage": str(error),
            "EndTime": time.time(),
        }
        return
    description |= {
        "ItemCount": sum(file.item_count for file in export.files),
        "BilledSizeBytes": size,
        "ExportTime": now.timestamp(),
        "ExportManifest": f"{export_folder(prefix, export_id)}manifest-summary.json",
        "EndTime": time.time(),
        "ExportStatus": "COMPLETED",
    }


def _items(endpoint: str, table: str) -> Iterator[Item]:
    for page in scan_pages(
        shared_client(Endpoint(endpoint), "dynamodb"), table, ScanPlan(1, READ_UNITS)
    ):
        yield from page
