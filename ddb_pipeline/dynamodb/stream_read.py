"""DynamoDB Streams read by boto3: shards in order, and the records of a failed Lambda batch.

A Lambda event source mapping that gives up on a batch tells its on-failure destination where the
records are, not what they are. They can be read again from the stream for 24 hours.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

MAX_PAGE = 1000
"""Records in an answer of GetRecords, at most (DynamoDB Streams API reference)."""
EMPTY_READS = 5
"""GetRecords may answer with nothing on the way; an open shard is at its end after so many."""


class StreamReadError(Exception):
    """A stream cannot be read; the message names the shard and what to do."""


class RecordsTrimmedError(StreamReadError):
    """Records are older than the stream keeps them, 24 hours."""


class Shard(NamedTuple):
    """A shard; ``last`` is None while it is open."""

    shard_id: str
    parent_id: str
    first: int
    last: int | None


class FailedBatch(NamedTuple):
    """Where the records of a batch are that an event source mapping gave up on."""

    stream_arn: str
    shard_id: str
    first: int
    last: int
    size: int
    reason: str


def ordered_shards(shards: Iterable[Shard]) -> tuple[Shard, ...]:
    """Parents before their children, else by first sequence number.

    A parent that is not among them has been trimmed: its child comes as one without parent.

    Raises:
        StreamReadError: shards descend from each other in a circle.
    """
    waiting = sorted(shards, key=lambda shard: (shard.first, shard.shard_id))
    ordered: list[Shard] = []
    unread = {shard.shard_id for shard in waiting}
    while waiting:
        ready = [shard for shard in waiting if shard.parent_id not in unread]
        if not ready:
            names = ", ".join(shard.shard_id for shard in waiting)
            raise StreamReadError(f"Shards are each other's parents: {names}.")
        ordered.extend(ready)
        unread.difference_update(shard.shard_id for shard in ready)
        waiting = [shard for shard in waiting if shard.shard_id in unread]
    return tuple(ordered)


def describe_shards(streams: "DynamoDBStreamsClient", stream_arn: str) -> tuple[Shard, ...]:
    """All shards of a stream, parents first.

    Raises:
        StreamReadError: the stream is missing or may not be read.
    """
    request: dict[str, Any] = {"StreamArn": stream_arn}
    shards: list[Shard] = []
    while True:
        try:
            description = streams.describe_stream(**request)["StreamDescription"]
        except ClientError as error:
            raise _not_described(error, stream_arn) from error
        shards.extend(_shard(shard) for shard in description["Shards"])
        if "LastEvaluatedShardId" not in description:
            return ordered_shards(shards)
        request["ExclusiveStartShardId"] = description["LastEvaluatedShardId"]


def _not_described(error: ClientError, stream_arn: str) -> StreamReadError:
    if error_code(error) in DENIED_CODES:
        return StreamReadError(
            f"Reading the stream is denied. Grant dynamodb:DescribeStream on {stream_arn} "
            "to this role."
        )
    return StreamReadError(f"Stream {stream_arn} cannot be described: {error}")


def read_stream(streams: "DynamoDBStreamsClient", stream_arn: str) -> Iterator[Mapping[str, Any]]:
    """All records that the stream holds now, each item's changes in their order.

    Raises:
        StreamReadError: see ``read_shard``.
    """
    for shard in describe_shards(streams, stream_arn):
        yield from read_shard(streams, stream_arn, shard.shard_id)


def read_shard(
    streams: "DynamoDBStreamsClient",
    stream_arn: str,
    shard_id: str,
    *,
    first: int | None = None,
    last: int | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Records of a shard as ``get_records`` answers, from ``first`` to ``last``, both included.

    Without ``first`` from the oldest one kept, without ``last`` to the shard's present end.

    Raises:
        RecordsTrimmedError: the stream no longer holds ``first``.
    """
    reader = ShardReader(streams, stream_arn, shard_id, first=first)
    empty = 0
    while not reader.closed and empty < EMPTY_READS:
        page = reader.page()
        for record in page:
            number = int(record["dynamodb"]["SequenceNumber"])
            if last is not None and number > last:
                return
            yield record
        if last is not None and reader.seen is not None and reader.seen >= last:
            return
        empty = 0 if page else empty + 1


def read_failed_batch(
    streams: "DynamoDBStreamsClient", batch: FailedBatch
) -> list[Mapping[str, Any]]:
    """The records of a batch that an event source mapping gave up on.

    Raises:
        RecordsTrimmedError: some of them are gone from the stream.
    """
    records = list(
        read_shard(streams, batch.stream_arn, batch.shard_id, first=batch.first, last=batch.last)
    )
    if len(records) < batch.size:
        raise RecordsTrimmedError(
            f"Shard {batch.shard_id} holds {len(records)} of the {batch.size} records from "
            f"{batch.first} to {batch.last}. Restore the items from an export of the table."
        )
    return records


