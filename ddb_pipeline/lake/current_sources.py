"""What of a lake a current view has not merged yet: objects of the stream, and healed gaps.

A view remembers digests of the objects that it has merged, for the hours of about a day; an object
of an older hour is merged again, which changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import pyarrow.fs

from ddb_pipeline.export.changes import moment_micros
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.export.tasks import TASK_ITEMS, plan_tasks
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.chain import name_of
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import Manifest, Snapshot, TableIdentity
from ddb_pipeline.lake.current.sources import ExportPart, ParquetPart, Source
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.current.update import Request
from ddb_pipeline.lake.hour_generations import HourObjects, source_digest
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.root import LakeRoot

Opened = tuple[ExportFolder, Export]
SLACK_SECONDS: Final = 300
"""A change of the stream from this long before a full export on is newer than the export's items:
the stream's times are approximate, and rounded down to seconds."""
REMEMBERED_HOURS: Final = 26
ESTIMATED_ROW_BYTES: Final = 60
"""Bytes of a row in a Parquet object; it only balances the work."""
HOURS, HEALED, EVENTS = "hours", "healed", "events"
"""Marks of a view: digests of objects by hour, ids of exports that healed gaps, and the position in
Dagster's event log up to which changed hours were looked at."""
MICROS: Final = 1_000_000


class Unmerged(NamedTuple):
    """Objects of an hour to merge: key and size of each, and the digests to remember."""

    objects: tuple[tuple[str, int], ...]
    digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class LakeChanges:
    """What a view is to be updated with.

    Attributes:
        table: the DynamoDB table.
        key: the key's attributes, in the order of their names.
        columns: the lake table's columns of the items.
        full: a full export that is newer than the view's, if it is to be the new base.
        objects: objects of the stream that are not merged yet, by hour.
        healed: incremental exports that healed gaps and are not merged yet, by export id.
        delivered_until: all changes before this moment are delivered, epoch seconds.
        events: as the mark of this name.
        decisions: what is decided about values of several types.
    """

    table: TableIdentity
    key: tuple[KeyAttribute, ...]
    columns: tuple[Column, ...]
    full: Opened | None
    objects: Mapping[DeliveryHour, Unmerged]
    healed: Mapping[str, Opened]
    delivered_until: float
    events: int
    decisions: TypeDecisions = NO_DECISIONS


def plan_lake_changes(
    state: Manifest, found: LakeChanges, filesystem: pyarrow.fs.FileSystem, lake: LakeRoot
) -> Request | None:
    """The update of a view by changes of a lake; None where there is nothing to merge."""
    if found.full is None and not state.version:
        return None
    objects = [each for unmerged in found.objects.values() for each in unmerged.objects]
    columns = joined_columns(state.columns, found.columns, found.decisions).columns
    if not objects and not found.healed and found.full is None and columns == state.columns:
        return None
    manifest = replace(
        state,
        table=found.table,
        key=found.key,
        columns=columns,
        as_of=max(state.as_of, int(found.delivered_until * MICROS)),
        marks=next_marks(state.marks, found),
    )
    sources: list[Source] = []
    if found.full is not None:
        folder, export = found.full
        snapshot = snapshot_of(export)
        manifest = replace(manifest, snapshot=snapshot, as_of=max(manifest.as_of, snapshot.time))
        sources += _parts(folder, export, found)
    for folder, export in found.healed.values():
        sources += _parts(folder, export, found)
    sources += [
        ParquetPart(filesystem, lake.path(key), "stream", size // ESTIMATED_ROW_BYTES)
        for key, size in objects
    ]
    return Request(
        manifest,
        tuple(sources),
        replaces=found.full is not None,
        delivered_until=int(found.delivered_until * MICROS),
    )


def snapshot_of(export: Export) -> Snapshot:
    """A full export as the base of a view of the stream."""
    time = moment_micros(export, export.summary.export_time)
    return Snapshot(name_of(export), time, SLACK_SECONDS * MICROS)


def _parts(folder: ExportFolder, export: Export, found: LakeChanges) -> list[Source]:
    return [
        ExportPart(folder, Export(export.summary, task.files), found.key, found.decisions)
        for task in plan_tasks(export.files, TASK_ITEMS)
    ]


def next_marks(marks: Mapping[str, Any], found: LakeChanges) -> dict[str, Any]:
    """The marks after an update: of the newest hours only."""
    hours = {name: set(known) for name, known in marks.get(HOURS, {}).items()}
    for hour, objects in found.objects.items():
        hours.setdefault(hour.partition_key, set()).update(objects.digests)
    newest = sorted(hours)[-REMEMBERED_HOURS:]
    return {
        **marks,
        HOURS: {name: sorted(hours[name]) for name in newest},
        HEALED: [*marks.get(HEALED, ()), *found.healed][-1000:],
        EVENTS: found.events,
    }


def unmerged(
    objects_of: Callable[[DeliveryHour], HourObjects],
    hours: Iterable[DeliveryHour],
    marks: Mapping[str, Any],
) -> dict[DeliveryHour, Unmerged]:
    """The objects of these hours that a view has not merged, for all it remembers."""
    found = {}
    for hour in sorted(set(hours)):
        known = frozenset(marks.get(HOURS, {}).get(hour.partition_key, ()))
        there = objects_of(hour)
        generation = there.generation
        new = [stored for stored in there.raw if source_digest(stored) not in known]
        digests = {source_digest(stored) for stored in new}
        paths = [(stored.key, stored.size) for stored in new]
        if generation is not None and not generation.sources <= known:
            sizes = [part.size for part in generation.files]
            paths += zip(generation.keys(hour), sizes, strict=True)
            digests |= generation.sources
        if paths:
            found[hour] = Unmerged(tuple(paths), frozenset(digests))
    return found


def hours_to_list(
    state: Manifest, now: float, changed: Iterable[DeliveryHour], base: Snapshot | None
) -> list[DeliveryHour]:
    """The hours in which a view looks for objects: recent ones, and those that have changed.

    Args:
        changed: hours that were materialised since the view's last update.
        base: the full export for the first version of a view: all hours since then are listed.
    """
    end = DeliveryHour.of(now).plus(1)
    if base is not None:
        return list(DeliveryHour.of(base.position / MICROS - 3600).until(end))
    first = end.plus(-REMEMBERED_HOURS)
    if state.snapshot is not None:
        oldest = DeliveryHour.of(state.snapshot.position / MICROS - 3600)
        first = max(first, oldest)
        changed = [hour for hour in changed if hour >= oldest]
    return sorted({*first.until(end), *changed})
