"""Reconciliation: every change of the stream is a row, a failed record or a dead letter.

Each change is read from the stream once, each Parquet object once. What does not match is carried
to the next run: a change may arrive late, and a row may be read before its change. A change that
is in none of the places is lost for as long as it stays so.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.fs

from ddb_pipeline.dynamodb.stream import StreamRecord
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.lake.change_identity import digest, identity, of_change, of_document
from ddb_pipeline.lake.conditional import read_if_exists
from ddb_pipeline.lake.dead_letters import read_dead_letters
from ddb_pipeline.lake.error_folders import DAY_SECONDS, day_at, day_of, error_folders, objects_in
from ddb_pipeline.lake.gaps import Span
from ddb_pipeline.lake.identity_partitions import (
    CLOCK_SKEW_SECONDS,
    Expected,
    IdentityPartitions,
    Matches,
    Rows,
)
from ddb_pipeline.lake.layout import DEAD_LETTER_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.parquet_objects import column_batches
from ddb_pipeline.lake.reconciliation_state import (
    RETENTION_SECONDS,
    ReconciliationState,
    read_state,
    write_state,
)
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.lake.unread_changes import UnreadChange, UnreadChanges

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient
    from mypy_boto3_s3.client import S3Client

WINDOW_SECONDS = 3600.0
"""The longest window: a longer time is reconciled in several, each of which is stored."""
NO_DAY = "9999"
UNKNOWN_DAY = "1970-01-01"
"""The folder's day where the time of a change is not known."""
SHOWN = 20
"""Event ids of lost changes that a reconciliation lists."""

_RAW_DATA = re.compile(rb'"rawData"\s*:\s*"([A-Za-z0-9+/=]*)"')


@dataclass(frozen=True, slots=True)
class Source:
    """A stream, and the lake into which its changes are delivered.

    Attributes:
        columns: the columns that identify a change: the event id, or the key's columns.
        delivered: returns a change as it is delivered, after redaction; None where it is filtered
            out or routed to another delivery stream.
        settle_seconds: how long a change may take to arrive.
    """

    streams: "DynamoDBStreamsClient"
    stream_arn: str
    s3: "S3Client"
    filesystem: pyarrow.fs.FileSystem
    lake: LakeRoot
    columns: Sequence[str]
    settle_seconds: float
    delivered: Callable[[StreamRecord], StreamRecord | None] = lambda record: record


@dataclass(slots=True)
class Reconciliation:
    """Where the changes of the stream are, in numbers.

    Attributes:
        expected: changes that this run read from the stream.
        rows: changes that are rows of the lake.
        failed: changes that are failed records in error objects.
        dead_lettered: changes that are dead letters, because they cannot be delivered.
        lost: changes that are none of these, those of earlier runs included.
        missing: these changes, up to a limit.
        repeated: rows beyond the first of a change, which at-least-once delivery may write.
        until: changes before this moment are reconciled, epoch seconds.
        gaps: why changes cannot be reconciled, in a sentence each.
        forgotten: changes that were missing until the stream forgot them, over all runs.
    """

    expected: int = 0
    rows: int = 0
    failed: int = 0
    dead_lettered: int = 0
    lost: int = 0
    missing: tuple[Expected, ...] = ()
    repeated: int = 0
    until: float = 0.0
    gaps: list[str] = field(default_factory=list)
    forgotten: int = 0

    @property
    def lost_events(self) -> list[str]:
        """Event ids of the first lost changes."""
        oldest = sorted(self.missing, key=lambda each: (each.moment, each.event_id))
        return [each.event_id for each in oldest[:SHOWN]]

    @property
    def balanced(self) -> bool:
        """Whether all changes were looked for, and none is lost."""
        return not self.lost and not self.gaps

    def add(self, matches: Matches) -> None:
        """Add the result of a window."""
        self.rows += matches.rows
        self.failed += matches.failed
        self.dead_lettered += matches.dead_lettered
        self.repeated += matches.repeated
        self.lost = matches.lost
        self.missing = tuple(matches.missing)


OnGap = Callable[[Span, str], None]
"""Called with a time of which changes are lost, and why, before the state forgets them."""


