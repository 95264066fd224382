"""The merge of one bucket: of a state and changes, the newest of each key.

The order of the changes of one key:

- changes from the stream: by sequence number, as an integer;
- changes from incremental exports: by write time;
- one from the stream and one from an export: by time. The stream's times are whole seconds, rounded
  down, so the one from the stream is newer if its second begins after the write of the other;
- the item of a full export: at the export's time minus a slack. A change from that moment on is
  newer, or the one that the export has.

What a key's newest change says is its state, so the result does not depend on the order in which
changes arrive, nor on how often. That the times of one key do not go back further than the slack
from one sequence number to the next is presumed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.hive.names import KEYS, SEQUENCE_NUMBER
from ddb_pipeline.lake.current.rows import (
    FULL_EXPORT,
    INCREMENTAL_EXPORT,
    REMOVED,
    SOURCE,
    STREAM,
    UPDATED_AT,
    Int64s,
    tombstone_schema,
)

Mask = npt.NDArray[np.bool_]

BEFORE_ALL: Final = -(2**62)
"""A time in microseconds before every change."""
_DIGITS: Final = 18
"""Decimal digits of a sequence number that are compared at once: an int64 holds them."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """Moments in microseconds of the epoch that decide about old changes.

    Attributes:
        snapshot: the time of the full export that the state is based on, minus the slack. What is
            older is in the full export.
        replaces: whether the full export's items are among the incoming rows, so that everything
            of the state that is older is replaced.
        tombstones: deletes that are older are forgotten.
        complete: as ``update.Request.complete``; the incoming rows are those of this time.
    """

    snapshot: int = BEFORE_ALL
    replaces: bool = False
    tombstones: int = BEFORE_ALL
    complete: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The new state of a bucket.

    Attributes:
        rows: the items.
        tombstones: the deleted items that are remembered.
        rows_changed: whether the items differ from those of the old state.
        tombstones_changed: whether the tombstones do.
        inserted, updated: rows that are new, or that a change replaced.
        deleted: rows that a delete removed.
        superseded: changes that are not the newest of their key.
        too_late: changes of unknown keys from before ``Horizon.tombstones``: their item may have
            been deleted since, so they are not applied.
    """

    rows: pa.Table
    tombstones: pa.Table
    rows_changed: bool
    tombstones_changed: bool
    inserted: int
    updated: int
    deleted: int
    superseded: int
    too_late: int


def merge(state: pa.Table, tombstones: pa.Table, incoming: pa.Table, horizon: Horizon) -> Merged:
    """Merge incoming rows into a bucket's state.

    Args:
        state: rows of ``rows.state_schema``, one of each key.
        tombstones: rows of ``rows.tombstone_schema``, one of each key that the state lacks.
        incoming: rows of ``rows.incoming_schema``, any number of each key.
        horizon: what is old.
    """
    if horizon.complete is not None:
        incoming = pa.concat_tables([incoming, _vanished(state, incoming, horizon.complete)])
    state, tombstones, dropped = _without_old(state, tombstones, horizon)
    is_item = _equal(incoming, SOURCE, FULL_EXPORT)
    items, changes = incoming.filter(pa.array(is_item)), incoming.filter(pa.array(~is_item))
    newest = _newest(changes.filter(pa.array(_micros(changes) >= horizon.snapshot)))
    superseded = len(changes) - len(newest)
    if horizon.replaces:
        state, tombstones = _with_items(state, tombstones, items)
    winners, rows_left, tombstones_left, late = _applied(state, tombstones, newest, horizon)
    removed = _removed(winners)
    gone = len(state) - int(rows_left.sum())
    upserts = winners.filter(pa.array(~removed)).drop_columns([REMOVED])
    deletes = winners.filter(pa.array(removed)).select(tombstone_schema().names)
    rows = pa.concat_tables([state.filter(pa.array(rows_left)), upserts]) if len(winners) else state
    deletes_left = tombstones.filter(pa.array(tombstones_left))
    kept = pa.concat_tables([deletes_left, deletes])
    remembered = kept.filter(pa.array(_micros(kept) >= horizon.tombstones))
    deleted = _number_deleted(state, rows_left, winners)
    return Merged(
        rows=rows,
        tombstones=remembered,
        rows_changed=bool(dropped or horizon.replaces or gone or len(upserts)),
        tombstones_changed=len(deletes) > 0
        or len(remembered) != len(tombstones)
        or horizon.replaces,
        inserted=len(upserts) - (gone - deleted),
        updated=gone - deleted,
        deleted=deleted,
        superseded=superseded + len(newest) - len(winners) - late,
        too_late=late,
    )


