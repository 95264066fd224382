"""A view updated: incoming rows distributed to buckets, buckets merged, the new version published.

    with Processes() as run_steps:
        updated = update(LocalStore("/lake/orders"), request, run_steps)

A run that is stopped anywhere has published its version whole or not at all. Run again, it does the
same work again: the result does not depend on how often a change is merged.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from secrets import token_hex
from typing import Final

import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.hive.names import KEYS
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.bucket import (
    BUCKET_COLUMN,
    Counts,
    MergeBucket,
    MergedBucket,
    Rows,
    read_rows,
)
from ddb_pipeline.lake.current.keys import KeyAttribute, texts_of_columns
from ddb_pipeline.lake.current.manifest import BucketFile, Manifest, iso
from ddb_pipeline.lake.current.merge import BEFORE_ALL, Horizon
from ddb_pipeline.lake.current.rows import REMOVED, incoming_schema, with_columns
from ddb_pipeline.lake.current.sizing import ESTIMATED_ROW_BYTES, bucket_count, estimated_memory
from ddb_pipeline.lake.current.sources import Source
from ddb_pipeline.lake.current.spill import SpilledBatch, spill
from ddb_pipeline.lake.current.steps import RunSteps
from ddb_pipeline.lake.current.store import ConcurrentUpdateError, Store, Work

KEEP_TOMBSTONES: Final = 35 * 86_400 * 1_000_000
"""Microseconds for which deletes are remembered. Point-in-time recovery, and so an export's window,
goes back 35 days; a stream 24 hours."""
_PURGE_EVERY: Final = 86_400 * 1_000_000
"""Microseconds by which a delete may be too old before its bucket is written for that reason."""


class ReservedColumnError(DdbPipelineError):
    """An attribute has the name of the buckets' partition column."""


class StreamBehindError(DdbPipelineError):
    """Changes from before the full export's time are still to be delivered."""


