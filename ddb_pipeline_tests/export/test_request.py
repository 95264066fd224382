"""Requests for exports, and scans written as exports, on the embedded AWS where possible."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ddb_pipeline.export.layout import VIEWS
from ddb_pipeline.export.manifest import read_export
from ddb_pipeline.export.read import read_items
from ddb_pipeline.export.request import (
    ExportRequestError,
    ExportState,
    PointInTimeRecoveryOffError,
    start_export,
    wait_for_export,
)
from ddb_pipeline.export.scan import scan_to_export
from ddb_pipeline.export.window import Window, WindowRefusedError
from ddb_pipeline_tests.support.export_bucket import s3_objects

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/logs"
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
Create = Callable[[str], Any]


@pytest.fixture
def table(aws_client: Create) -> Iterator[str]:
    name = f"export-request-{time.time_ns()}"
    dynamodb, s3 = aws_client("dynamodb"), aws_client("s3")
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3.create_bucket(Bucket=name)
    for start in range(0, 200, 25):
        requests = [
            {"PutRequest": {"Item": {"id": {"S": str(n)}, "n": {"N": str(n)}, "b": {"B": b"\x01"}}}}
            for n in range(start, start + 25)
        ]
        dynamodb.batch_write_item(RequestItems={name: requests})
    yield name
    dynamodb.delete_table(TableName=name)


def ids(s3: Any, folder: str) -> list[int]:
    bucket, _, prefix = folder.partition("/")
    opened = s3_objects(s3, bucket)
    export = read_export(opened, prefix)
    return sorted(int(i["id"]["S"]) for file in export.files for i in read_items(opened, file))


def test_an_export_is_started_and_completes(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    with pytest.raises(PointInTimeRecoveryOffError, match="Enable it, or scan the table"):
        start_export(dynamodb, arn, table)
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    seen: list[ExportState] = []
    started = start_export(dynamodb, arn, table, "exports/")
    finished = wait_for_export(
        dynamodb, started.arn, poll_seconds=0.1, on_progress=lambda state, _: seen.append(state)
    )
    assert finished.items == 200
    assert finished.folder == f"{table}/exports/AWSDynamoDB/{finished.export_id}"
    assert ids(aws_client("s3"), finished.folder) == list(range(200))
    assert seen[-1] == finished


def test_an_export_to_no_bucket_fails_with_the_reason(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    started = start_export(dynamodb, arn, "no-such-bucket-here")
    with pytest.raises(ExportRequestError, match="failed: S3NoSuchBucket"):
        wait_for_export(dynamodb, started.arn, poll_seconds=0.1)


def test_a_scan_is_an_export(aws_client: Create, table: str) -> None:
    counts: list[int] = []
    folder, export = scan_to_export(
        aws_client("dynamodb"), aws_client("s3"), table, table, "scans", on_progress=counts.append
    )
    assert counts[-1] == export.summary.item_count == 200
    assert ids(aws_client("s3"), folder) == list(range(200))


def stubbed() -> tuple[Any, Stubber]:
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    return client, Stubber(client)


def add_recovery(stub: Stubber, earliest: datetime | None) -> None:
    status: dict[str, Any] = {"PointInTimeRecoveryStatus": "DISABLED"}
    if earliest is not None:
        status = {
            "PointInTimeRecoveryStatus": "ENABLED",
            "EarliestRestorableDateTime": earliest,
            "LatestRestorableDateTime": NOON,
        }
    stub.add_response(
        "describe_continuous_backups",
        {
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": status,
            }
        },
        {"TableName": ARN},
    )


@pytest.mark.parametrize("view", VIEWS)
def test_an_incremental_export_in_ion(view: str) -> None:
    client, stub = stubbed()
    window = Window(NOON - timedelta(hours=1), NOON)
    add_recovery(stub, window.from_time)
    stub.add_response(
        "export_table_to_point_in_time",
        {"ExportDescription": {"ExportArn": f"{ARN}/export/e", "ExportStatus": "IN_PROGRESS"}},
        {
            "TableArn": ARN,
            "S3Bucket": "b",
            "ExportFormat": "ION",
            "ClientToken": "once",
            "ExportType": "INCREMENTAL_EXPORT",
            "IncrementalExportSpecification": {
                "ExportFromTime": NOON - timedelta(hours=1),
                "ExportToTime": NOON,
                "ExportViewType": view,
            },
        },
    )
    with stub:
        state = start_export(
            client,
            ARN,
            "b",
            window=window,
            output_format="ION",
            view=view,
            client_token="once",
            now=lambda: NOON,
        )
    assert (state.export_id, state.status) == ("e", "IN_PROGRESS")


def test_the_views_are_those_of_the_service_model() -> None:
    client, _ = stubbed()
    shape: Any = client.meta.service_model.shape_for("ExportViewType")
    assert set(VIEWS) == set(shape.enum)


@pytest.mark.parametrize(
    ("earliest", "now", "error", "reason"),
    [
        (NOON - timedelta(minutes=59), NOON, WindowRefusedError, "a full export has the table"),
        (NOON - timedelta(days=9), NOON - timedelta(seconds=1), WindowRefusedError, "the future"),
        (None, NOON, PointInTimeRecoveryOffError, "has no point-in-time recovery"),
    ],
)
def test_windows_are_refused_before_the_request(
    earliest: datetime | None, now: datetime, error: type[Exception], reason: str
) -> None:
    client, stub = stubbed()
    add_recovery(stub, earliest)
    window = Window(NOON - timedelta(hours=1), NOON)
    with stub, pytest.raises(error, match=reason):
        start_export(client, ARN, "b", window=window, now=lambda: now)
    stub.assert_no_pending_responses()


def test_a_recovery_period_that_may_not_be_read_refuses_nothing() -> None:
    client, stub = stubbed()
    stub.add_client_error("describe_continuous_backups", "AccessDeniedException", "no")
    stub.add_client_error("export_table_to_point_in_time", "ValidationException", "too early")
    window = Window(NOON - timedelta(hours=1), NOON)
    with stub, pytest.raises(ExportRequestError, match="too early"):
        start_export(client, ARN, "b", window=window, now=lambda: NOON)


def test_a_missing_permission_is_named() -> None:
    client, stub = stubbed()
    stub.add_client_error("export_table_to_point_in_time", "AccessDeniedException", "no")
    stub.add_client_error("describe_export", "AccessDeniedException", "no")
    with stub:
        with pytest.raises(ExportRequestError, match="dynamodb:ExportTableToPointInTime"):
            start_export(client, ARN, "b")
        with pytest.raises(ExportRequestError, match="dynamodb:DescribeExport"):
            wait_for_export(client, ARN)


def test_an_export_that_does_not_end() -> None:
    client, stub = stubbed()
    for _ in range(3):
        stub.add_response(
            "describe_export",
            {"ExportDescription": {"ExportArn": f"{ARN}/export/e", "ExportStatus": "IN_PROGRESS"}},
        )
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with stub, pytest.raises(ExportRequestError, match="still running after 60 s"):
        wait_for_export(
            client, f"{ARN}/export/e", timeout_seconds=60, clock=lambda: now, sleep=sleep
        )
