"""Requests for exports: started, and waited for until they are complete."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.layout import DYNAMODB_JSON, NEW_AND_OLD_IMAGES
from ddb_pipeline.export.window import RecoveryPeriod, Window, check_window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

EXPORT_TIMEOUT_SECONDS = 24 * 3600.0


class ExportRequestError(DdbPipelineError):
    """An export was refused, failed or did not end in time; the message says what to do."""


class PointInTimeRecoveryOffError(ExportRequestError):
    """The table has no point-in-time recovery, so that only a scan can read it."""


@dataclass(frozen=True, slots=True)
class ExportState:
    """An export as DescribeExport describes it."""

    arn: str
    status: str
    bucket: str
    manifest_key: str
    items: int
    failure: str

    @property
    def export_id(self) -> str:
        """The last part of the export's ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """``bucket/prefix`` of the export's folder; known when the export is complete."""
        return f"{self.bucket}/{self.manifest_key.rpartition('/')[0]}"


def start_export(
    dynamodb: "DynamoDBClient",
    table_arn: str,
    bucket: str,
    prefix: str = "",
    *,
    window: Window | None = None,
    export_time: datetime | None = None,
    output_format: str = DYNAMODB_JSON,
    view: str = NEW_AND_OLD_IMAGES,
    client_token: str = "",
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> ExportState:
    """Start a full export, or with ``window`` an incremental one.

    Within eight hours, a request with the same ``client_token`` starts no second export.

    Args:
        export_time: of a full export; by default the time at which DynamoDB gets the request.
        view: the images of an incremental export, one of ``layout.VIEWS``.

    Raises:
        WindowRefusedError: DynamoDB would refuse the window; nothing was requested.
        PointInTimeRecoveryOffError: the table has no point-in-time recovery.
        ExportRequestError: DynamoDB refused.
    """
    request: dict[str, Any] = {
        "TableArn": table_arn,
        "S3Bucket": bucket,
        "ExportFormat": output_format,
        **({"S3Prefix": prefix.rstrip("/")} if prefix else {}),
        **({"ClientToken": client_token} if client_token else {}),
        **({"ExportTime": export_time} if export_time is not None else {}),
    }
    if window is not None:
        check_window(window, now(), recovery_period(dynamodb, table_arn))
        request |= {
            "ExportType": "INCREMENTAL_EXPORT",
            "IncrementalExportSpecification": {
                "ExportFromTime": window.from_time,
                "ExportToTime": window.to_time,
                "ExportViewType": view,
            },
        }
    try:
        answer = dynamodb.export_table_to_point_in_time(**request)
    except ClientError as error:
        raise refusal(error, table_arn, bucket) from error
    return export_state(answer["ExportDescription"])


def recovery_period(dynamodb: "DynamoDBClient", table_arn: str) -> RecoveryPeriod | None:
    """The times to which a table can be restored; None where they may not be read.

    Raises:
        PointInTimeRecoveryOffError: the table has no point-in-time recovery.
        ExportRequestError: the table cannot be described.
    """
    try:
        answer = dynamodb.describe_continuous_backups(TableName=table_arn)
    except ClientError as error:
        if error_code(error) in DENIED_CODES:
            return None
        raise ExportRequestError(
            f"The point-in-time recovery of {table_arn} cannot be described: {error}"
        ) from error
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        raise recovery_off(table_arn)
    earliest = found.get("EarliestRestorableDateTime")
    latest = found.get("LatestRestorableDateTime")
    return RecoveryPeriod(earliest, latest) if earliest and latest else None


def recovery_off(table_arn: str) -> PointInTimeRecoveryOffError:
    """The error of a table without point-in-time recovery."""
    return PointInTimeRecoveryOffError(
        f"Table {table_arn.rpartition('/')[2]!r} has no point-in-time recovery, which DynamoDB "
        "requires for exports. Enable it, or scan the table."
    )


def refusal(error: ClientError, table_arn: str, bucket: str) -> ExportRequestError:
    """The error of a refused request, with what to do."""
    table = table_arn.rpartition("/")[2]
    code = error_code(error)
    if code == "PointInTimeRecoveryUnavailableException":
        return recovery_off(table_arn)
    if code in DENIED_CODES:
        return ExportRequestError(
            f"Table {table!r} may not be exported to bucket {bucket!r}: {error}. This requires "
            "dynamodb:ExportTableToPointInTime on the table and s3:PutObject on the bucket."
        )
    return ExportRequestError(f"Table {table!r} was not exported to bucket {bucket!r}: {error}")


def export_state(description: Mapping[str, Any]) -> ExportState:
    """The state in an ``ExportDescription`` of DynamoDB's API."""
    failure = " ".join(
        str(description[name]) for name in ("FailureCode", "FailureMessage") if name in description
    )
    return ExportState(
        arn=description["ExportArn"],
        status=description["ExportStatus"],
        bucket=description.get("S3Bucket", ""),
        manifest_key=description.get("ExportManifest", ""),
        items=int(description.get("ItemCount") or 0),
        failure=failure,
    )


def wait_for_export(
    dynamodb: "DynamoDBClient",
    arn: str,
    *,
    poll_seconds: float = 30.0,
    timeout_seconds: float = EXPORT_TIMEOUT_SECONDS,
    on_progress: Callable[[ExportState, float], None] = lambda state, seconds: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ExportState:
    """Wait until an export is complete; ``on_progress`` gets its state and the seconds waited.

    Raises:
        ExportRequestError: it failed, or is still running after ``timeout_seconds``.
    """
    started = clock()
    while True:
        try:
            answer = dynamodb.describe_export(ExportArn=arn)
        except ClientError as error:
            raise ExportRequestError(
                f"Export {arn} cannot be described: {error}. This requires dynamodb:DescribeExport."
            ) from error
        state = export_state(answer["ExportDescription"])
        waited = clock() - started
        on_progress(state, waited)
        if state.status == "COMPLETED":
            return state
        if state.status == "FAILED":
            raise ExportRequestError(f"Export {arn} failed: {state.failure}")
        if waited >= timeout_seconds:
            raise ExportRequestError(
                f"Export {arn} is still running after {waited:.0f} s. It continues; check it later."
            )
        sleep(poll_seconds)