def parse_failure(body: str) -> FailedBatch:
    """What an event source mapping sends to its on-failure destination for a DynamoDB stream.

    Members: AWS Lambda developer guide, "Retain discarded records for a DynamoDB event source".

    Raises:
        StreamReadError: the message is another one.
    """
    try:
        message = json.loads(body)
        where = message["DDBStreamBatchInfo"]
        return FailedBatch(
            stream_arn=where["streamArn"],
            shard_id=where["shardId"],
            first=int(where["startSequenceNumber"]),
            last=int(where["endSequenceNumber"]),
            size=int(where["batchSize"]),
            reason=str(message.get("requestContext", {}).get("condition", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StreamReadError(
            f"Not a failed batch of a DynamoDB stream ({error!r}). Is the queue used for "
            "something else?"
        ) from error


def lambda_event(records: Iterable[Mapping[str, Any]], stream_arn: str) -> dict[str, Any]:
    """Records of ``get_records`` as the event that the streaming function takes."""
    return {"Records": [_lambda_record(record, stream_arn) for record in records]}


class ShardReader:
    """Reads a shard page by page; an iterator that has expired (15 minutes) is replaced.

    Begins at ``first``, or behind ``after``, or else with the oldest record kept.

    Attributes:
        seen: sequence number of the last record read.
        closed: whether the shard has ended and all of it was read.
    """

    def __init__(
        self,
        streams: "DynamoDBStreamsClient",
        stream_arn: str,
        shard_id: str,
        *,
        first: int | None = None,
        after: int | None = None,
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._shard_id = shard_id
        self._first = first
        self._iterator = ""
        self.seen = after
        self.closed = False

    def page(self, limit: int = MAX_PAGE) -> Sequence[Mapping[str, Any]]:
        """The next records, at most ``limit`` and 1 MB; none does not mean that none follow.

        Raises:
            RecordsTrimmedError: the stream no longer holds what comes next.
            StreamReadError: the shard cannot be read.
        """
        try:
            answer = self._records(limit)
        except ClientError as error:
            raise self._translated(error) from error
        self._iterator = answer.get("NextShardIterator") or ""
        self.closed = not self._iterator
        records: Sequence[Mapping[str, Any]] = answer["Records"]
        if records:
            self.seen = int(records[-1]["dynamodb"]["SequenceNumber"])
        return records

    def _records(self, limit: int) -> Any:
        if not self._iterator:
            self._iterator = self._new_iterator()
        try:
            return self._streams.get_records(ShardIterator=self._iterator, Limit=limit)
        except ClientError as error:
            if error_code(error) != "ExpiredIteratorException":
                raise
        self._iterator = self._new_iterator()
        return self._streams.get_records(ShardIterator=self._iterator, Limit=limit)

    def _new_iterator(self) -> str:
        where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if self.seen is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": str(self.seen)}
        elif self._first is not None:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": str(self._first)}
        answer = self._streams.get_shard_iterator(
            StreamArn=self._stream_arn, ShardId=self._shard_id, **where
        )
        return answer["ShardIterator"]

    def _translated(self, error: ClientError) -> StreamReadError:
        code = error_code(error)
        if code == "TrimmedDataAccessException":
            return RecordsTrimmedError(
                f"Shard {self._shard_id} no longer holds what was asked for: a stream keeps "
                "records for 24 hours. Restore the items from an export of the table."
            )
        if code in DENIED_CODES:
            return StreamReadError(
                f"Reading shard {self._shard_id} is denied. Grant dynamodb:GetShardIterator and "
                f"dynamodb:GetRecords on {self._stream_arn} to this role."
            )
        return StreamReadError(f"Shard {self._shard_id} of {self._stream_arn}: {error}")


def _shard(shard: Mapping[str, Any]) -> Shard:
    numbers = shard.get("SequenceNumberRange") or {}
    last = numbers.get("EndingSequenceNumber")
    return Shard(
        shard_id=shard["ShardId"],
        parent_id=shard.get("ParentShardId") or "",
        first=int(numbers.get("StartingSequenceNumber") or 0),
        last=None if last is None else int(last),
    )


def _lambda_record(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    event: dict[str, Any] = _json_form(record)
    identity = event.pop("userIdentity", None)
    if identity:
        event["userIdentity"] = {name[0].lower() + name[1:]: v for name, v in identity.items()}
    return {**event, "eventSourceARN": stream_arn}


def _json_form(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json_form(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_form(element) for element in value]
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode("ascii")
    return value.timestamp() if isinstance(value, datetime) else value