def _vanished(state: pa.Table, incoming: pa.Table, complete: tuple[int, int]) -> pa.Table:
    """Deletes of the items that were created and deleted in a time of which all else is known."""
    start, end = complete
    times = _micros(state)
    written = (times >= start) & (times < end) & _equal(state, SOURCE, INCREMENTAL_EXPORT)
    rows = state.filter(pa.array(written))
    rows = rows.filter(pc.invert(pc.is_in(_keys(rows), value_set=_keys(incoming))))
    position = rows.schema.get_field_index(UPDATED_AT)
    field = rows.schema.field(position)
    at = pa.array(np.full(len(rows), end - 1, np.int64), pa.int64()).cast(field.type)
    deletes = rows.set_column(position, field, at)
    removed = pa.array(np.ones(len(rows), np.bool_))
    return deletes.append_column(incoming.schema.field(REMOVED), removed)


def _without_old(
    state: pa.Table, tombstones: pa.Table, horizon: Horizon
) -> tuple[pa.Table, pa.Table, int]:
    """The state without what an incoming full export replaces, and how many rows that are."""
    if not horizon.replaces:
        return state, tombstones, 0
    kept = (_micros(state) >= horizon.snapshot) & ~_equal(state, SOURCE, FULL_EXPORT)
    later = pa.array(_micros(tombstones) >= horizon.snapshot)
    return state.filter(pa.array(kept)), tombstones.filter(later), int((~kept).sum())


