"""Messages are taken from queues once, some at a time."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ddb_pipeline.queues import Queue, QueueMissingError


@pytest.fixture
def sqs() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "sqs", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
        )


def send(sqs: Any, queue: str, count: int) -> None:
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    for number in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))


def test_messages_are_taken_once(sqs: Any) -> None:
    send(sqs, "logs", 12)
    assert sorted(map(int, Queue(sqs, "logs").take())) == list(range(12))
    assert Queue(sqs, "logs").take() == []


def test_the_messages_of_one_call_are_limited(sqs: Any) -> None:
    send(sqs, "logs", 45)
    queue = Queue(sqs, "logs")
    assert [len(queue.take(20)) for _ in range(4)] == [20, 20, 5, 0]


def test_a_received_message_stays_until_it_is_deleted(sqs: Any) -> None:
    send(sqs, "logs", 1)
    queue = Queue(sqs, "logs")
    (message,) = queue.receive()
    url = sqs.get_queue_url(QueueName="logs")["QueueUrl"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=0)
    (again,) = queue.receive()
    assert (again.message_id, again.body) == (message.message_id, "0")
    queue.delete([again])
    queue.delete([])
    assert queue.receive() == []


def test_a_missing_queue_is_named(sqs: Any) -> None:
    with pytest.raises(QueueMissingError, match="'logs' does not exist"):
        Queue(sqs, "logs")
