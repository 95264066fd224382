"""Vacuum: removes objects of the lake that a newer one has replaced, after a time.

What a run removes is listed first, and may only be listed. Nothing is removed that a reader of the
catalog, a check or a redelivery still needs: raw objects only where their rows are in the
generation that readers read, generations only when readers have had time to leave them, snapshots
only after their partition was removed, incremental exports and their changes only once the current
view has merged them and would not begin before them if it were built again. A run may stop at any
step, and another does the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.finished import export_ids
from ddb_pipeline.export.layout import FILES, SUMMARY, data_folder, export_folder
from ddb_pipeline.export.manifest import MalformedExportError, read_files, read_summary
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.partitions import (
    CatalogPartition,
    delete_partition,
    find_partition,
    point_partition,
)
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.compacted_hours import compacted_hours
from ddb_pipeline.lake.converted_exports import Converted
from ddb_pipeline.lake.generations import read_generation, uncovered
from ddb_pipeline.lake.layout import CHANGES_PREFIX, SNAPSHOT_PREFIX, STATE_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_folders, list_objects
from ddb_pipeline.lake.retention import (
    Removal,
    RetentionPolicy,
    ViewNeeds,
    changes_are_removable,
    export_is_removable,
    kept_snapshots,
    raw_is_removable,
    stale_folders,
)
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.parquet.publish import SUCCESS

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_s3.client import S3Client

RETIRED_PREFIX = f"{STATE_PREFIX}retired-snapshots/"
"""A small object for each snapshot whose partition was removed, and whose objects still exist."""
RETIRED_CHANGES_PREFIX = f"{STATE_PREFIX}retired-changes/"
"""As ``RETIRED_PREFIX``, for changes."""
MAX_OBJECTS = 100_000
"""Objects that a run removes, and about which it knows at a time."""
MAX_EXPORTS = 1_000
KEYS_PER_DELETE = 1_000
"""The limit of DeleteObjects (Amazon S3 API reference)."""
DELETERS = 8


class VacuumError(DdbPipelineError):
    """Objects cannot be removed; the message names one of them."""


@dataclass(frozen=True, slots=True)
class VacuumTarget:
    """A pipeline's lake.

    Attributes:
        lake_table: the catalog table of the stream.
        snapshot_table, changes_table: the catalog tables of the snapshots and of the changes.
        export_prefix: where exports lie in the lake.
        needed_since: raw objects of hours that end later are still read, epoch seconds.
        view: what the current view needs; None where there is no view.
        iceberg: what the vacuum of the pipeline's Iceberg tables found.
    """

    s3: "S3Client"
    glue: "GlueClient"
    lake: LakeRoot
    lake_table: TableReference
    snapshot_table: TableReference
    changes_table: TableReference
    export_prefix: str
    needed_since: float
    view: ViewNeeds | None = None
    iceberg: tuple["Snapshots", ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshots:
    """What the vacuum of an Iceberg table found.

    Attributes:
        expired: its snapshots that are needed no more.
        removals: files that belong to no other.
        used: the keys of all objects that its other snapshots have.
    """

    expired: tuple[str, ...] = ()
    removals: tuple[Removal, ...] = ()
    used: frozenset[str] = frozenset()


@dataclass(slots=True)
class VacuumReport:
    """What a run removed, or would remove.

    Attributes:
        removals: in the order in which they were found.
        repaired: hours whose partition did not name the current generation.
        retired: snapshots whose partition was removed, and whose objects will be.
        expired: snapshots of Iceberg tables.
        unfinished: whether there is more to remove than a run removes.
    """

    removals: list[Removal] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    unfinished: bool = False

    @property
    def objects(self) -> int:
        """Number of objects of all removals."""
        return sum(len(removal.objects) for removal in self.removals)


class Vacuum:
    """One run.

    Args:
        now: the time of the run, epoch seconds.
        dry_run: whether to find only.
    """

    def __init__(
        self, target: VacuumTarget, policy: RetentionPolicy, now: float, *, dry_run: bool
    ) -> None:
        self._target = target
        self._policy = policy
        self._now = now
        self._dry_run = dry_run
        self.report = VacuumReport()

    def run(self) -> VacuumReport:
        """Remove what is needed no more: of the stream, of the snapshots, of the exports.

        Raises:
            VacuumError: objects cannot be removed.
            CatalogError: the catalog cannot be read or written.
        """
        target = self._target
        for found in target.iceberg:
            self.report.expired.extend(found.expired)
            self.report.removals.extend(found.removals)
        for hour, noted in compacted_hours(target.s3, target.lake):
            if self._is_full():
                return self.report
            if self._now >= noted.modified_at + self._policy.replaced_seconds:
                self._visit(hour, noted)
        snapshots = Converted(
            "snapshot", "snapshot was", SNAPSHOT_PREFIX, RETIRED_PREFIX, target.snapshot_table
        )
        published = self._published(snapshots)
        self._retire(snapshots, published.keys() - kept_snapshots(published, self._policy))
        self._remove_exports(published)
        changes = Converted(
            "changes", "changes were", CHANGES_PREFIX, RETIRED_CHANGES_PREFIX, target.changes_table
        )
        self._retire(changes, self._removable_changes(self._published(changes)))
        return self.report

    def _is_full(self) -> bool:
        self.report.unfinished = self.report.objects >= MAX_OBJECTS
        return self.report.unfinished

    def _visit(self, hour: DeliveryHour, noted: StoredObject) -> None:
        """Remove replaced generations and raw objects of an hour that was compacted."""
        target, policy, now = self._target, self._policy, self._now
        current, _ = read_generation(target.s3, target.lake, hour)
        read = self._repaired_location(hour)
        found = list(list_objects(target.s3, target.lake, hour.compacted_prefix, with_empty=True))
        stale = stale_folders(hour, found, current, read, policy.replaced_seconds, now)
        stale = {
            folder: objects
            for folder, objects in stale.items()
            if not any(o.key in table.used for table in target.iceberg for o in objects)
        }
        for folder, objects in stale.items():
            reason = "another generation has replaced it, or it was never committed"
            self._remove(Removal("generation", f"{hour.partition_key} {folder}", reason, objects))
        raw = tuple(list_objects(target.s3, target.lake, hour.prefix))
        reads_current = current is not None and read.endswith(f"/{current.prefix(hour)}")
        if current is None or not reads_current:
            return
        if (
            raw
            and not uncovered(raw, current)
            and raw_is_removable(hour, current, target.needed_since, policy, now)
        ):
            reason = f"their rows are in generation {current.number}, which readers read"
            self._remove(Removal("raw objects", hour.partition_key, reason, raw))
            raw = ()
        folders = {stored.key.split("/")[-2] for stored in found if stored.key.endswith(".parquet")}
        waits = bool(folders - {*stale, current.folder}) or (raw and policy.raw_seconds)
        if not waits and not self._dry_run:
            # Unless another compaction has begun since.
            conditional.delete(target.s3, target.lake, noted.key, f'"{noted.etag}"')

    def _repaired_location(self, hour: DeliveryHour) -> str:
        """Where readers read an hour; the partition is repaired where it names another generation.

        It does where a compaction was killed, or stopped for long, before it wrote the catalog.
        """
        target, values = self._target, (hour.date, hour.hour)
        found = find_partition(target.glue, target.lake_table, values)
        # Read after the partition: a compaction commits first.
        current, _ = read_generation(target.s3, target.lake, hour)
        location = found.location if found else ""
        if current is None or self._now < current.compacted_at + self._policy.replaced_seconds:
            return location
        wanted = CatalogPartition(values, target.lake.uri(current.prefix(hour)), current.columns)
        if found != wanted:
            self.report.repaired.append(hour.partition_key)
            if not self._dry_run:
                point_partition(target.glue, target.lake_table, wanted)
        # Readers of the former location may not have left it yet.
        return location

    def _published(self, converted: Converted) -> dict[str, float]:
        """The exports whose Parquet is complete, and when it was published, epoch seconds.

        Those that were removed long enough ago are removed first, and are none.
        """
        target, prefix = self._target, converted.folder("").removesuffix("/")
        found: dict[str, float] = {}
        for folder in list_folders(target.s3, target.lake, prefix):
            for stored in list_objects(target.s3, target.lake, f"{folder}{SUCCESS}", limit=1):
                found[folder.removeprefix(prefix).rstrip("/")] = stored.modified_at
        for export_id in self._remove_retired(converted):
            found.pop(export_id, None)
        return found

    def _removable_changes(self, published: Mapping[str, float]) -> list[str]:
        """The incremental exports that nobody needs any more."""
        policy, view = self._policy, self._target.view
        if view is None or not policy.changes_seconds:
            return []
        found = []
        for export_id, at in published.items():
            if self._now < at + policy.changes_seconds:
                continue
            end = self._window_end(export_id)
            if changes_are_removable(export_id, end, at, view, policy, self._now):
                found.append(export_id)
        return found

    def _window_end(self, export_id: str) -> float:
        """The end of an export's window, epoch seconds; past all times if it is not known."""
        target = self._target
        key = f"{export_folder(target.export_prefix, export_id)}{SUMMARY}.json"
        found = conditional.read_if_exists(target.s3, target.lake, key)
        try:
            time = read_summary(key, found.content).to_time if found is not None else ""
            return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
        except (MalformedExportError, ValueError):
            return float("inf")

    def _remove_retired(self, converted: Converted) -> list[str]:
        """Remove what has lost its partition long enough ago, and the exports of it."""
        target, removed = self._target, []
        for noted in list(list_objects(target.s3, target.lake, converted.retired)):
            export_id = noted.key.removeprefix(converted.retired)
            if self._now < noted.modified_at + self._policy.replaced_seconds or self._is_full():
                continue
            if find_partition(target.glue, converted.table, (export_id,)) is not None:
                # It was made again, or the run was stopped between the note and the partition.
                self._retire_one(converted, export_id)
                continue
            prefix = converted.folder(export_id)
            objects = tuple(list_objects(target.s3, target.lake, prefix, with_empty=True))
            reason = "its partition was removed"
            self._remove(Removal(converted.kind, export_id, reason, objects))
            if self._policy.export_seconds or converted.prefix == CHANGES_PREFIX:
                self._remove_export(export_id, f"its {converted.noun} removed")
            removed.append(export_id)
            if not self._dry_run:
                target.s3.delete_object(
                    Bucket=target.lake.bucket, Key=target.lake.object_key(noted.key)
                )
        return removed

    def _retire(self, converted: Converted, export_ids: Iterable[str]) -> None:
        """Remove the partitions of those that do not stay."""
        target = self._target
        for export_id in sorted(export_ids):
            key = converted.retired + export_id
            if conditional.read_if_exists(target.s3, target.lake, key) is None:
                self._retire_one(converted, export_id)

    def _retire_one(self, converted: Converted, export_id: str) -> None:
        target = self._target
        self.report.retired.append(export_id)
        if not self._dry_run:
            delete_partition(target.glue, converted.table, (export_id,))
            # Written again where it exists: its time is that of the removal of the partition.
            target.s3.put_object(
                Bucket=target.lake.bucket,
                Key=target.lake.object_key(converted.retired + export_id),
                Body=export_id.encode(),
            )

    def _remove_exports(self, published: dict[str, float]) -> None:
        """Remove exports whose snapshot was published long enough ago."""
        target = self._target
        listed = export_ids(
            target.s3,
            target.lake.bucket,
            target.lake.object_key(target.export_prefix),
            limit=MAX_EXPORTS,
        )
        for export_id in listed:
            published_at = published.get(export_id)
            if published_at is None or self._is_full():
                continue
            if target.view is not None and export_id == target.view.base:
                continue
            if export_is_removable(published_at, self._policy, self._now):
                self._remove_export(export_id, "its snapshot is published")

    def _remove_export(self, export_id: str, reason: str) -> None:
        target = self._target
        prefix = export_folder(target.export_prefix, export_id)
        objects = list(list_objects(target.s3, target.lake, prefix, with_empty=True))
        # First what shows that an export is finished: nobody is to read half of it. Last what names
        # the data files that are elsewhere: a run that goes on needs it.
        objects += self._shared_data(prefix)
        objects.sort(key=lambda stored: _deletion_order(prefix, stored))
        if objects:
            self._remove(Removal("export", export_id, reason, tuple(objects)))

    def _shared_data(self, prefix: str) -> list[StoredObject]:
        """The data files of an export in the folder that incremental exports share."""
        target, key = self._target, f"{prefix}{FILES}.json"
        found = conditional.read_if_exists(target.s3, target.lake, key)
        if found is None:
            return []
        shared = data_folder(prefix, incremental=True)
        try:
            files = read_files(key, found.content)
        except MalformedExportError:
            return []
        names = [target.lake.key_of(file.key) or "" for file in files]
        return [
            stored
            for name in names
            if name.startswith(shared)
            for stored in list_objects(target.s3, target.lake, name, limit=1, with_empty=True)
            if stored.key == name
        ]

    def _remove(self, removal: Removal) -> None:
        self.report.removals.append(removal)
        if self._dry_run:
            return
        target = self._target
        if removal.kind == "raw objects":
            _delete_unchanged(target.s3, target.lake, removal.objects)
        else:
            delete_objects(target.s3, target.lake, [stored.key for stored in removal.objects])


