"""A window of a stream, or a failed Lambda batch, as events of the streaming function."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.stream_read import (
    Shard,
    describe_shards,
    lambda_event,
    parse_failure,
    read_failed_batch,
    read_shard,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

EVENT_RECORDS = 500
"""Records in one event."""


@dataclass(frozen=True, slots=True)
class StreamWindow:
    """Sequence numbers from ``first`` to ``last``, both included, of one shard or of all.

    Attributes:
        shard_id: the shard; empty for all of them.
        first: None for the oldest record that the stream holds.
        last: None for the newest.
    """

    shard_id: str = ""
    first: int | None = None
    last: int | None = None


def window_events(
    streams: "DynamoDBStreamsClient", stream_arn: str, window: StreamWindow
) -> Iterator[Mapping[str, Any]]:
    """The records of a window, the records of a parent shard before those of its children.

    Raises:
        StreamReadError: a shard cannot be read, or no longer holds the window's records.
    """
    if window.shard_id:
        starts = [(window.shard_id, window.first)]
    else:
        starts = shard_starts(describe_shards(streams, stream_arn), window)
    for shard_id, first in starts:
        records = read_shard(streams, stream_arn, shard_id, first=first, last=window.last)
        while batch := list(islice(records, EVENT_RECORDS)):
            yield lambda_event(batch, stream_arn)


def failed_batch_event(streams: "DynamoDBStreamsClient", message: str) -> Mapping[str, Any]:
    """The batch that an event source mapping's on-failure message names.

    Raises:
        StreamReadError: the message is another one, or the stream no longer holds the records.
    """
    batch = parse_failure(message)
    return lambda_event(read_failed_batch(streams, batch), batch.stream_arn)


def shard_starts(shards: Iterable[Shard], window: StreamWindow) -> list[tuple[str, int | None]]:
    """The shards that hold records of a window, each with the sequence number to start at.

    None starts at the shard's oldest record: GetShardIterator refuses a sequence number that is
    outside of the shard.
    """
    first, last = window.first, window.last
    return [
        (shard.shard_id, first if first is not None and first > shard.first else None)
        for shard in shards
        if (last is None or shard.first <= last)
        and (first is None or shard.last is None or shard.last >= first)
    ]