@dataclass(frozen=True, slots=True)
class Request:
    """An update of a view.

    Attributes:
        manifest: the manifest as it is to be, apart from the files: table, key, columns, snapshot,
            ``as_of``, applied exports, marks.
        sources: the incoming rows, in parts.
        replaces: whether they have all items of the full export in ``manifest.snapshot``.
        buckets: number of buckets; None to keep it, or to choose it by size.
        keep_tombstones: microseconds for which deletes are remembered: as long as an older change
            of their keys may still arrive.
        complete: from a moment, inclusive, to another, exclusive, in microseconds of the epoch: the
            sources have every item that was there at one of both and changed between them. One of
            the state that was last written in this time and is not among them was deleted in it.
        delivered_until: the moment up to which the stream is delivered without gap, in microseconds
            of the epoch; needed if ``manifest.snapshot`` has a slack.
        int96: as in ``parquet_write_options``.
    """

    manifest: Manifest
    sources: tuple[Source, ...]
    replaces: bool = False
    buckets: int | None = None
    keep_tombstones: int = KEEP_TOMBSTONES
    complete: tuple[int, int] | None = None
    delivered_until: int | None = None
    int96: bool = True


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did.

    Attributes:
        manifest: the version that is current now.
        published: whether that is a new one.
        rewritten: number of buckets whose items were written again.
        counts: what the changes did.
        seconds: wall-clock time.
    """

    manifest: Manifest
    published: bool
    rewritten: int
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0


def update(
    store: Store,
    plan: Callable[[Manifest], Request | None],
    run_steps: RunSteps,
    *,
    run: str = "",
) -> Updated:
    """Update a view.

    Args:
        store: where it is.
        plan: what is to be done, for the manifest of the current version (version 0 if there is
            none); None for nothing.
        run_steps: such as ``steps.Processes``, or ``spark.current_job.on_executors``.
        run: a name of the run that no other run has; one is made up by default.

    Raises:
        ManifestError: the folder holds something else than a view.
        ConcurrentUpdateError: another run updates the view, or has done so meanwhile.
        ReservedColumnError: an item has an attribute ``key_bucket``.
        StreamBehindError: the stream is not delivered up to the time of the full export.
    """
    began = time.monotonic()
    with store.working(run or token_hex(6)) as work:
        before = store.read()
        request = plan(before.manifest)
        if request is None:
            return Updated(before.manifest, published=False, rewritten=0)
        _check_columns(request.manifest)
        _check_delivered(request)
        try:
            memory = 0
            if request.buckets is None and (request.replaces or not before.manifest.files):
                memory = estimated_memory(request.sources, request.manifest.columns)
            buckets = bucket_count(request.buckets, before.manifest.files, memory)
            merged, manifest = _merged(store, before.manifest, request, buckets, work, run_steps)
        except OSError:
            # Another run that has published may have deleted files that this one reads.
            if store.read().token != before.token:
                raise ConcurrentUpdateError(
                    f"Another run has updated {store.path} meanwhile. Nothing was published; run "
                    "again."
                ) from None
            raise
        store.publish(before, manifest, work)
    return Updated(
        manifest,
        published=True,
        rewritten=sum(bucket.rewritten for bucket in merged),
        counts=sum((bucket.counts for bucket in merged), Counts()),
        seconds=time.monotonic() - began,
    )


def _check_columns(manifest: Manifest) -> None:
    if any(column.name == BUCKET_COLUMN for column in manifest.columns):
        raise ReservedColumnError(
            f"The items have an attribute {BUCKET_COLUMN!r}, which is the name of the view's "
            "partition column. Rename the attribute in the table."
        )


def _check_delivered(request: Request) -> None:
    snapshot = request.manifest.snapshot
    if not request.replaces or snapshot is None or not snapshot.slack:
        return
    if request.delivered_until is None or request.delivered_until < snapshot.time:
        until = "an unknown moment"
        if request.delivered_until is not None:
            until = iso(request.delivered_until)
        raise StreamBehindError(
            f"The stream is delivered up to {until} only, the full export {snapshot.export} is of "
            f"{iso(snapshot.time)}. Update the view when the stream is delivered up to that time."
        )


@dataclass(frozen=True, slots=True)
class Distribute:
    """The step that distributes a part of the incoming rows to buckets."""

    source: Source
    columns: tuple[Column, ...]
    buckets: int
    filesystem: pyarrow.fs.FileSystem
    stem: str
    size: int

    def run(self) -> tuple[SpilledBatch, ...]:
        """Read and write."""
        return tuple(
            spill(self.source.tables(self.columns), self.buckets, self.filesystem, self.stem)
        )


@dataclass(frozen=True, slots=True)
class StateSource:
    """A bucket of the old version as rows to distribute anew.

    ``key`` is needed if the rows have no ``ddb_keys``.
    """

    filesystem: pyarrow.fs.FileSystem
    view: str
    file: BucketFile
    key: tuple[KeyAttribute, ...]

    @property
    def rows(self) -> int:
        """As ``Source.rows``."""
        return self.file.rows

    def tables(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As ``Source.tables``; a tombstone is a row that is removed."""
        schema = incoming_schema(columns)
        for path in self.file.paths:
            table = read_rows(self.filesystem, f"{self.view}/{path}")
            if table.column(KEYS).null_count and self.key:
                position = table.schema.get_field_index(KEYS)
                texts = texts_of_columns(table, self.key)
                table = table.set_column(position, KEYS, texts)
            is_deleted = pa.repeat(pa.scalar(path == self.file.tombstones_path), len(table))
            yield with_columns(table.append_column(REMOVED, is_deleted), schema)


