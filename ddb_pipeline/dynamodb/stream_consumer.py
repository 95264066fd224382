"""Reads a stream from its checkpoints on, in place of Lambda's event source mapping.

A run reads a bounded number of records; the next run, in this or another process, continues after
the checkpoints. A shard is read after all of its parent was delivered, so that the changes of an
item are delivered in order. Delivery is at least once: records that were delivered but not
checkpointed before a run ended are delivered again, with the same event ids.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.stream import epoch
from ddb_pipeline.dynamodb.stream_checkpoints import Checkpoint, Checkpoints, LeaseLostError
from ddb_pipeline.dynamodb.stream_read import (
    EMPTY_READS,
    MAX_PAGE,
    RecordsTrimmedError,
    Shard,
    ShardReader,
    describe_shards,
)
from ddb_pipeline.hive.epoch import epoch_seconds

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

Deliver = Callable[[Sequence[Mapping[str, Any]]], str]
"""Delivers records of one shard. Returns the sequence number of the first record that was not
delivered, or an empty text, as in a Lambda function's partial batch response."""
OnTrimmed = Callable[[str, float], None]
"""Called with a shard whose next records the stream no longer stores, and the moment up to which
its changes were delivered, epoch seconds (0: not known), before the records are skipped."""
READ_DELAY_SECONDS = 60.0
"""How long a change may take to be readable from the stream, with the difference of two clocks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one run.

    Attributes:
        records: number of records to deliver.
        seconds: time after which no further page is read.
        page: number of records to deliver at a time.
    """

    records: int = 100_000
    seconds: float = 300.0
    page: int = MAX_PAGE


