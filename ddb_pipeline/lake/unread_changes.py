"""The changes of a stream that were not read yet, window by window, each once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.stream import (
    StreamRecord,
    UndecodableRecordError,
    event_id_of,
    read_record,
)
from ddb_pipeline.dynamodb.stream_read import (
    EMPTY_READS,
    RecordsTrimmedError,
    ShardReader,
    describe_shards,
)
from ddb_pipeline.hive.epoch import epoch_seconds
from ddb_pipeline.lake.reconciliation_state import RETENTION_SECONDS, ShardPosition

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

CLOCK_ERROR_SECONDS = 2 * 3600.0
"""By how much a change may be later than now, or older than what a stream keeps, before its time
counts as wrong."""
MAX_OPEN_SHARDS = 16
"""Shards of which a page stays in memory between windows."""


@dataclass(frozen=True, slots=True)
class UnreadChange:
    """A record of the stream that was not read before.

    Attributes:
        record: None where it cannot be decoded.
        event_id: empty where a malformed record has none.
        moment: when it happened, epoch seconds; that of the change before it where its own is
            unknown or wrong.
    """

    record: StreamRecord | None
    event_id: str
    moment: float


@dataclass(slots=True)
class _ShardState:
    reader: ShardReader
    position: ShardPosition
    moment: float
    pending: list[Mapping[str, Any]] = field(default_factory=list)


class UnreadChanges:
    """Reads a stream's shards from stored positions on.

    Attributes:
        gaps: reasons why changes cannot be read any more.
    """

    def __init__(
        self,
        streams: "DynamoDBStreamsClient",
        stream_arn: str,
        positions: Mapping[str, ShardPosition],
        *,
        now: Callable[[], float],
        until: float,
    ) -> None:
        """Begin at ``positions``, where changes before ``until`` were read (0: none were)."""
        self._streams = streams
        self._stream_arn = stream_arn
        self._now = now
        self._until = until
        self._known = dict(positions)
        self._shards: dict[str, _ShardState] = {}
        self._present: list[str] = []
        self.gaps: list[str] = []
        self._describe()
        self._is_late = bool(until) and until < now() - RETENTION_SECONDS
        for name, position in positions.items():
            if position.finished:
                continue
            if name not in self._present:
                self.gaps.append(f"shard {name} is gone, of which the end was not read")
            elif self._is_late and position.last is None:
                self.gaps.append(f"shard {name} may have lost its first records")

    @property
    def positions(self) -> dict[str, ShardPosition]:
        """How far each shard that the stream still has was read."""
        return {
            name: self._shards[name].position if name in self._shards else self._known[name]
            for name in self._present
        }

    def before(self, moment: float) -> Iterator[UnreadChange]:
        """The next changes that happened before a moment, each shard's in their order."""
        read: set[str] = set()
        while True:
            unread = [name for name in self._present if name not in read]
            if not unread:
                return
            for name in unread:
                read.add(name)
                if not self._known.get(name, ShardPosition()).finished:
                    yield from self._shard_before(self._shard(name), name, moment)
            # A shard that has ended may have new children.
            self._describe()

    def _describe(self) -> None:
        self._present = [s.shard_id for s in describe_shards(self._streams, self._stream_arn)]
        for name in self._present:
            self._known.setdefault(name, ShardPosition())

    def _shard(self, name: str) -> _ShardState:
        if name not in self._shards:
            position = self._known[name]
            reader = ShardReader(self._streams, self._stream_arn, name, after=position.last)
            self._shards[name] = _ShardState(reader, position, self._until)
        return self._shards[name]

    def _shard_before(self, shard: _ShardState, name: str, moment: float) -> Iterator[UnreadChange]:
        empty = 0
        while not shard.position.finished and empty < EMPTY_READS:
            if not shard.pending:
                if shard.reader.closed:
                    shard.position = ShardPosition(shard.position.last, finished=True)
                    return
                shard.pending = list(self._page(shard, name))[::-1]
                empty = 0 if shard.pending else empty + 1
                continue
            change = self._change(shard.pending[-1], shard.moment)
            if change.moment >= moment:
                if len(self._shards) > MAX_OPEN_SHARDS:
                    del self._shards[name]
                    self._known[name] = shard.position
                return
            shard.moment = change.moment
            number = int(shard.pending.pop()["dynamodb"]["SequenceNumber"])
            shard.position = ShardPosition(number)
            yield change

    def _page(self, shard: _ShardState, name: str) -> Any:
        try:
            return shard.reader.page()
        except RecordsTrimmedError:
            # Otherwise the records that the stream has forgotten were read: they are older than
            # the changes that were not.
            if self._is_late:
                self.gaps.append(f"shard {name} has lost records after {shard.position.last}")
            shard.reader = ShardReader(self._streams, self._stream_arn, name)
            return shard.reader.page()

    def _change(self, entry: Mapping[str, Any], previous: float) -> UnreadChange:
        now = self._now()
        previous = max(previous, now - RETENTION_SECONDS)
        try:
            record = read_record(entry)
        except UndecodableRecordError:
            return UnreadChange(None, event_id_of(entry), previous)
        moment = epoch_seconds(record.event_time or 0)
        oldest = now - RETENTION_SECONDS - CLOCK_ERROR_SECONDS
        is_wrong = not oldest <= moment <= now + CLOCK_ERROR_SECONDS
        return UnreadChange(record, record.event_id, previous if is_wrong else moment)
