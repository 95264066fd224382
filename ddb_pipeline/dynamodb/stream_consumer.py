"""A reader of a stream that keeps its place: for those who want no Lambda.

A run reads a bounded number of records and ends; the next one, in this process or another, goes on
behind the checkpoints. A shard is read once all of its parent was delivered, so that the changes
of an item arrive in their order. Delivery is at least once: what was delivered and not noted
before a run ended comes again, with the same event ids.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.stream_checkpoints import Checkpoint, Checkpoints, LeaseLostError
from ddb_pipeline.dynamodb.stream_read import (
    EMPTY_READS,
    MAX_PAGE,
    RecordsTrimmedError,
    Shard,
    ShardReader,
    describe_shards,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

Deliver = Callable[[Sequence[Mapping[str, Any]]], str]
"""Delivers records of one shard; answers with the sequence number of the first that is left, or
an empty text, as a Lambda's partial batch response does."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run does at most; a page under way is finished.

    Attributes:
        records: records delivered.
        seconds: time, after which no further page is read.
        page: records delivered at a time.
    """

    records: int = 100_000
    seconds: float = 300.0
    page: int = MAX_PAGE


@dataclass(slots=True)
class Consumption:
    """What a run did.

    Attributes:
        records: records delivered.
        shards: shards that were read.
        finished: shards now delivered to their end.
        leased: shards that another reader has.
        blocked: shards whose parent is not delivered yet.
        stopped: by shard, the sequence number from which records are left.
        trimmed: by shard, what the stream no longer has.
        caught_up: whether everything that could be read was.
    """

    records: int = 0
    shards: int = 0
    finished: int = 0
    leased: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    trimmed: dict[str, str] = field(default_factory=dict)
    caught_up: bool = True


def consume(
    streams: "DynamoDBStreamsClient",
    stream_arn: str,
    checkpoints: Checkpoints,
    deliver: Deliver,
    limits: Limits = Limits(),
    *,
    skip_trimmed: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Consumption:
    """Read the stream on from its checkpoints, a page of each shard in turn.

    ``skip_trimmed`` goes on with the oldest record kept where the next one is older than that;
    without it such a shard is left as it is, for its gap is to be filled from an export first.

    Raises:
        StreamReadError: the stream cannot be read.
        CheckpointError: the checkpoint table cannot be used.
    """
    return _Run(streams, stream_arn, checkpoints, deliver, limits, skip_trimmed, clock).result()


class _Run:
    def __init__(
        self,
        streams: "DynamoDBStreamsClient",
        stream_arn: str,
        checkpoints: Checkpoints,
        deliver: Deliver,
        limits: Limits,
        skip_trimmed: bool,
        clock: Callable[[], float],
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._checkpoints = checkpoints
        self._deliver = deliver
        self._limits = limits
        self._skip_trimmed = skip_trimmed
        self._clock = clock
        self._ends_at = clock() + limits.seconds
        self._done = Consumption()
        self._reading: dict[str, _Reading] = {}

    def result(self) -> Consumption:
        shards = describe_shards(self._streams, self._stream_arn)
        known = {shard.shard_id for shard in shards}
        finished = {name for name, found in self._checkpoints.read().items() if found.finished}
        waiting = [shard for shard in shards if shard.shard_id not in finished]
        try:
            while True:
                waiting = self._begin(waiting, known - finished)
                if not self._reading or not self._time_left():
                    break
                finished |= self._turn()
        finally:
            for shard_id in self._reading:
                self._checkpoints.release(shard_id)
        self._done.blocked = [shard.shard_id for shard in waiting]
        self._done.caught_up = not self._reading
        return self._done

    def _time_left(self) -> bool:
        return self._done.records < self._limits.records and self._clock() < self._ends_at

    def _begin(self, waiting: Sequence[Shard], unfinished: set[str]) -> list[Shard]:
        """Take every shard whose parent is delivered; answers with those that go on waiting."""
        blocked = []
        for shard in waiting:
            if shard.parent_id in unfinished:
                blocked.append(shard)
                continue
            checkpoint = self._checkpoints.take(shard.shard_id)
            if checkpoint is None:
                self._done.leased.append(shard.shard_id)
            else:
                self._done.shards += 1
                self._reading[shard.shard_id] = self._reader(shard, checkpoint)
        return blocked

    def _reader(self, shard: Shard, checkpoint: Checkpoint) -> "_Reading":
        reader = ShardReader(
            self._streams, self._stream_arn, shard.shard_id, after=checkpoint.sequence_number
        )
        return _Reading(shard, reader)

    def _turn(self) -> set[str]:
        """A page of each shard; answers with those that are delivered to their end."""
        finished = set()
        for shard_id, reading in list(self._reading.items()):
            if not self._time_left():
                break
            try:
                ended = self._page(shard_id, reading)
            except LeaseLostError:
                del self._reading[shard_id]
                self._done.leased.append(shard_id)
                continue
            except RecordsTrimmedError as error:
                self._trimmed(shard_id, reading, error)
                continue
            if ended:
                finished.add(shard_id)
                self._done.finished += 1
            if ended or reading.idle >= EMPTY_READS or shard_id in self._done.stopped:
                self._checkpoints.release(shard_id)
                del self._reading[shard_id]
        return finished

    def _page(self, shard_id: str, reading: "_Reading") -> bool:
        """Deliver a shard's next page and note it; answers whether that was its end."""
        if reading.at_end:
            self._checkpoints.advance(shard_id, None, finished=True)
            return True
        limit = min(self._limits.page, self._limits.records - self._done.records)
        self._checkpoints.renew(shard_id)
        before = reading.reader.seen
        records = reading.reader.page(limit)
        reading.idle = 0 if records else reading.idle + 1
        if not records and not reading.reader.closed:
            return False
        left = self._deliver(records) if records else ""
        if left:
            self._done.stopped[shard_id] = left
            records = [r for r in records if sequence_number(r) < int(left)]
        self._done.records += len(records)
        position = sequence_number(records[-1]) if records else before
        ended = reading.reader.closed and not left
        self._checkpoints.advance(shard_id, position, finished=ended)
        return ended

    def _trimmed(self, shard_id: str, reading: "_Reading", error: RecordsTrimmedError) -> None:
        if self._skip_trimmed and not reading.skipped:
            reader = ShardReader(self._streams, self._stream_arn, shard_id)
            self._reading[shard_id] = _Reading(reading.shard, reader, skipped=True)
            return
        self._done.trimmed[shard_id] = str(error)
        self._checkpoints.release(shard_id)
        del self._reading[shard_id]


@dataclass(slots=True)
class _Reading:
    """A shard under way; ``idle`` counts its last pages that were empty."""

    shard: Shard
    reader: ShardReader
    idle: int = 0
    skipped: bool = False

    @property
    def at_end(self) -> bool:
        """Whether the last record of a closed shard was delivered: nothing is left to ask for."""
        last, seen = self.shard.last, self.reader.seen
        return last is not None and seen is not None and seen >= last


def sequence_number(record: Mapping[str, Any]) -> int:
    """The sequence number of a record of ``get_records``."""
    return int(record["dynamodb"]["SequenceNumber"])