def _deletion_order(prefix: str, stored: StoredObject) -> int:
    if stored.key.startswith(f"{prefix}{SUMMARY}"):
        return 0
    return 2 if stored.key.startswith(f"{prefix}{FILES}") else 1


def _delete_unchanged(s3: "S3Client", lake: LakeRoot, objects: Sequence[StoredObject]) -> None:
    """Delete objects unless they have changed since they were listed."""

    def delete(stored: StoredObject) -> None:
        conditional.delete(s3, lake, stored.key, f'"{stored.etag}"')

    with ThreadPoolExecutor(DELETERS, thread_name_prefix="vacuum") as pool:
        list(pool.map(delete, objects))


def delete_objects(s3: "S3Client", lake: LakeRoot, keys: Sequence[str]) -> None:
    """Delete objects in their order.

    Raises:
        VacuumError: one of them cannot be deleted.
    """
    for page in _pages(keys):
        response = s3.delete_objects(
            Bucket=lake.bucket,
            Delete={"Objects": [{"Key": lake.object_key(key)} for key in page], "Quiet": True},
        )
        for error in response.get("Errors", ()):
            raise VacuumError(
                f"s3://{lake.bucket}/{error.get('Key')} cannot be deleted: {error.get('Code')}: "
                f"{error.get('Message')}. Grant s3:DeleteObject to this role, then run again."
            )


def _pages(keys: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while page := list(islice(remaining, KEYS_PER_DELETE)):
        yield page
