"""Items that the window of an export created and deleted, of which only the creation was delivered.

An incremental export has nothing of an item that was created and deleted in its window. The window
that heals a gap begins before the gap, since the moment from which on changes are lost is known
only roughly. Where the creation was delivered and the delete is lost, the lake would keep the item.
It is one that was delivered in the window as existing, is not in the export, and is no longer in
the table.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.export.rows.changes import REMOVE
from ddb_pipeline.hive.names import EVENT_NAME, EVENT_TIME, KEYS
from ddb_pipeline.lake.current.keys import Hashes, canonical_texts, hashes
from ddb_pipeline.lake.current.rows import epoch_micros

SLACK_SECONDS: Final = 2.0
"""By how much the stream's times may differ from those of the writes."""
BATCH_ROWS: Final = 64 * 1024
MICROS: Final = 1_000_000
COLUMNS: Final = [KEYS, EVENT_TIME, EVENT_NAME]

Span = tuple[float, float]
"""From a moment, inclusive, to another, exclusive, epoch seconds."""
Changes = tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.bool_]]
"""Canonical keys, times in microseconds of the epoch, and which changes are deletes."""


def delivered_in(window: Span) -> Span:
    """The event times of the changes of a window."""
    return window[0] - SLACK_SECONDS, window[1] - SLACK_SECONDS


class ExportedKeys:
    """The keys of an export, 8 bytes each."""

    def __init__(self) -> None:
        self._found = array("Q")
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Add a canonical key."""
        self._texts.append(text)
        if len(self._texts) >= BATCH_ROWS:
            self._hash()

    def sorted(self) -> Hashes:
        """The hashes of the keys."""
        self._hash()
        return np.sort(np.frombuffer(self._found, np.uint64))

    def _hash(self) -> None:
        self._found.frombytes(hashes(pa.array(self._texts, pa.string())).tobytes())
        self._texts.clear()


def left_in_lake(
    filesystem: pyarrow.fs.FileSystem, paths: Sequence[str], span: Span, exported: Hashes
) -> set[str]:
    """The canonical keys of the items that were delivered in a time, last of all as existing, and
    are not in the export.

    Holds 17 bytes of each change that is not of an exported item.

    Args:
        paths: Parquet of the change log.
        exported: sorted hashes of keys.
    """
    pieces = []
    for keys, micros, deleted in _changes(filesystem, paths, span):
        numbers = hashes(keys)
        left = ~_among(numbers, exported)
        pieces.append((numbers[left], micros[left], deleted[left]))
    if not pieces:
        return set()
    numbers, micros, deleted = (np.concatenate(each) for each in zip(*pieces, strict=True))
    order = np.lexsort((deleted, micros, numbers))
    is_last = np.append(np.diff(numbers[order].view(np.int64)) != 0, True)[: len(order)]
    newest = order[is_last]
    existing = np.sort(numbers[newest[~deleted[newest]]])
    found: set[str] = set()
    for keys, _, _ in _changes(filesystem, paths, span) if len(existing) else ():
        found.update(keys.filter(pa.array(_among(hashes(keys), existing))).to_pylist())
    return found


def _among(numbers: Hashes, among: Hashes) -> npt.NDArray[np.bool_]:
    if not len(among):
        return np.zeros(len(numbers), np.bool_)
    positions = np.minimum(np.searchsorted(among, numbers), len(among) - 1)
    found: npt.NDArray[np.bool_] = among[positions] == numbers
    return found


def _changes(
    filesystem: pyarrow.fs.FileSystem, paths: Iterable[str], span: Span
) -> Iterator[Changes]:
    """The changes of a time in Parquet of the change log."""
    for path in paths:
        with filesystem.open_input_file(path) as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us")
            if set(COLUMNS) <= set(file.schema_arrow.names):
                for batch in file.iter_batches(BATCH_ROWS, columns=COLUMNS, use_threads=False):
                    yield _within(pa.Table.from_batches([batch]), span)


def _within(table: pa.Table, span: Span) -> Changes:
    table = table.filter(
        pc.and_(pc.is_valid(table.column(KEYS)), pc.is_valid(table.column(EVENT_TIME)))
    )
    micros = epoch_micros(table)
    inside = np.flatnonzero((micros >= span[0] * MICROS) & (micros < span[1] * MICROS))
    rows = table.take(pa.array(inside))
    keys = canonical_texts(rows.column(KEYS).combine_chunks())
    deleted = pc.equal(rows.column(EVENT_NAME).combine_chunks(), REMOVE)
    return keys, micros[inside], deleted.to_numpy(zero_copy_only=False).astype(np.bool_)


def deletion(keys: Item, window_end: float) -> ItemChange:
    """The delete of an item that a window created and deleted.

    When it was deleted is not known. At the window's end, epoch seconds, it is newer than every
    change in the window and than a full export within it, and older than every later change.
    """
    return ItemChange(keys, None, None, round(window_end * MICROS) - 1_000)
