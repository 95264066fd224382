"""Where reading of a stream stands, a DynamoDB item a shard: position, end, and who reads it.

Every write is conditional on the lease, so that of two readers one alone moves a position. A lease
ends by the clock; clocks that differ by more than it lasts cost records delivered twice, never
records lost.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

LEASE_SECONDS = 300.0
KEPT_SECONDS = 7 * 24 * 3600
"""An item expires so long after its last write: a stream keeps records for a day."""

CONDITION_FAILED = "ConditionalCheckFailedException"

TAKE = "SET #owner = :owner, lease_until = :until, expires_at = :expires"
FREE_OR_OURS = "attribute_not_exists(lease_until) OR lease_until < :now OR #owner = :owner"
OURS = "#owner = :owner"


class CheckpointError(Exception):
    """The checkpoint table cannot be used; the message names it and says what to do."""


class LeaseLostError(Exception):
    """Another reader has taken the shard over; what comes next is its to deliver."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a shard was delivered.

    Attributes:
        sequence_number: of the last record delivered, None before the first.
        finished: whether the shard has ended and all of it was delivered.
    """

    sequence_number: int | None = None
    finished: bool = False


class Checkpoints:
    """The checkpoints of one stream, as one reader, ``owner``, sees them."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        table: str,
        stream_arn: str,
        owner: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._stream_arn = stream_arn
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._clock = clock

    def read(self) -> dict[str, Checkpoint]:
        """The checkpoints by shard id.

        Raises:
            CheckpointError: the table is missing or may not be read.
        """
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "stream_arn = :arn",
            "ExpressionAttributeValues": {":arn": {"S": self._stream_arn}},
            "ConsistentRead": True,
        }
        found: dict[str, Checkpoint] = {}
        while True:
            try:
                answer = self._dynamodb.query(**request)
            except ClientError as error:
                raise self._translated(error, "dynamodb:Query") from error
            found |= {item["shard_id"]["S"]: _checkpoint(item) for item in answer["Items"]}
            if "LastEvaluatedKey" not in answer:
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def take(self, shard_id: str) -> Checkpoint | None:
        """Lease a shard and tell where it stands; None while another reader has it.

        Raises:
            CheckpointError: the table is missing or may not be written.
        """
        try:
            item = self._update(
                shard_id, TAKE, FREE_OR_OURS, {":now": _number(self._clock()), **self._lease()}
            )
        except LeaseLostError:
            return None
        return _checkpoint(item)

    def renew(self, shard_id: str) -> None:
        """Hold a leased shard for another while.

        Raises:
            LeaseLostError: another reader has it.
        """
        self._update(shard_id, TAKE, OURS, self._lease())

    def advance(self, shard_id: str, sequence_number: int | None, *, finished: bool) -> None:
        """Note that a leased shard was delivered so far, and hold it for another while.

        Raises:
            LeaseLostError: another reader has it; its position stands.
        """
        change, values = TAKE, {**self._lease(), ":finished": {"BOOL": finished}}
        change += ", finished = :finished"
        if sequence_number is not None:
            # Text: up to 40 digits, and DynamoDB's numbers have 38.
            change += ", sequence_number = :number"
            values[":number"] = {"S": str(sequence_number)}
        self._update(shard_id, change, OURS, values)

    def release(self, shard_id: str) -> None:
        """Leave a shard to others; nothing happens where they have it already."""
        try:
            self._update(
                shard_id, "REMOVE #owner, lease_until", OURS, {":owner": {"S": self._owner}}
            )
        except LeaseLostError:
            return

    def _lease(self) -> dict[str, Any]:
        now = self._clock()
        return {
            ":owner": {"S": self._owner},
            ":until": _number(now + self._lease_seconds),
            ":expires": {"N": str(int(now) + KEPT_SECONDS)},
        }

    def _update(
        self, shard_id: str, change: str, condition: str, values: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key={"stream_arn": {"S": self._stream_arn}, "shard_id": {"S": shard_id}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=dict(values),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                raise LeaseLostError(shard_id) from error
            raise self._translated(error, "dynamodb:UpdateItem") from error
        return answer["Attributes"]

    def _translated(self, error: ClientError, permission: str) -> CheckpointError:
        code = error_code(error)
        if code == "ResourceNotFoundException":
            return CheckpointError(
                f"Checkpoint table {self._table!r} does not exist. Deploy the pipeline with "
                'stream_reader = "consumer".'
            )
        if code in DENIED_CODES:
            return CheckpointError(
                f"Checkpoint table {self._table!r}: access denied. Grant {permission} to this role."
            )
        return CheckpointError(f"Checkpoint table {self._table!r}: {error}")


def _checkpoint(item: Mapping[str, Any]) -> Checkpoint:
    number = item.get("sequence_number")
    return Checkpoint(
        sequence_number=None if number is None else int(number["S"]),
        finished=bool(item.get("finished", {}).get("BOOL")),
    )


def _number(seconds: float) -> dict[str, str]:
    return {"N": f"{seconds:.3f}"}
