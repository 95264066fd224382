"""The overlay's event source mapping and export, held by clients and the project's readers."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.dynamodb.stream_read import parse_failure, read_failed_batch
from ddb_pipeline.embedded.services.lambda_ import done, given_up
from ddb_pipeline.export.manifest import read_export
from ddb_pipeline.export.read import read_items
from ddb_pipeline_tests.support.export_bucket import s3_objects

pytestmark = pytest.mark.embedded

Create = Callable[[str], Any]

FUNCTION = """
import json, os, boto3

def handler(event, context):
    s3 = boto3.client("s3")
    bucket = os.environ["BUCKET"]
    ids = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
    calls = s3.list_objects_v2(Bucket=bucket).get("KeyCount", 0)
    s3.put_object(Bucket=bucket, Key=f"{calls:03d}", Body=json.dumps(ids).encode())
    mode = os.environ["MODE"]
    if mode == "raise":
        raise RuntimeError("always")
    if mode == "third" and calls == 0 and len(ids) > 2:
        number = event["Records"][2]["dynamodb"]["SequenceNumber"]
        return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}
"""


def records(*numbers: str) -> list[dict[str, Any]]:
    return [{"dynamodb": {"SequenceNumber": number}} for number in numbers]


def failures(*identifiers: Any) -> dict[str, Any]:
    return {"body": {"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}}


@pytest.mark.parametrize(
    ("case", "result", "partial", "expected"),
    [
        ("nothing returned", {"body": None}, True, 3),
        ("no failures", failures(), True, 3),
        ("the second failed", failures("2"), True, 1),
        ("the lowest of several", failures("3", "2"), True, 1),
        ("the first", failures("1"), True, 0),
        ("an unknown identifier fails all", failures("9"), True, 0),
        ("an empty identifier fails all", failures(""), True, 0),
        ("a missing identifier fails all", {"body": {"batchItemFailures": [{}]}}, True, 0),
        ("a null identifier fails all", failures(None), True, 0),
        ("not asked for partial responses", failures("2"), False, 3),
        ("an exception", {"error": True, "body": {}}, True, 0),
    ],
)
def test_done(case: str, result: dict[str, Any], partial: bool, expected: int) -> None:
    assert done(records("1", "2", "3"), result, partial) == expected, case


@pytest.mark.parametrize(
    ("mapping", "attempts", "age", "expected"),
    [
        ({}, 1000, 10**6, ""),
        ({"MaximumRetryAttempts": 2}, 2, 0, ""),
        ({"MaximumRetryAttempts": 2}, 3, 0, "RetryAttemptsExhausted"),
        ({"MaximumRetryAttempts": 0}, 1, 0, "RetryAttemptsExhausted"),
        ({"MaximumRecordAgeInSeconds": 60}, 1, 59, ""),
        ({"MaximumRecordAgeInSeconds": 60}, 1, 61, "RecordAgeExceeded"),
        ({"MaximumRecordAgeInSeconds": -1}, 1, 10**6, ""),
    ],
)
def test_given_up(mapping: dict[str, int], attempts: int, age: int, expected: str) -> None:
    read = [{"dynamodb": {"ApproximateCreationDateTime": 1000.0}}]
    assert given_up(mapping, attempts, read, 1000.0 + age) == expected


@pytest.fixture
def table(aws_client: Create) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    aws_client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    aws_client("s3").create_bucket(Bucket=name)
    return name


def put(aws_client: Create, table: str, count: int) -> None:
    for number in range(count):
        aws_client("dynamodb").put_item(TableName=table, Item={"id": {"S": str(number)}})


def create_function(aws_client: Create, name: str, mode: str, **mapping: Any) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("function.py", FUNCTION)
    aws_client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="function.handler",
        Role="arn:aws:iam::000000000000:role/function",
        Timeout=20,
        Code={"ZipFile": body.getvalue()},
        Environment={"Variables": {"BUCKET": name, "MODE": mode}},
    )
    stream = aws_client("dynamodb").describe_table(TableName=name)["Table"]["LatestStreamArn"]
    aws_client("lambda").create_event_source_mapping(
        FunctionName=name, EventSourceArn=stream, StartingPosition="TRIM_HORIZON", **mapping
    )


def batches(aws_client: Create, bucket: str) -> list[list[str]]:
    s3 = aws_client("s3")
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    bodies = (s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in listed)
    return [json.loads(body) for body in bodies]


def wait(done: Callable[[], bool], seconds: float = 30) -> None:
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < seconds
        time.sleep(0.1)


def test_a_reported_failure_is_where_the_next_batch_begins(aws_client: Create, table: str) -> None:
    put(aws_client, table, 5)
    create_function(aws_client, table, "third", FunctionResponseTypes=["ReportBatchItemFailures"])
    wait(lambda: len(batches(aws_client, table)) >= 2)
    assert batches(aws_client, table)[:2] == [["0", "1", "2", "3", "4"], ["2", "3", "4"]]


def test_a_batch_given_up_on_is_named_in_the_queue_and_can_be_read_again(
    aws_client: Create, table: str
) -> None:
    sqs = aws_client("sqs")
    url = sqs.create_queue(QueueName=table)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    put(aws_client, table, 3)
    create_function(
        aws_client,
        table,
        "raise",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": arn["QueueArn"]}},
    )
    messages: list[Any] = []

    def told() -> bool:
        messages.extend(sqs.receive_message(QueueUrl=url).get("Messages", []))
        return bool(messages)

    wait(told)
    batch = parse_failure(messages[0]["Body"])
    assert batch.reason == "RetryAttemptsExhausted"
    assert '"0"' not in messages[0]["Body"]
    again = read_failed_batch(aws_client("dynamodbstreams"), batch)
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in again] == ["0", "1", "2"]
    assert batches(aws_client, table) == [["0", "1", "2"]] * 2


def enable_recovery(aws_client: Create, table: str) -> None:
    aws_client("dynamodb").update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def test_an_export_has_the_real_layout(aws_client: Create, table: str) -> None:
    dynamodb = aws_client("dynamodb")
    enable_recovery(aws_client, table)
    put(aws_client, table, 250)
    dynamodb.put_item(TableName=table, Item={"id": {"S": "s"}, "raw": {"B": b"\x00"}})
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    started = dynamodb.export_table_to_point_in_time(
        TableArn=arn, S3Bucket=table, S3Prefix="exports"
    )["ExportDescription"]

    def described() -> dict[str, Any]:
        answer = dynamodb.describe_export(ExportArn=started["ExportArn"])
        description: dict[str, Any] = answer["ExportDescription"]
        return description

    wait(lambda: described()["ExportStatus"] != "IN_PROGRESS")
    finished = described()
    assert finished["ExportStatus"] == "COMPLETED"
    assert finished["ItemCount"] == 251
    folder = finished["ExportManifest"].rpartition("manifest-summary.json")[0]
    assert folder.startswith("exports/AWSDynamoDB/")
    opened = s3_objects(aws_client("s3"), table)
    export = read_export(opened, folder)
    items = [item for file in export.files for item in read_items(opened, file)]
    assert {item["id"]["S"] for item in items} == {*map(str, range(250)), "s"}
    assert {"id": {"S": "s"}, "raw": {"B": "AA=="}} in items


def test_without_recovery_an_export_is_refused(aws_client: Create, table: str) -> None:
    arn = aws_client("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
    with pytest.raises(ClientError) as error:
        aws_client("dynamodb").export_table_to_point_in_time(TableArn=arn, S3Bucket=table)
    assert error.value.response["Error"]["Code"] == "PointInTimeRecoveryUnavailableException"


def test_stream_records_look_like_dynamodbs(aws_client: Create, table: str) -> None:
    put(aws_client, table, 1)
    streams = aws_client("dynamodbstreams")
    stream = aws_client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]
    iterator = streams.get_shard_iterator(
        StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    (record,) = streams.get_records(ShardIterator=iterator)["Records"]
    assert record["dynamodb"]["SizeBytes"] > 0
    number = record["dynamodb"]["SequenceNumber"]
    assert 21 <= len(number) <= 40
    assert not number.startswith("0")
