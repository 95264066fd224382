"""The exports under a pipeline's prefix that a current view lacks."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ddb_pipeline.config.names import export_path
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.export.finished import export_ids, first_id
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.source import open_export
from ddb_pipeline.export.window import RECOVERY_DAYS
from ddb_pipeline.lake.current.chain import window_of
from ddb_pipeline.lake.current.manifest import AppliedExport, Manifest
from ddb_pipeline.lake.current_sources import Opened, snapshot_of
from ddb_pipeline.resources.cloud import CloudResource

DAY = 86_400.0
MICROS = 1_000_000
EXPORTS_AT_ONCE = 1000
OLDEST_DAYS = RECOVERY_DAYS
"""Age in days of the exports with which a view begins: no incremental one reaches further back."""


@dataclass(frozen=True, slots=True)
class Found:
    """Exports for a view.

    Attributes:
        full: the full export to begin with, or to go on with after a gap; None to continue.
        changes: incremental exports that follow without a gap, in the order of their windows.
    """

    full: Opened | None = None
    changes: tuple[Opened, ...] = ()


def found_exports(
    cloud: CloudResource, pipeline: PipelineConfig, state: Manifest, *, newest_full: bool = False
) -> Found:
    """The exports that continue a view.

    Args:
        newest_full: return the newest full export only, whether there is a gap or not.
    """
    since = state.as_of / MICROS - 2 * DAY
    if not state.version:
        since = time.time() - OLDEST_DAYS * DAY
    if newest_full:
        return Found(next(full_exports(cloud, pipeline, since), None))
    if state.version:
        changes = opened_since(cloud, pipeline, since)
        chain = continued(state.as_of, changes)
        has_gap = any(window_of(export).start > state.as_of for _, export in changes)
        if chain or not has_gap:
            return Found(changes=chain)
    full = next(full_exports(cloud, pipeline, since), None)
    if full is None:
        return Found()
    base = snapshot_of(full[1]).time
    if state.snapshot is not None and base <= state.snapshot.time:
        return Found()
    later = opened_since(cloud, pipeline, base / MICROS - 2 * DAY)
    return Found(full, continued(base, later))


def continued(as_of: int, changes: Sequence[Opened]) -> tuple[Opened, ...]:
    """The exports whose windows follow a moment: each begins where the one before it has ended.

    One that begins earlier is not used: an export has nothing of an item that was created and
    deleted in its window, so that the view would keep an item that was created before the moment.

    Args:
        as_of: microseconds of the epoch.
    """
    windows: list[tuple[AppliedExport, Opened]] = [(window_of(each[1]), each) for each in changes]
    chain: list[Opened] = []
    while True:
        next_ones = [each for each in windows if each[0].start == as_of]
        if not next_ones:
            return tuple(chain)
        window, opened = max(next_ones, key=lambda each: each[0].end)
        chain.append(opened)
        as_of = window.end


def opened_since(cloud: CloudResource, pipeline: PipelineConfig, since: float) -> list[Opened]:
    """The finished incremental exports that were requested since a moment, epoch seconds."""
    found = (opened_or_none(cloud, pipeline, each) for each in ids_since(cloud, pipeline, since))
    return [each for each in found if each is not None and each[1].summary.incremental]


def full_exports(cloud: CloudResource, pipeline: PipelineConfig, since: float) -> Iterator[Opened]:
    """The finished full exports requested since a moment, epoch seconds, the newest one first."""
    for export_id in reversed(ids_since(cloud, pipeline, since)):
        opened = opened_or_none(cloud, pipeline, export_id)
        if opened is not None and not opened[1].summary.incremental:
            yield opened


def ids_since(cloud: CloudResource, pipeline: PipelineConfig, since: float) -> list[str]:
    """The ids of the exports that were requested since a moment, epoch seconds."""
    prefix, found = pipeline.bucket_export_prefix, [first_id(max(0.0, since))]
    while True:
        listed = export_ids(
            cloud.s3, pipeline.bucket, prefix, after=found[-1], limit=EXPORTS_AT_ONCE
        )
        found += listed
        if len(listed) < EXPORTS_AT_ONCE:
            return found[1:]


def opened_or_none(cloud: CloudResource, pipeline: PipelineConfig, export_id: str) -> Opened | None:
    """An export of the pipeline's bucket; None where it is not finished or is damaged."""
    try:
        return opened_export(cloud, pipeline, export_id)
    except ExportError:
        return None


def opened_export(cloud: CloudResource, pipeline: PipelineConfig, export_id: str) -> Opened:
    """An export of the pipeline's bucket.

    Raises:
        ExportError: it is missing, not finished or damaged.
    """
    return open_export(cloud.filesystem(), export_path(pipeline, export_id))