def reconcile(
    source: Source, now: Callable[[], float], on_gap: OnGap = lambda span, cause: None
) -> Reconciliation:
    """Reconcile the changes that had time to arrive and were not reconciled by an earlier run.

    Args:
        now: returns epoch seconds.
        on_gap: may be called again with the same gap by a later run.

    Raises:
        StreamReadError: the stream cannot be read.
    """
    started = now()
    state, etag = read_state(source.s3, source.lake, source.stream_arn)
    unread = UnreadChanges(
        source.streams, source.stream_arn, state.shards, now=now, until=state.until
    )
    result = Reconciliation(gaps=unread.gaps, forgotten=state.forgotten)
    gaps = _ReportedGaps(on_gap, (state.until, started - RETENTION_SECONDS))
    until = max(state.until, started - RETENTION_SECONDS)
    end = max(state.until, started - source.settle_seconds)
    while until < end or not result.until:
        until = min(until + WINDOW_SECONDS, end)
        # What the stream has forgotten is reported once more and then not stored.
        remembered = started - RETENTION_SECONDS if until >= end else 0.0
        before, after = state, _reconcile_window(source, unread, state, until, remembered, result)
        gaps.report(unread.gaps, (each for each in result.missing if each.moment < remembered))
        if after is None:
            result.gaps.append(
                f"{result.lost} changes are lost, more than can be stored: the next run reads the "
                "stream from where this one began"
            )
            return result
        state = after
        if until >= end or state.shards != before.shards:
            etag = write_state(source.s3, source.lake, state, etag)
            if not etag:
                break
    return result


class _ReportedGaps:
    """Reports the gaps of a run, each once."""

    def __init__(self, on_gap: OnGap, unread: Span) -> None:
        self._on_gap = on_gap
        self._unread = unread
        self._reported = 0

    def report(self, reasons: Sequence[str], missing: Iterable[Expected]) -> None:
        """Report what the stream has lost unread, and missing changes that are forgotten."""
        start, end = self._unread
        if len(reasons) > self._reported and 0 < start < end:
            self._on_gap(
                self._unread, f"The stream lost records unread: {reasons[self._reported]}."
            )
        self._reported = len(reasons)
        moments = [each.moment for each in missing]
        if moments:
            cause = "Changes were in no place until the stream forgot them."
            self._on_gap((min(moments), max(moments) + 1), cause)


def _reconcile_window(
    source: Source,
    unread: UnreadChanges,
    state: ReconciliationState,
    until: float,
    remembered: float,
    result: Reconciliation,
) -> ReconciliationState | None:
    """Reconcile the changes before ``until`` and add them to ``result``.

    Returns the state after that, without missing changes from before ``remembered``; None where it
    is too large to store.
    """
    with IdentityPartitions() as partitions:
        window = _Window(source, partitions, dict(state.read_objects), until)
        window.carry(state)
        for change in unread.before(until):
            window.expect(change)
        matches = window.matches()
    result.expected += window.changes
    result.add(matches)
    result.until = until
    kept = [each for each in matches.missing if each.moment >= remembered]
    forgotten = sum(each.count for each in matches.missing) - sum(each.count for each in kept)
    result.forgotten = state.forgotten + forgotten
    if not matches.complete:
        return None
    needed = min([until, *(each.moment for each in kept)]) - CLOCK_SKEW_SECONDS
    return ReconciliationState(
        state.stream_arn,
        shards=unread.positions,
        until=until,
        missing=tuple(kept),
        early=tuple(matches.surplus),
        read_objects={key: m for key, m in window.read_objects.items() if m >= needed},
        forgotten=result.forgotten,
    )


