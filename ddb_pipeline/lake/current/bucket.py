"""One bucket: its state read, merged and written. At most one is in memory at a time."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.manifest import TOMBSTONES, BucketFile
from ddb_pipeline.lake.current.merge import Horizon, merge
from ddb_pipeline.lake.current.rows import (
    REMOVED,
    UPDATED_AT,
    incoming_schema,
    state_schema,
    tombstone_schema,
    with_columns,
)
from ddb_pipeline.lake.current.spill import SpilledBatch, read_spilled
from ddb_pipeline.parquet.parts import SAMPLE_ROWS, repeating_columns

ROW_GROUP_ROWS: Final = 128 * 1024
COMPRESSION: Final = "zstd"
BUCKET_COLUMN: Final = "key_bucket"
"""The partition column by which readers see the folders."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a merge did; the numbers of buckets are added."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    superseded: int = 0
    too_late: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.superseded + other.superseded,
            self.too_late + other.too_late,
        )


@dataclass(frozen=True, slots=True)
class MergedBucket:
    """The result for one bucket: its files, of which those of the old version may be some."""

    bucket: int
    file: BucketFile
    rewritten: bool
    counts: Counts


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows on their way to one bucket.

    Attributes:
        filesystem: of the files.
        state: rows and tombstones of the old version, if its buckets were others; else none.
        incoming: changes, and items of a full export.
    """

    filesystem: pyarrow.fs.FileSystem
    state: tuple[SpilledBatch, ...] = ()
    incoming: tuple[SpilledBatch, ...] = ()


@dataclass(frozen=True, slots=True)
class MergeBucket:
    """The step that merges one bucket.

    Attributes:
        bucket: its number.
        size: estimate of its bytes in memory.
        view: the view's folder, from which the old version is read.
        old: the bucket's files in the old version; None if there is none, or it is in ``rows``.
        columns: the item's columns of the new version.
        rows: what is merged.
        horizon: what is old.
        version: folder for the files of the new version, in the view's file system.
        run_id: identifies the run, in the names of files.
        rewrite: whether the file of the items is written even if no item changes.
        int96: as in ``parquet_write_options``.
    """

    bucket: int
    size: int
    filesystem: pyarrow.fs.FileSystem
    view: str
    old: BucketFile | None
    columns: tuple[Column, ...]
    rows: Rows
    horizon: Horizon
    version: str
    run_id: str
    rewrite: bool = False
    int96: bool = True

    def run(self) -> MergedBucket:
        """Read, merge, and write what has changed."""
        schema = incoming_schema(self.columns)
        state, tombstones = self._state(schema)
        incoming = read_spilled(self.rows.filesystem, self.rows.incoming, schema)
        merged = merge(state, tombstones, incoming, self.horizon)
        rewritten = self.old is None or self.rewrite or merged.rows_changed
        file = self._write_rows(merged.rows) if self.old is None or rewritten else self.old
        if self.old is None or merged.tombstones_changed:
            file = self._with_tombstones(file, merged.tombstones)
        else:
            file = replace(
                file,
                tombstones_path=self.old.tombstones_path,
                tombstones=self.old.tombstones,
                oldest_tombstone=self.old.oldest_tombstone,
            )
        counts = Counts(
            merged.inserted, merged.updated, merged.deleted, merged.superseded, merged.too_late
        )
        return MergedBucket(self.bucket, file, rewritten, counts)

    def _state(self, incoming: pa.Schema) -> tuple[pa.Table, pa.Table]:
        schema = state_schema(self.columns)
        deleted = tombstone_schema()
        if self.old is not None:
            rows = with_columns(self._read(self.old.path), schema)
            path = self.old.tombstones_path
            return rows, self._read(path).cast(deleted) if path else deleted.empty_table()
        spilled = read_spilled(self.rows.filesystem, self.rows.state, incoming)
        removed = spilled.column(REMOVED).combine_chunks().to_numpy(zero_copy_only=False)
        mask = removed.astype(np.bool_)
        rows = spilled.filter(pa.array(~mask)).drop_columns([REMOVED])
        return rows, spilled.filter(pa.array(mask)).select(deleted.names)

    def _read(self, path: str) -> pa.Table:
        return read_rows(self.filesystem, f"{self.view}/{path}")

    def _write_rows(self, rows: pa.Table) -> BucketFile:
        path = f"{BUCKET_COLUMN}={self.bucket}/rows-{self.run_id}.parquet"
        size = self._write(path, rows)
        return BucketFile(path, len(rows), size, int(rows.nbytes))

    def _with_tombstones(self, file: BucketFile, tombstones: pa.Table) -> BucketFile:
        if not len(tombstones):
            return replace(file, tombstones_path="", tombstones=0, oldest_tombstone=0)
        # No ".parquet": a reader that lists all files of that name finds only the items.
        path = f"{TOMBSTONES}{self.bucket}-{self.run_id}"
        self._write(path, tombstones)
        oldest = pc.min(tombstones.column(UPDATED_AT).cast(pa.int64())).as_py()
        return replace(
            file, tombstones_path=path, tombstones=len(tombstones), oldest_tombstone=oldest
        )

    def _write(self, path: str, table: pa.Table) -> int:
        full = f"{self.version}/{path}"
        self.filesystem.create_dir(full.rpartition("/")[0], recursive=True)
        with self.filesystem.open_output_stream(full) as sink:
            pq.write_table(
                table,
                sink,
                row_group_size=ROW_GROUP_ROWS,
                compression=COMPRESSION,
                use_dictionary=repeating_columns(table.slice(0, SAMPLE_ROWS)),
                **parquet_write_options(int96=self.int96),
            )
            return int(sink.tell())


def read_rows(filesystem: pyarrow.fs.FileSystem, path: str) -> pa.Table:
    """The rows of one file of a view, as they were written."""
    with filesystem.open_input_file(path) as source:
        # Without the unit, INT96 would be read as nanoseconds, which do not hold all years.
        file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us", pre_buffer=True)
        return file.read(use_threads=False)
