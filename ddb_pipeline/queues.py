"""Messages of SQS queues: received, and deleted once they are dealt with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

MESSAGES_PER_QUEUE = 100
MESSAGES_PER_REQUEST = 10
"""The most that ReceiveMessage returns and DeleteMessageBatch takes (SQS API reference)."""


class QueueMissingError(DdbPipelineError):
    """A queue does not exist; the message names it."""


class Message(NamedTuple):
    """A received message; ``receipt`` is what deletes it."""

    message_id: str
    body: str
    receipt: str


class Queue:
    """One queue, by its name.

    Raises:
        QueueMissingError: it does not exist.
    """

    def __init__(self, sqs: "SQSClient", name: str) -> None:
        self._sqs = sqs
        try:
            self._url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if error_code(error).endswith(("NonExistentQueue", "QueueDoesNotExist")):
                raise QueueMissingError(
                    f"SQS queue {name!r} does not exist. Deploy the template; a queue of another "
                    "name is set in the pipeline's configuration."
                ) from error
            raise

    def receive(self) -> list[Message]:
        """Up to ten messages; they become visible again unless they are deleted."""
        received = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=MESSAGES_PER_REQUEST, WaitTimeSeconds=0
        )
        return [
            Message(message["MessageId"], message["Body"], message["ReceiptHandle"])
            for message in received.get("Messages", [])
        ]

    def delete(self, messages: Iterable[Message]) -> None:
        """Delete up to ten received messages."""
        receipts = [message.receipt for message in messages]
        if receipts:
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(position), "ReceiptHandle": receipt}
                    for position, receipt in enumerate(receipts)
                ],
            )

    def take(self, limit: int = MESSAGES_PER_QUEUE) -> list[str]:
        """Receive and delete messages, about ``limit`` at most; their bodies."""
        bodies: list[str] = []
        while len(bodies) < limit:
            messages = self.receive()
            if not messages:
                break
            self.delete(messages)
            bodies += (message.body for message in messages)
        return bodies
