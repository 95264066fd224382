"""Glue's table-change events, which EventBridge puts into SQS queues."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

MESSAGES_PER_QUEUE = 100
MESSAGES_PER_REQUEST = 10
"""The most that ReceiveMessage returns and DeleteMessageBatch takes (SQS API reference)."""


class QueueMissingError(DdbPipelineError):
    """A queue of table-change events does not exist; the message names it."""


def take_events(sqs: "SQSClient", queues: Iterable[str], *, limit: int = MESSAGES_PER_QUEUE) -> int:
    """Receive and delete the messages of these queues, at most ``limit`` of each; their number.

    Their content is not read: events may be lost, repeated or late, and the table itself shows
    what is to be done.

    Raises:
        QueueMissingError: a queue does not exist.
    """
    return sum(_take(sqs, _queue_url(sqs, queue), limit) for queue in sorted(set(queues)))


def _queue_url(sqs: "SQSClient", queue: str) -> str:
    try:
        return sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    except ClientError as error:
        if error_code(error).endswith(("NonExistentQueue", "QueueDoesNotExist")):
            raise QueueMissingError(
                f"SQS queue {queue!r} does not exist. Deploy the template, or set "
                "change_queue in the pipeline's configuration."
            ) from error
        raise


def _take(sqs: "SQSClient", url: str, limit: int) -> int:
    taken = 0
    while taken < limit:
        messages = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=MESSAGES_PER_REQUEST, WaitTimeSeconds=0
        ).get("Messages", [])
        if not messages:
            break
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
                for position, message in enumerate(messages)
            ],
        )
        taken += len(messages)
    return taken