def _merged(
    store: Store,
    before: Manifest,
    request: Request,
    buckets: int,
    work: Work,
    run_steps: RunSteps,
) -> tuple[list[MergedBucket], Manifest]:
    """The new version's files, written to the working folder, and its manifest."""
    after = request.manifest
    learned_key = bool(after.key) and not before.key
    anew = bool(before.files) and (buckets != before.buckets or learned_key)
    old_parts = [
        StateSource(store.filesystem, store.path, file, after.key) for file in before.files
    ]
    old_rows = _distributed(old_parts, "state", request, buckets, work, run_steps) if anew else {}
    incoming = _distributed(request.sources, "incoming", request, buckets, work, run_steps)
    tombstones_from = max(before.tombstones_from, after.as_of - request.keep_tombstones)
    rewrite = after.columns != before.columns
    steps = _merge_steps(
        store,
        () if anew else before.files,
        [
            Rows(work.filesystem, old_rows.get(bucket, ()), incoming.get(bucket, ()))
            for bucket in range(buckets)
        ],
        work,
        after.columns,
        _horizon(after, request, tombstones_from),
        rewrite,
        request.int96,
    )
    merged = list(run_steps(steps))
    files = dict(enumerate(before.files)) if not anew else {}
    files |= {bucket.bucket: bucket.file for bucket in merged}
    manifest = replace(
        after,
        version=before.version + 1,
        run=work.run,
        tombstones_from=tombstones_from,
        files=tuple(files[number] for number in range(buckets)),
        replaced=before.replaced,
    )
    return merged, manifest


def _horizon(manifest: Manifest, request: Request, tombstones_from: int) -> Horizon:
    snapshot = manifest.snapshot
    return Horizon(
        snapshot=BEFORE_ALL if snapshot is None else snapshot.position,
        replaces=request.replaces,
        tombstones=tombstones_from,
        complete=request.complete,
    )


def _distributed(
    sources: Sequence[Source],
    name: str,
    request: Request,
    buckets: int,
    work: Work,
    run_steps: RunSteps,
) -> dict[int, tuple[SpilledBatch, ...]]:
    """The rows of sources, written to the run's folder, by bucket."""
    work.filesystem.create_dir(work.scratch, recursive=True)
    steps = [
        Distribute(
            source,
            request.manifest.columns,
            buckets,
            work.filesystem,
            f"{work.scratch}/{name}-{number}",
            source.rows * ESTIMATED_ROW_BYTES,
        )
        for number, source in enumerate(sources)
    ]
    found: dict[int, list[SpilledBatch]] = {}
    for batch in chain.from_iterable(run_steps(steps)):
        found.setdefault(batch.bucket, []).append(batch)
    # In the order of the sources, whichever step ended first: equal runs write equal files.
    return {
        bucket: tuple(sorted(batches, key=lambda batch: batch.path))
        for bucket, batches in found.items()
    }


def _merge_steps(
    store: Store,
    old: Sequence[BucketFile],
    rows: Sequence[Rows],
    work: Work,
    columns: tuple[Column, ...],
    horizon: Horizon,
    rewrite: bool,
    int96: bool,
) -> list[MergeBucket]:
    """The steps for the buckets that may change."""
    steps = []
    for bucket, incoming in enumerate(rows):
        file = old[bucket] if old else None
        if not (
            file is None
            or rewrite
            or horizon.replaces
            or horizon.complete
            or incoming.incoming
            or _purges(file, horizon)
        ):
            continue
        memory = file.memory if file is not None else 0
        arriving = sum(batch.rows for batch in (*incoming.state, *incoming.incoming))
        steps.append(
            MergeBucket(
                bucket=bucket,
                size=memory + arriving * ESTIMATED_ROW_BYTES,
                filesystem=store.filesystem,
                view=store.path,
                old=file,
                columns=columns,
                rows=incoming,
                horizon=horizon,
                version=work.version,
                run_id=work.run,
                rewrite=rewrite,
                int96=int96,
            )
        )
    return steps


def _purges(file: BucketFile, horizon: Horizon) -> bool:
    """Whether a bucket has deletes that are to be forgotten, since a day or longer."""
    return file.tombstones > 0 and file.oldest_tombstone < horizon.tombstones - _PURGE_EVERY