@dataclass(slots=True)
class Consumption:
    """The result of a run.

    Attributes:
        records: number of records delivered.
        shards: number of shards read.
        finished: number of shards that are now delivered to their end.
        leased: shards that another reader has leased.
        blocked: shards whose parent is not delivered to its end.
        stopped: by shard, the first sequence number that could not be delivered.
        trimmed: by shard, the error for records that the stream no longer stores.
        caught_up: whether the run reached the end of every shard that it could read.
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
    on_trimmed: OnTrimmed = lambda shard_id, delivered_until: None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> Consumption:
    """Read the stream from its checkpoints on, one page of each shard in turn.

    Args:
        streams: the client.
        stream_arn: the stream.
        checkpoints: where the shards' positions are stored.
        deliver: delivers a page of records.
        limits: when to stop.
        skip_trimmed: whether to continue with the oldest stored record of a shard whose next
            record was trimmed. Otherwise that shard is not read, so that the gap can be filled
            from an export first.
        on_trimmed: called for each gap, whether it is skipped or not.
        clock: seconds, as of ``time.monotonic``.
        now: epoch seconds.

    Raises:
        StreamReadError: the stream cannot be read.
        CheckpointError: the checkpoint table cannot be used.
    """
    run = _Run(
        streams=streams,
        stream_arn=stream_arn,
        checkpoints=checkpoints,
        deliver=deliver,
        limits=limits,
        skip_trimmed=skip_trimmed,
        on_trimmed=on_trimmed,
        clock=clock,
        now=now,
    )
    return run.result()


class _Run:
    """One run: the shards that it is reading, and its result so far."""

    def __init__(
        self,
        *,
        streams: "DynamoDBStreamsClient",
        stream_arn: str,
        checkpoints: Checkpoints,
        deliver: Deliver,
        limits: Limits,
        skip_trimmed: bool,
        on_trimmed: OnTrimmed,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._checkpoints = checkpoints
        self._deliver = deliver
        self._limits = limits
        self._skip_trimmed = skip_trimmed
        self._on_trimmed = on_trimmed
        self._clock = clock
        self._now = now
        self._ends_at = clock() + limits.seconds
        self._done = Consumption()
        self._reading: dict[str, _Reading] = {}
        self._stored: dict[str, Checkpoint] = {}

    def result(self) -> Consumption:
        """Read until the limits, or until no shard has more records."""
        shards = describe_shards(self._streams, self._stream_arn)
        known = {shard.shard_id for shard in shards}
        self._stored = self._checkpoints.read()
        finished = {name for name, found in self._stored.items() if found.finished}
        self._report_gone(set(self._stored) - finished - known)
        pending = [shard for shard in shards if shard.shard_id not in finished]
        try:
            while True:
                pending = self._begin(pending, known - finished)
                if not self._reading or not self._time_left():
                    break
                finished |= self._turn()
        finally:
            for shard_id in self._reading:
                self._checkpoints.release(shard_id)
        self._done.blocked = [shard.shard_id for shard in pending]
        self._done.caught_up = not self._reading
        return self._done

    def _report_gone(self, shard_ids: set[str]) -> None:
        """Report shards whose end was not delivered, and that the stream no longer has."""
        for shard_id in sorted(shard_ids):
            if self._checkpoints.take(shard_id) is not None:
                self._on_trimmed(shard_id, known_until(self._stored[shard_id]))
                self._checkpoints.advance(shard_id, None, finished=True)
                self._checkpoints.release(shard_id)

    def _time_left(self) -> bool:
        return self._done.records < self._limits.records and self._clock() < self._ends_at

    def _begin(self, pending: Sequence[Shard], unfinished: set[str]) -> list[Shard]:
        """Lease every shard whose parent is delivered; returns the other shards."""
        blocked = []
        for shard in pending:
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
        return _Reading(shard, reader, delivered=checkpoint.delivered_until)

    def _turn(self) -> set[str]:
        """Deliver one page of each shard; returns the shards that are delivered to their end."""
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
        """Deliver and checkpoint a shard's next page; returns whether that was the shard's end."""
        if reading.at_end:
            self._checkpoints.advance(shard_id, None, finished=True)
            return True
        limit = min(self._limits.page, self._limits.records - self._done.records)
        self._checkpoints.renew(shard_id)
        before, started = reading.reader.seen, self._now()
        records = reading.reader.page(limit)
        reading.idle = 0 if records else reading.idle + 1
        if not records and not reading.reader.closed:
            if reading.idle == EMPTY_READS:
                until: float | None = max(reading.delivered, started - READ_DELAY_SECONDS)
                self._checkpoints.advance(shard_id, before, finished=False, delivered_until=until)
            return False
        failed = self._deliver(records) if records else ""
        if failed:
            self._done.stopped[shard_id] = failed
            records = [r for r in records if sequence_number(r) < int(failed)]
        self._done.records += len(records)
        position = sequence_number(records[-1]) if records else before
        ended = reading.reader.closed and not failed
        until = creation_seconds(records[-1]) if records else None
        reading.delivered = max(reading.delivered, until or 0.0)
        self._checkpoints.advance(shard_id, position, finished=ended, delivered_until=until)
        return ended

    def _trimmed(self, shard_id: str, reading: "_Reading", error: RecordsTrimmedError) -> None:
        stored = self._stored.get(shard_id, Checkpoint())
        if not reading.skipped:
            self._on_trimmed(shard_id, known_until(stored))
        if self._skip_trimmed and not reading.skipped:
            reader = ShardReader(self._streams, self._stream_arn, shard_id)
            self._reading[shard_id] = _Reading(reading.shard, reader, skipped=True)
            return
        self._done.trimmed[shard_id] = str(error)
        self._checkpoints.release(shard_id)
        del self._reading[shard_id]


@dataclass(slots=True)
class _Reading:
    """A shard that is being read.

    Attributes:
        idle: number of empty pages since the last record.
        delivered: the time of the last record that was delivered, epoch seconds.
        skipped: whether trimmed records were skipped.
    """

    shard: Shard
    reader: ShardReader
    idle: int = 0
    delivered: float = 0.0
    skipped: bool = False

    @property
    def at_end(self) -> bool:
        """Whether the last record of a closed shard was delivered, so that no request is needed."""
        last, seen = self.shard.last, self.reader.seen
        return last is not None and seen is not None and seen >= last


def sequence_number(record: Mapping[str, Any]) -> int:
    """The sequence number of a record of ``get_records``."""
    return int(record["dynamodb"]["SequenceNumber"])


def known_until(stored: Checkpoint) -> float:
    """The moment up to which a shard was delivered; without it, when it was last read."""
    return stored.delivered_until or stored.written_at


def creation_seconds(record: Mapping[str, Any]) -> float | None:
    """When the change of a record of ``get_records`` happened, epoch seconds; None if unknown."""
    try:
        return epoch_seconds(epoch(record["dynamodb"]["ApproximateCreationDateTime"]))
    except (KeyError, ValueError, OverflowError):
        return None
