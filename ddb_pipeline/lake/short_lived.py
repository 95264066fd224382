"""Items that were created shortly before a gap and deleted in it.

A gap's first window begins a little before the gap. An incremental export has nothing of an item
that was created and deleted in its window, so that the end of an item whose creation was delivered
in that time is in no export and in no record. Such an item is one that was delivered then, is not
in the export, and is no longer in the table.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.layout import ItemChange
from ddb_pipeline.export.rows.changes import REMOVE
from ddb_pipeline.hive.names import EVENT_NAME, EVENT_TIME, KEYS
from ddb_pipeline.lake.current.keys import canonical_texts
from ddb_pipeline.lake.current.rows import epoch_micros
from ddb_pipeline.lake.gaps import PAD_BEFORE

SLACK_SECONDS: Final = 2.0
"""By how much the stream's times may differ from those of the writes."""
BATCH_ROWS: Final = 64 * 1024
MICROS: Final = 1_000_000

Delivered = dict[str, int]
"""The time of each item's last change, microseconds of the epoch, by the key's canonical text."""


def beginning(window_start: float) -> tuple[float, float]:
    """The time, epoch seconds, in which creations were delivered although a window has begun."""
    return window_start - SLACK_SECONDS, window_start + PAD_BEFORE + SLACK_SECONDS


def delivered_items(
    filesystem: pyarrow.fs.FileSystem, paths: Iterable[str], span: tuple[float, float]
) -> Delivered:
    """The items that were delivered in a time, by Parquet of the change log, and not as deleted.

    Args:
        span: epoch seconds, from the first inclusive to the second exclusive.
    """
    newest: dict[str, tuple[int, bool]] = {}
    for path in paths:
        with filesystem.open_input_file(path) as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us")
            if not {KEYS, EVENT_TIME, EVENT_NAME} <= set(file.schema_arrow.names):
                continue
            names = [KEYS, EVENT_TIME, EVENT_NAME]
            for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                for key, change in _changes_in(pa.Table.from_batches([batch]), span):
                    newest[key] = max(newest.get(key, change), change)
    return {key: micros for key, (micros, is_deleted) in newest.items() if not is_deleted}


def _changes_in(
    table: pa.Table, span: tuple[float, float]
) -> Iterator[tuple[str, tuple[int, bool]]]:
    """The changes of a time: key, time, and whether the item was deleted."""
    table = table.filter(pc.and_(pc.is_valid(table.column(KEYS)), pc.is_valid(table[EVENT_TIME])))
    micros = epoch_micros(table)
    inside = np.flatnonzero((micros >= span[0] * MICROS) & (micros < span[1] * MICROS))
    rows = table.take(pa.array(inside))
    keys = canonical_texts(rows.column(KEYS).combine_chunks()).to_pylist()
    deleted = pc.equal(rows.column(EVENT_NAME), REMOVE).to_pylist()
    yield from zip(keys, zip(micros[inside].tolist(), deleted, strict=True), strict=True)


def deletion(keys: Item, micros: int) -> ItemChange:
    """The delete of an item that was last changed at a time, in whole seconds as the stream has it.

    It is newer than that change, and older than every later one.
    """
    return ItemChange(keys, None, None, micros // MICROS * MICROS + 999_000)