class _Window:
    """The changes before a moment, and where they may be.

    Attributes:
        changes: number of changes of this window, without those carried from earlier ones.
        read_objects: as in the state.
    """

    def __init__(
        self,
        source: Source,
        partitions: IdentityPartitions,
        read_objects: dict[str, float],
        until: float,
    ) -> None:
        self._source = source
        self._partitions = partitions
        self._until = until
        self._oldest = until
        self._carried = False
        self.changes = 0
        self.read_objects = read_objects

    def carry(self, state: ReconciliationState) -> None:
        """Add what earlier windows left without a match."""
        for missing in state.missing:
            self._partitions.expect(missing)
            self._oldest = min(self._oldest, missing.moment)
        for early in state.early:
            self._partitions.add_rows(early)
        self._carried = bool(state.missing)

    def expect(self, change: UnreadChange) -> None:
        """Add a change of the stream, if it is delivered to this lake."""
        found = self._digest(change)
        if found:
            self._partitions.expect(Expected(found, change.moment, change.event_id))
            self._oldest = min(self._oldest, change.moment)
            self.changes += 1

    def matches(self) -> Matches:
        """Look for the changes: among rows, and for what is left among the other places."""
        if self.changes or self._carried:
            self._read_rows()
        matches = self._match()
        if matches.lost:
            self._read_failed()
            self._read_dead_letters()
            matches = self._match()
        if matches.lost:
            # A failed record may have become a row since the rows were read.
            self._read_rows()
            matches = self._match()
        return matches

    def _match(self) -> Matches:
        return self._partitions.matches(self._until - CLOCK_SKEW_SECONDS)

    def _digest(self, change: UnreadChange) -> str:
        """The digest of a change's identity; empty where the change is not expected."""
        if change.record is None:
            # It can only be a dead letter, which is found by its event id.
            return digest((change.event_id,)) if change.event_id else ""
        delivered = self._source.delivered(change.record)
        found = None if delivered is None else of_change(delivered, self._source.columns)
        return "" if found is None else digest(found)

    @property
    def _since(self) -> float:
        """No place of these changes was written before this moment."""
        return self._oldest - CLOCK_SKEW_SECONDS

    def _read_rows(self) -> None:
        source = self._source
        for stored in self._row_objects():
            try:
                batches = column_batches(source.filesystem, source.lake, stored.key, source.columns)
                for batch in batches:
                    for values in zip(*(column.to_pylist() for column in batch), strict=True):
                        found = digest(identity(values))
                        self._partitions.add_rows(Rows(found, stored.modified_at))
            except FileNotFoundError:
                continue
            self.read_objects[stored.key] = stored.modified_at

    def _row_objects(self) -> Iterator[StoredObject]:
        """Parquet objects not read yet that may hold rows of these changes.

        Without those that only hold rows of later windows: a change whose row is written later than
        it should be stays missing until then.
        """
        source = self._source
        until = self._until + source.settle_seconds
        first = DeliveryHour.of(self._oldest - 3600)
        for hour in first.until(DeliveryHour.of(until + 2 * 3600)):
            for stored in list_objects(source.s3, source.lake, hour.prefix):
                if (
                    stored.key not in self.read_objects
                    and self._since <= stored.modified_at <= until
                ):
                    yield stored

    def _read_failed(self) -> None:
        source = self._source
        for stored, body in self._bodies(error_folders(source.s3, source.lake)):
            for raw_data, moment in _failed_records(body, stored.modified_at):
                for document in documents(raw_data):
                    found = of_document(document.value, source.columns)
                    if found is not None:
                        self._partitions.add_failed(Rows(digest(found), moment))

    def _read_dead_letters(self) -> None:
        source = self._source
        folders = error_folders(source.s3, source.lake, DEAD_LETTER_PREFIX)
        for _, body in self._bodies(folders):
            letters = read_dead_letters(body).letters
            self._partitions.dead_letters.update(str(each.get("event_id")) for each in letters)

    def _bodies(self, folders: Sequence[str]) -> Iterator[tuple[StoredObject, bytes]]:
        """The objects of these folders that were written since these changes happened."""
        s3, lake = self._source.s3, self._source.lake
        first_day = day_at(self._oldest - DAY_SECONDS)
        for folder in folders:
            if (day_of(folder) or NO_DAY) >= first_day or day_of(folder) == UNKNOWN_DAY:
                for stored in objects_in(s3, lake, folder):
                    if stored.modified_at >= self._since:
                        found = read_if_exists(s3, lake, stored.key)
                        if found is not None:
                            yield stored, found.content


def _failed_records(body: bytes, modified_at: float) -> Iterator[tuple[bytes, float]]:
    """The data of an error object's records, each with the moment of its arrival, epoch seconds.

    A line that cannot be read is in its place too: its data counts, if that can be read.
    """
    content = read_error_object(body)
    for record in content.records:
        arrival = record.arrival_timestamp
        yield record.raw_data, modified_at if arrival is None else arrival / 1000
    for line in content.corrupt_lines:
        found = _RAW_DATA.search(line.content)
        if found is not None:
            try:
                yield b64decode(found.group(1), validate=True), modified_at
            except Base64Error:
                continue
