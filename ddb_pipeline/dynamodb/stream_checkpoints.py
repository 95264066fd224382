"""Checkpoints of a stream, one DynamoDB item per shard: position, end, and the reader's lease.

Every write is conditional on the lease, so that only one of two readers moves a position. A lease
ends by the clock. If the readers' clocks differ by more than a lease's duration, records may be
delivered twice; none is lost.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

LEASE_SECONDS = 300.0
EXPIRY_SECONDS = 7 * 24 * 3600
"""Seconds from an item's last write to its expiry; a stream stores records for only a day."""

CONDITION_FAILED = "ConditionalCheckFailedException"

TAKE = "SET #owner = :owner, lease_until = :until, expires_at = :expires"
FREE_OR_OURS = "attribute_not_exists(lease_until) OR lease_until < :now OR #owner = :owner"
OURS = "#owner = :owner"


class CheckpointError(DdbPipelineError):
    """The checkpoint table cannot be used; the message names it and what to do."""


class LeaseLostError(Exception):
    """Another reader has leased the shard, and delivers its next records."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a shard was delivered.

    Attributes:
        sequence_number: of the last record delivered; None before the first.
        finished: whether the shard has ended and all its records were delivered.
        delivered_until: all its changes before this moment were delivered, epoch seconds; 0 where
            no run has stored that.
        written_at: when the item was last written, epoch seconds.
    """

    sequence_number: int | None = None
    finished: bool = False
    delivered_until: float = field(default=0.0, compare=False)
    written_at: float = field(default=0.0, compare=False)


class Checkpoints:
    """The checkpoints of one stream, for the reader named ``owner``."""

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
                response = self._dynamodb.query(**request)
            except ClientError as error:
                raise self._translated(error, "dynamodb:Query") from error
            found |= {item["shard_id"]["S"]: _checkpoint(item) for item in response["Items"]}
            if "LastEvaluatedKey" not in response:
                return found
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def take(self, shard_id: str) -> Checkpoint | None:
        """Lease a shard and return its checkpoint; None while another reader has the lease.

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
        """Extend the lease of a shard.

        Raises:
            LeaseLostError: another reader has the lease.
            CheckpointError: the table cannot be written.
        """
        self._update(shard_id, TAKE, OURS, self._lease())

    def advance(
        self,
        shard_id: str,
        sequence_number: int | None,
        *,
        finished: bool,
        delivered_until: float | None = None,
    ) -> None:
        """Store the position up to which a leased shard was delivered, and extend the lease.

        Raises:
            LeaseLostError: another reader has the lease; the position is not changed.
            CheckpointError: the table cannot be written.
        """
        change, values = TAKE, {**self._lease(), ":finished": {"BOOL": finished}}
        change += ", finished = :finished"
        if sequence_number is not None:
            # A string: sequence numbers have up to 40 digits, DynamoDB's numbers only 38.
            change += ", sequence_number = :number"
            values[":number"] = {"S": str(sequence_number)}
        if delivered_until is not None:
            change += ", delivered_until = :delivered"
            values[":delivered"] = _number(delivered_until)
        self._update(shard_id, change, OURS, values)

    def release(self, shard_id: str) -> None:
        """End the lease of a shard; does nothing if another reader has it."""
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
            ":expires": {"N": str(int(now) + EXPIRY_SECONDS)},
        }

    def _update(
        self, shard_id: str, change: str, condition: str, values: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        try:
            response = self._dynamodb.update_item(
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
        return response["Attributes"]

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
        delivered_until=float(item.get("delivered_until", {}).get("N", 0)),
        written_at=float(item["expires_at"]["N"]) - EXPIRY_SECONDS if "expires_at" in item else 0.0,
    )


def _number(seconds: float) -> dict[str, str]:
    return {"N": f"{seconds:.3f}"}
