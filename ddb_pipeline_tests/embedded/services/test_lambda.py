"""Event source mappings of DynamoDB streams: partial batches, retries, the failure destination."""

import io
import json
import zipfile
from typing import Any

import pytest

from ddb_pipeline.dynamodb.stream_read import parse_failure, read_failed_batch
from ddb_pipeline.embedded.services.lambda_ import discard_condition, processed_count
from ddb_pipeline_tests.embedded.services.conftest import StreamedTable
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

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
"""Stores the ids of each batch in an object of its own."""


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
        ("an unknown one beside a known one fails all", failures("3", "9"), True, 0),
        ("an empty identifier fails all", failures(""), True, 0),
        ("a missing identifier fails all", {"body": {"batchItemFailures": [{}]}}, True, 0),
        ("a null identifier fails all", failures(None), True, 0),
        ("partial responses are not enabled", failures("2"), False, 3),
        ("an exception", {"error": True, "body": {}}, True, 0),
    ],
)
def test_processed_count(case: str, result: dict[str, Any], partial: bool, expected: int) -> None:
    assert processed_count(records("1", "2", "3"), result, partial) == expected, case


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
def test_discard_condition(mapping: dict[str, int], attempts: int, age: int, expected: str) -> None:
    read = [{"dynamodb": {"ApproximateCreationDateTime": 1000.0}}]
    assert discard_condition(mapping, attempts, read, 1000.0 + age) == expected


def create_function(table: StreamedTable, mode: str, **mapping: Any) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("function.py", FUNCTION)
    table.client("lambda").create_function(
        FunctionName=table.name,
        Runtime="python3.12",
        Handler="function.handler",
        Role="arn:aws:iam::000000000000:role/function",
        Timeout=20,
        Code={"ZipFile": body.getvalue()},
        Environment={"Variables": {"BUCKET": table.name, "MODE": mode}},
    )
    table.client("lambda").create_event_source_mapping(
        FunctionName=table.name,
        EventSourceArn=table.describe()["LatestStreamArn"],
        StartingPosition="TRIM_HORIZON",
        **mapping,
    )


def batches(table: StreamedTable) -> list[list[str]]:
    s3 = table.client("s3")
    listed = s3.list_objects_v2(Bucket=table.name).get("Contents", [])
    bodies = (s3.get_object(Bucket=table.name, Key=entry["Key"])["Body"].read() for entry in listed)
    return [json.loads(body) for body in bodies]


def test_the_next_batch_begins_at_a_reported_failure(table: StreamedTable) -> None:
    table.put(5)
    create_function(table, "third", FunctionResponseTypes=["ReportBatchItemFailures"])
    wait_until(lambda: len(batches(table)) >= 2, "two batches")
    assert batches(table)[:2] == [["0", "1", "2", "3", "4"], ["2", "3", "4"]]


def test_a_discarded_batch_is_described_in_the_queue_and_can_be_read_again(
    table: StreamedTable,
) -> None:
    sqs = table.client("sqs")
    url = sqs.create_queue(QueueName=table.name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    table.put(3)
    create_function(
        table,
        "raise",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": arn["QueueArn"]}},
    )
    messages: list[Any] = []

    def received() -> bool:
        messages.extend(sqs.receive_message(QueueUrl=url).get("Messages", []))
        return bool(messages)

    wait_until(received, "a message in the queue")
    batch = parse_failure(messages[0]["Body"])
    assert batch.reason == "RetryAttemptsExhausted"
    assert '"0"' not in messages[0]["Body"]
    again = read_failed_batch(table.client("dynamodbstreams"), batch)
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in again] == ["0", "1", "2"]
    assert batches(table) == [["0", "1", "2"]] * 2
