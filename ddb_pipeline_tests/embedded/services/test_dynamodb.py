"""Exports and stream records of the embedded DynamoDB, read by the project's readers and boto3."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.dynamodb.stream import read_record
from ddb_pipeline.dynamodb.stream_read import lambda_event
from ddb_pipeline.export.manifest import read_export
from ddb_pipeline.export.read import read_items
from ddb_pipeline_tests.embedded.services.conftest import StreamedTable, create_table
from ddb_pipeline_tests.support.export_bucket import s3_objects
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded


def test_an_export_has_the_real_layout(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    dynamodb.update_continuous_backups(
        TableName=table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    table.put(250)
    dynamodb.put_item(TableName=table.name, Item={"id": {"S": "s"}, "raw": {"B": b"\x00"}})
    started = dynamodb.export_table_to_point_in_time(
        TableArn=table.describe()["TableArn"], S3Bucket=table.name, S3Prefix="exports"
    )["ExportDescription"]

    def described() -> dict[str, Any]:
        response = dynamodb.describe_export(ExportArn=started["ExportArn"])
        description: dict[str, Any] = response["ExportDescription"]
        return description

    wait_until(lambda: described()["ExportStatus"] != "IN_PROGRESS", "the end of the export")
    finished = described()
    assert finished["ExportStatus"] == "COMPLETED"
    assert finished["ItemCount"] == 251
    folder = finished["ExportManifest"].rpartition("manifest-summary.json")[0]
    assert re.fullmatch(r"exports/AWSDynamoDB/0[0-9]{13}-[0-9a-f]{8}/", folder)
    export_id = folder.split("/")[-2]
    assert started["ExportArn"] == f"{started['TableArn']}/export/{export_id}"
    opened = s3_objects(table.client("s3"), table.name)
    export = read_export(opened, folder)
    items = [item for file in export.files for item in read_items(opened, file)]
    assert {item["id"]["S"] for item in items} == {*map(str, range(250)), "s"}
    assert {"id": {"S": "s"}, "raw": {"B": "AA=="}} in items


def test_without_recovery_an_export_is_refused(table: StreamedTable) -> None:
    with pytest.raises(ClientError) as error:
        table.client("dynamodb").export_table_to_point_in_time(
            TableArn=table.describe()["TableArn"], S3Bucket=table.name
        )
    assert error.value.response["Error"] == {
        "Code": "PointInTimeRecoveryUnavailableException",
        "Message": f"Point in time recovery is not enabled for table '{table.name}'",
    }


def test_stream_records_look_like_dynamodbs(table: StreamedTable) -> None:
    table.put(1)
    (record,) = table.stream_records()
    number = record["dynamodb"]["SequenceNumber"]
    assert 21 <= len(number) <= 40
    assert not number.startswith("0")


@pytest.mark.parametrize(
    ("view", "key", "size"), [("NEW_AND_OLD_IMAGES", "id", 12), ("KEYS_ONLY", "Username", 12)]
)
def test_the_size_of_a_stream_record_is_as_recorded_on_the_service(
    aws_client: Callable[[str], Any], view: str, key: str, size: int
) -> None:
    table = create_table(aws_client, f"sizes-{key}", key=key, view=view)
    aws_client("dynamodb").put_item(TableName=table.name, Item={key: {"S": "Fred"}})
    (record,) = table.stream_records()
    assert record["dynamodb"]["SizeBytes"] == size


def test_a_stream_that_does_not_exist(table: StreamedTable) -> None:
    arn = f"{table.describe()['TableArn']}/stream/2026-01-01T00:00:00.000"
    with pytest.raises(ClientError) as error:
        table.client("dynamodbstreams").describe_stream(StreamArn=arn)
    assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert error.value.response["Error"]["Message"].startswith(
        "Requested resource not found: Stream:"
    )


def test_each_write_by_partiql_puts_one_stream_record(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    for statement in (
        f"INSERT INTO \"{table.name}\" VALUE {{'id': 'k1'}}",
        f"UPDATE \"{table.name}\" SET n=1 WHERE id='k1'",
        f"SELECT * FROM \"{table.name}\" WHERE id='k1'",
        f"DELETE FROM \"{table.name}\" WHERE id='k1'",
        f"DELETE FROM \"{table.name}\" WHERE id='k1'",
    ):
        dynamodb.execute_statement(Statement=statement)
    records = table.stream_records()
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert records[1]["dynamodb"]["OldImage"] == {"id": {"S": "k1"}}
    assert records[1]["dynamodb"]["NewImage"] == {"id": {"S": "k1"}, "n": {"N": "1"}}


def test_partiql_in_batches_and_transactions(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    inserts = [
        {"Statement": f"INSERT INTO \"{table.name}\" VALUE {{'id': '{key}'}}"} for key in "aab"
    ]
    dynamodb.batch_execute_statement(Statements=inserts)
    changes = [
        {"Statement": f"UPDATE \"{table.name}\" SET n=1 WHERE id='a'"},
        {"Statement": f"DELETE FROM \"{table.name}\" WHERE id='b'"},
    ]
    dynamodb.execute_transaction(TransactStatements=changes, ClientRequestToken="once")
    dynamodb.execute_transaction(TransactStatements=changes, ClientRequestToken="once")
    with pytest.raises(ClientError, match="TransactionCanceled"):
        dynamodb.execute_transaction(
            TransactStatements=[
                {"Statement": f"UPDATE \"{table.name}\" SET n=2 WHERE id='a'"},
                {"Statement": f"UPDATE \"{table.name}\" SET n=2 WHERE id='nothing'"},
            ]
        )
    names = [
        (record["eventName"], record["dynamodb"]["Keys"]["id"]["S"])
        for record in table.stream_records()
    ]
    assert names == [("INSERT", "a"), ("INSERT", "b"), ("MODIFY", "a"), ("REMOVE", "b")]


def test_an_expired_item_is_deleted_by_the_service(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    dynamodb.update_time_to_live(
        TableName=table.name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )
    now = int(time.time())
    for key, value in {
        "past": {"N": str(now - 100)},
        "future": {"N": str(now + 3600)},
        "text": {"S": str(now - 100)},
        "long past": {"N": "1"},
    }.items():
        dynamodb.put_item(TableName=table.name, Item={"id": {"S": key}, "expires": value})
    wait_until(lambda: len(table.stream_records()) == 5, "the deletion")
    record = table.stream_records()[-1]
    assert record["eventName"] == "REMOVE"
    assert record["dynamodb"]["Keys"] == {"id": {"S": "past"}}
    assert record["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    event = lambda_event([record], table.describe()["LatestStreamArn"])
    assert read_record(event["Records"][0]).expired
    dynamodb.delete_item(TableName=table.name, Key={"id": {"S": "future"}})
    assert "userIdentity" not in table.stream_records()[-1]


def test_the_days_that_are_recoverable(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")

    def recovery() -> dict[str, Any]:
        described = dynamodb.describe_continuous_backups(TableName=table.name)
        backups: dict[str, Any] = described["ContinuousBackupsDescription"]
        return dict(backups["PointInTimeRecoveryDescription"])

    assert "RecoveryPeriodInDays" not in recovery()
    for specification, days in (
        ({"PointInTimeRecoveryEnabled": True}, 35),
        ({"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}, 7),
    ):
        dynamodb.update_continuous_backups(
            TableName=table.name, PointInTimeRecoverySpecification=specification
        )
        assert recovery()["RecoveryPeriodInDays"] == days


def test_a_repeated_request_for_an_export_starts_none(table: StreamedTable) -> None:
    dynamodb = table.client("dynamodb")
    dynamodb.update_continuous_backups(
        TableName=table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    arn = table.describe()["TableArn"]
    started = [
        dynamodb.export_table_to_point_in_time(
            TableArn=arn, S3Bucket=table.name, ClientToken="once"
        )["ExportDescription"]["ExportArn"]
        for _ in range(3)
    ]
    assert len(set(started)) == 1

    def described() -> dict[str, Any]:
        response = dynamodb.describe_export(ExportArn=started[0])
        description: dict[str, Any] = response["ExportDescription"]
        return description

    wait_until(lambda: described()["ExportStatus"] == "COMPLETED", "the end of the export")
    assert (described()["ItemCount"], described()["BilledSizeBytes"]) == (0, 0)
    objects = table.client("s3").list_objects_v2(Bucket=table.name)["Contents"]
    assert len([o for o in objects if o["Key"].endswith("manifest-summary.json")]) == 1
