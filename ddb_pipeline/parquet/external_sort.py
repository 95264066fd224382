"""Rows sorted in a bounded amount of memory: sorted runs in local files, merged range by range.

Rows are ordered by two texts, ``SORT_KEY`` and ``SORT_ID``. Of rows that are equal in both, which
are repeats, the one with the largest ``SORT_POSITION`` is kept. No text is null.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SORT_KEY: Final = "ddb_sort_key"
SORT_ID: Final = "ddb_sort_id"
SORT_POSITION: Final = "ddb_sort_position"
SORT_COLUMNS: Final = (SORT_KEY, SORT_ID, SORT_POSITION)
_ORDER: Final = [(name, "ascending") for name in SORT_COLUMNS]

DEFAULT_MEMORY_BYTES: Final = 64 * 1024 * 1024
BATCHES_PER_MEMORY: Final = 256
"""Batches of a run that fit into the memory for rows: a merge reads one or two more than it needs
of each run."""
MAX_RUNS: Final = 64
"""Runs that are merged at a time; of more, some are merged into larger runs first."""

Place = tuple[str, str]
"""A position in the order: values of ``SORT_KEY`` and ``SORT_ID``."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted rows in a file: the place of the first row of each batch, and the batches' bytes."""

    path: Path
    first: tuple[Place, ...]
    sizes: tuple[int, ...]


class ExternalSort(ExitStack):
    """Sorts the rows that are added to it.

    Attributes:
        repeats: the number of repeats that were left out so far.
    """

    def __init__(self, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        """Sort with about ``memory_bytes`` of rows in memory; their copies need as much again."""
        super().__init__()
        self._memory = memory_bytes
        self._tables: list[pa.Table] = []
        self._buffered = 0
        self._runs: list[_Run] = []
        self._folder = ""
        self._files = 0
        self.repeats = 0

    def add(self, table: pa.Table) -> None:
        """Add rows, which have the three columns by which they are sorted."""
        self._tables.append(table)
        self._buffered += table.nbytes
        if self._buffered >= self._memory:
            self._runs.append(self._written(iter([self._sorted_buffer()])))

    def sorted(self) -> Iterator[pa.Table]:
        """The rows in order, some at a time, without the columns by which they were sorted."""
        if not self._runs:
            if self._tables:
                yield self._sorted_buffer().drop_columns(list(SORT_COLUMNS))
            return
        if self._tables:
            self._runs.append(self._written(iter([self._sorted_buffer()])))
        while len(self._runs) > MAX_RUNS:
            merged, rest = self._runs[:MAX_RUNS], self._runs[MAX_RUNS:]
            self._runs = [*rest, self._written(self._merged(merged))]
            for run in merged:
                run.path.unlink()
        for table in self._merged(self._runs):
            yield table.drop_columns(list(SORT_COLUMNS))

    def _sorted_buffer(self) -> pa.Table:
        table = pa.concat_tables(self._tables)
        self._tables.clear()
        self._buffered = 0
        return self._ordered(table)

    def _ordered(self, table: pa.Table) -> pa.Table:
        """Rows in order, without repeats."""
        table = table.combine_chunks()
        table = table.take(pc.sort_indices(table, sort_keys=_ORDER))
        if len(table) < 2:
            return table
        equal = [
            pc.equal(table.column(name)[:-1], table.column(name)[1:])
            for name in (SORT_KEY, SORT_ID)
        ]
        repeated = pc.and_(*equal)
        count = pc.sum(repeated).as_py() or 0
        if not count:
            return table
        self.repeats += count
        last = np.append(~repeated.to_numpy(), True)
        return table.filter(pa.array(last))

    def _written(self, tables: Iterator[pa.Table]) -> _Run:
        """Write sorted rows to a file."""
        if not self._folder:
            self._folder = self.enter_context(tempfile.TemporaryDirectory(prefix="sort-"))
        path = Path(self._folder) / f"{self._files}.arrow"
        self._files += 1
        first: list[Place] = []
        sizes: list[int] = []
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writer = None
        with pa.OSFile(str(path), "wb") as sink:
            for table in tables:
                writer = writer or pa.ipc.new_file(sink, table.schema, options=options)
                rows = max(1, len(table) * self._memory // BATCHES_PER_MEMORY // table.nbytes)
                for batch in table.combine_chunks().to_batches(max_chunksize=rows):
                    writer.write_batch(batch)
                    first.append(_place(batch, 0))
                    sizes.append(batch.nbytes)
            if writer is not None:
                writer.close()
        return _Run(path, tuple(first), tuple(sizes))

    def _merged(self, runs: Sequence[_Run]) -> Iterator[pa.Table]:
        """The rows of several runs in order, those of one range in memory at a time."""
        bounds = [None, *_bounds(runs, self._memory), None]
        sources = [pa.OSFile(str(run.path), "rb") for run in runs]
        try:
            files = [pa.ipc.open_file(source) for source in sources]
            for start, end in pairwise(bounds):
                batches = [
                    file.get_batch(index)
                    for run, file in zip(runs, files, strict=True)
                    for index in _batches(run, start, end)
                ]
                if batches:
                    table = _between(pa.Table.from_batches(batches), start, end)
                    if len(table):
                        yield self._ordered(table)
        finally:
            for source in sources:
                source.close()


def _bounds(runs: Sequence[_Run], memory_bytes: int) -> list[Place]:
    """Places that divide the rows of all runs into ranges of about ``memory_bytes``."""
    batches = sorted(
        (place, size) for run in runs for place, size in zip(run.first, run.sizes, strict=True)
    )
    bounds: list[Place] = []
    total = 0
    for place, size in batches:
        total += size
        if total > memory_bytes and (not bounds or place > bounds[-1]):
            bounds.append(place)
            total = size
    return bounds


def _batches(run: _Run, start: Place | None, end: Place | None) -> range:
    """The batches of a run that may have rows from ``start`` on and before ``end``."""
    after = bisect_left(run.first, start) if start is not None else 0
    exact = after < len(run.first) and run.first[after] == start
    first = after if exact or not after else after - 1
    last = bisect_left(run.first, end) if end is not None else len(run.first)
    return range(first, last)


def _between(table: pa.Table, start: Place | None, end: Place | None) -> pa.Table:
    """The rows from ``start`` on and before ``end``."""
    key, identity = table.column(SORT_KEY), table.column(SORT_ID)
    if start is not None:
        found = pc.or_(
            pc.greater(key, start[0]),
            pc.and_(pc.equal(key, start[0]), pc.greater_equal(identity, start[1])),
        )
        table = table.filter(found)
        key, identity = table.column(SORT_KEY), table.column(SORT_ID)
    if end is not None:
        found = pc.or_(
            pc.less(key, end[0]), pc.and_(pc.equal(key, end[0]), pc.less(identity, end[1]))
        )
        table = table.filter(found)
    return table


def _place(batch: pa.RecordBatch, row: int) -> Place:
    return batch.column(SORT_KEY)[row].as_py(), batch.column(SORT_ID)[row].as_py()
