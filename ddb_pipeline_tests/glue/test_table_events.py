"""Table-change events are taken from their queues, some at a time."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ddb_pipeline.glue.table_events import QueueMissingError, take_events


@pytest.fixture
def sqs() -> Iterator[Any]:
    with mock_aws():
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        yield boto3.client("sqs", "eu-west-1", **keys)


def send(sqs: Any, queue: str, count: int) -> None:
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    for number in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))


def test_events_of_all_queues_are_taken_once(sqs: Any) -> None:
    send(sqs, "logs", 12)
    send(sqs, "orders", 3)
    assert take_events(sqs, ["logs", "orders", "logs"]) == 15
    assert take_events(sqs, ["logs", "orders"]) == 0


def test_the_events_of_one_call_are_limited(sqs: Any) -> None:
    send(sqs, "logs", 45)
    assert [take_events(sqs, ["logs"], limit=20) for _ in range(4)] == [20, 20, 5, 0]


def test_a_missing_queue_is_named(sqs: Any) -> None:
    with pytest.raises(QueueMissingError, match="'logs' does not exist"):
        take_events(sqs, ["logs"])