def _with_items(
    state: pa.Table, tombstones: pa.Table, items: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """The state with the items of a full export whose keys have no newer change."""
    items = items.drop_columns([REMOVED])
    if len(state) or len(tombstones):
        known = pa.concat_arrays([_keys(state), _keys(tombstones)])
        items = items.filter(pc.invert(pc.is_in(_keys(items), value_set=known)))
    return pa.concat_tables([state, items]), tombstones


def _newest(changes: pa.Table) -> pa.Table:
    """The newest change of each key."""
    if len(changes) < 2:
        return changes
    encoded = _keys(changes).dictionary_encode()
    if len(encoded.dictionary) == len(changes):
        return changes
    codes = encoded.indices.to_numpy().astype(np.int64)
    micros = _micros(changes)
    streamed = _equal(changes, SOURCE, STREAM)
    exported = np.flatnonzero(~streamed)
    last_export = _last(codes, exported, [micros[exported]], len(encoded.dictionary))
    rows = np.flatnonzero(streamed)
    words = _sequence_words(changes.column(SEQUENCE_NUMBER).take(pa.array(rows)))
    last_record = _last(codes, rows, words, len(encoded.dictionary))
    newer = (last_record >= 0) & ((last_export < 0) | (micros[last_record] > micros[last_export]))
    return changes.take(pa.array(np.where(newer, last_record, last_export)))


def _last(codes: Int64s, rows: Int64s, order: list[Int64s], number: int) -> Int64s:
    """For each code the last of ``rows`` in an order (first word first); -1 where it has none."""
    found = np.full(number, -1, np.int64)
    by_order = rows[np.lexsort(order[::-1])]
    found[codes[by_order]] = by_order
    return found


def _applied(
    state: pa.Table, tombstones: pa.Table, newest: pa.Table, horizon: Horizon
) -> tuple[pa.Table, Mask, Mask, int]:
    """Which changes win over what is known of their keys.

    Returns:
        The changes that win, which rows and which tombstones stay, and the number of changes that
        are too late.
    """
    rows_left, tombstones_left = np.ones(len(state), np.bool_), np.ones(len(tombstones), np.bool_)
    if not len(newest):
        return newest, rows_left, tombstones_left, 0
    row_of = _positions(_keys(newest), _keys(state))
    tombstone_of = _positions(_keys(newest), _keys(tombstones))
    known = (row_of >= 0) | (tombstone_of >= 0)
    late = ~known & (_micros(newest) < horizon.tombstones)
    wins = ~late
    too_late = int((late & ~_removed(newest)).sum())
    for old, position in ((state, row_of), (tombstones, tombstone_of)):
        met = np.flatnonzero(position >= 0)
        if len(met):
            old_rows = old.select(tombstone_schema().names).take(pa.array(position[met]))
            wins[met] &= _newer(newest.take(pa.array(met)), old_rows, horizon.snapshot)
    rows_left[row_of[wins & (row_of >= 0)]] = False
    tombstones_left[tombstone_of[wins & (tombstone_of >= 0)]] = False
    return newest.filter(pa.array(wins)), rows_left, tombstones_left, too_late


def _newer(changes: pa.Table, old: pa.Table, snapshot: int) -> Mask:
    """Which changes are newer than what is known of their keys, row by row."""
    times, old_times = _micros(changes), _micros(old).copy()
    # A change from the moment of the full export on is newer than its items.
    old_times[_equal(old, SOURCE, FULL_EXPORT)] = snapshot - 1
    streamed, old_streamed = _equal(changes, SOURCE, STREAM), _equal(old, SOURCE, STREAM)
    newer: Mask = np.where(~streamed & old_streamed, times >= old_times, times > old_times)
    both = np.flatnonzero(streamed & old_streamed)
    if len(both):
        rows = pa.array(both)
        ours, theirs = (table.column(SEQUENCE_NUMBER).take(rows) for table in (changes, old))
        words = _sequence_words(pa.chunked_array([*ours.chunks, *theirs.chunks], pa.string()))
        newer[both] = _greater([(word[: len(both)], word[len(both) :]) for word in words])
    return newer


def _greater(words: list[tuple[Int64s, Int64s]]) -> Mask:
    """Which numbers are greater than others, given as words, the most significant one first."""
    result = np.zeros(len(words[0][0]), np.bool_)
    for ours, theirs in reversed(words):
        result = np.where(ours == theirs, result, ours > theirs)
    return result


def _sequence_words(numbers: pa.ChunkedArray) -> list[Int64s]:
    """Sequence numbers as words of 18 decimal digits, the most significant one first."""
    texts = numbers.combine_chunks()
    longest = pc.max(pc.binary_length(texts)).as_py() or 1
    count = -(-longest // _DIGITS)
    padded = pc.utf8_lpad(texts, count * _DIGITS, "0")
    return [
        pc.utf8_slice_codeunits(padded, start, start + _DIGITS).cast(pa.int64()).to_numpy()
        for start in range(0, count * _DIGITS, _DIGITS)
    ]


def _positions(wanted: pa.Array, keys: pa.Array) -> Int64s:
    """The position of each wanted key among distinct keys; -1 where it is not one of them.

    The wanted keys are few: only they are put into a hash table.
    """
    positions = np.full(len(wanted), -1, np.int64)
    if len(keys) and len(wanted):
        found = pc.index_in(keys, value_set=wanted)
        rows = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False))
        positions[found.drop_null().to_numpy()] = rows
    return positions


def _number_deleted(state: pa.Table, rows_left: Mask, winners: pa.Table) -> int:
    deletes = winners.filter(pa.array(_removed(winners)))
    if not len(deletes) or rows_left.all():
        return 0
    gone = _keys(state.select([KEYS]).filter(pa.array(~rows_left)))
    return int(pc.sum(pc.is_in(gone, value_set=_keys(deletes))).as_py() or 0)


def _keys(table: pa.Table) -> pa.Array:
    return table.column(KEYS).combine_chunks()


def _micros(table: pa.Table) -> Int64s:
    values: Int64s = table.column(UPDATED_AT).combine_chunks().cast(pa.int64()).to_numpy()
    return values


def _removed(table: pa.Table) -> Mask:
    values: Mask = table.column(REMOVED).combine_chunks().to_numpy(zero_copy_only=False)
    return values.astype(np.bool_)


def _equal(table: pa.Table, name: str, value: str) -> Mask:
    found = pc.equal(table.column(name).combine_chunks(), value)
    mask: Mask = found.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask
