"""Reads DynamoDB Streams with boto3: shards in order, and the records of a failed Lambda batch.

A Lambda event source mapping that gives up on a batch sends the records' sequence numbers to its
on-failure destination, but not the records. The stream stores them for 24 hours.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code
from ddb_pipeline.dynamodb.stream import epoch
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.epoch import epoch_seconds

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

MAX_PAGE = 1000
"""The maximum number of records that GetRecords returns (DynamoDB Streams API reference)."""
MAX_ENVELOPES = 3
"""Services, one after another, that may have passed an on-failure message on."""
EMPTY_READS = 5
"""Consecutive empty pages of an open shard that count as its end. GetRecords may return an empty
page before the end."""


class StreamReadError(DdbPipelineError):
    """A stream cannot be read; the message names the shard, and what to do."""


class RecordsTrimmedError(StreamReadError):
    """Records are older than 24 hours: the stream no longer stores them."""


class Shard(NamedTuple):
    """A shard with its range of sequence numbers; ``last`` is None while the shard is open."""

    shard_id: str
    parent_id: str
    first: int
    last: int | None


class FailedBatch(NamedTuple):
    """The range of the records of a batch that an event source mapping gave up on.

    ``arrived`` are the times of its first and last record, epoch seconds; None if not stated.
    """

    stream_arn: str
    shard_id: str
    first: int
    last: int
    size: int
    reason: str
    arrived: tuple[float, float] | None = None


def ordered_shards(shards: Iterable[Shard]) -> tuple[Shard, ...]:
    """Sort shards: parents before their children, else by first sequence number.

    A parent that is not among the shards was trimmed, so its child counts as having no parent.

    Raises:
        StreamReadError: shards are each other's ancestors.
    """
    pending = sorted(shards, key=lambda shard: (shard.first, shard.shard_id))
    ordered: list[Shard] = []
    unread = {shard.shard_id for shard in pending}
    while pending:
        ready = [shard for shard in pending if shard.parent_id not in unread]
        if not ready:
            names = ", ".join(shard.shard_id for shard in pending)
            raise StreamReadError(f"Shards are each other's parents: {names}.")
        ordered.extend(ready)
        unread.difference_update(shard.shard_id for shard in ready)
        pending = [shard for shard in pending if shard.shard_id in unread]
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


def read_shard(
    streams: "DynamoDBStreamsClient",
    stream_arn: str,
    shard_id: str,
    *,
    first: int | None = None,
    last: int | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Records of a shard as ``get_records`` returns them.

    Args:
        streams: the client.
        stream_arn: the stream.
        shard_id: the shard.
        first: the first sequence number to read; None for the oldest record stored.
        last: the last sequence number to read; None for the newest record.

    Raises:
        RecordsTrimmedError: the stream no longer stores ``first``.
        StreamReadError: the shard cannot be read.
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
        RecordsTrimmedError: the stream no longer stores some of them.
    """
    records = list(
        read_shard(streams, batch.stream_arn, batch.shard_id, first=batch.first, last=batch.last)
    )
    if len(records) < batch.size:
        raise RecordsTrimmedError(
            f"Shard {batch.shard_id} has only {len(records)} of the {batch.size} records from "
            f"{batch.first} to {batch.last}. Restore the items from an export of the table."
        )
    return records


def parse_failure(body: str) -> FailedBatch:
    """Parse the message of an event source mapping to its on-failure destination.

    Members: AWS Lambda developer guide, "Retain discarded records for a DynamoDB event source".
    A message that SNS or EventBridge passed on, without raw delivery or an input path, is read too.

    Raises:
        StreamReadError: it is not such a message for a DynamoDB stream.
    """
    try:
        message = _unwrapped(json.loads(body))
        where = message["DDBStreamBatchInfo"]
        return FailedBatch(
            stream_arn=str(where["streamArn"]),
            shard_id=str(where["shardId"]),
            first=int(where["startSequenceNumber"]),
            last=int(where["endSequenceNumber"]),
            size=int(where["batchSize"]),
            reason=str(message.get("requestContext", {}).get("condition", "")),
            arrived=_arrival(where),
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise StreamReadError(
            f"Not a failed batch of a DynamoDB stream ({type(error).__name__}: {error}). Is the "
            "queue used for something else?"
        ) from error


def _arrival(where: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        first, last = (
            epoch_seconds(epoch(where[f"approximateArrivalOf{which}Record"]))
            for which in ("First", "Last")
        )
    except (KeyError, ValueError):
        return None
    return first, last


def _unwrapped(message: Any) -> Any:
    """The message inside those of the services that passed it on.

    SNS puts it as text into ``Message`` (Amazon SNS developer guide, "Raw message delivery"),
    EventBridge as an object into ``detail``.
    """
    for _ in range(MAX_ENVELOPES):
        if not isinstance(message, Mapping) or "DDBStreamBatchInfo" in message:
            break
        if isinstance(message.get("Message"), str):
            message = json.loads(message["Message"])
        elif isinstance(message.get("detail"), Mapping):
            message = message["detail"]
    return message


def lambda_event(records: Iterable[Mapping[str, Any]], stream_arn: str) -> dict[str, Any]:
    """Records of ``get_records`` as the event that the streaming function takes."""
    return {"Records": [_lambda_record(record, stream_arn) for record in records]}


class ShardReader:
    """Reads a shard page by page; an iterator that expired (after 15 minutes) is replaced.

    Starts at the sequence number ``first``, or after the sequence number ``after``, or else at the
    oldest record stored.

    Attributes:
        seen: sequence number of the last record read.
        closed: whether the shard has ended and all its records were read.
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
        """The next records, at most ``limit`` and 1 MB; more may follow an empty page.

        Raises:
            RecordsTrimmedError: the stream no longer stores the next record.
            StreamReadError: the shard cannot be read.
        """
        try:
            response = self._records(limit)
        except ClientError as error:
            raise self._translated(error) from error
        self._iterator = response.get("NextShardIterator") or ""
        self.closed = not self._iterator
        records: Sequence[Mapping[str, Any]] = response["Records"]
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
        response = self._streams.get_shard_iterator(
            StreamArn=self._stream_arn, ShardId=self._shard_id, **where
        )
        return response["ShardIterator"]

    def _translated(self, error: ClientError) -> StreamReadError:
        code = error_code(error)
        if code == "TrimmedDataAccessException":
            return RecordsTrimmedError(
                f"Shard {self._shard_id} no longer has the requested records: a stream stores "
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
