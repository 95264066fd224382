"""The vacuum of exports, and of the snapshots and changes that were converted from them."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from ddb_pipeline.export.finished import export_ids
from ddb_pipeline.export.layout import FILES, SUMMARY, data_folder, export_folder
from ddb_pipeline.export.manifest import MalformedExportError, read_files, read_summary
from ddb_pipeline.glue.partitions import delete_partition, find_partition
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.converted_exports import Converted
from ddb_pipeline.lake.layout import CHANGES_PREFIX, SNAPSHOT_PREFIX, STATE_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_folders, list_objects
from ddb_pipeline.lake.removals import VacuumRun
from ddb_pipeline.lake.retention import (
    Removal,
    changes_are_removable,
    export_is_removable,
    kept_snapshots,
)
from ddb_pipeline.parquet.publish import SUCCESS

RETIRED_PREFIX = f"{STATE_PREFIX}retired-snapshots/"
"""A small object for each snapshot whose partition was removed, and whose objects still exist."""
RETIRED_CHANGES_PREFIX = f"{STATE_PREFIX}retired-changes/"
"""As ``RETIRED_PREFIX``, for changes."""
MAX_EXPORTS = 1_000


class ExportVacuum:
    """Removes snapshots, changes and exports that nobody needs any more."""

    def __init__(self, run: VacuumRun) -> None:
        self._run = run

    def remove(self) -> None:
        """Remove exports and what was converted from them, until the run is full.

        Raises:
            VacuumError: objects cannot be removed.
            CatalogError: the catalog cannot be read or written.
        """
        run = self._run
        target, policy = run.target, run.policy
        snapshots = Converted(
            "snapshot", "snapshot was", SNAPSHOT_PREFIX, RETIRED_PREFIX, target.snapshot_table
        )
        published = self._published(snapshots)
        self._retire(snapshots, published.keys() - kept_snapshots(published, policy))
        self._remove_exports(published)
        changes = Converted(
            "changes", "changes were", CHANGES_PREFIX, RETIRED_CHANGES_PREFIX, target.changes_table
        )
        self._retire(changes, self._removable_changes(self._published(changes)))

    def _published(self, converted: Converted) -> dict[str, float]:
        """The exports whose Parquet is complete, and when it was published, epoch seconds.

        Those that were removed long enough ago are removed first, and are none.
        """
        run = self._run
        target, prefix = run.target, converted.folder("").removesuffix("/")
        found: dict[str, float] = {}
        for folder in list_folders(target.s3, target.lake, prefix):
            for stored in list_objects(target.s3, target.lake, f"{folder}{SUCCESS}", limit=1):
                found[folder.removeprefix(prefix).rstrip("/")] = stored.modified_at
        for export_id in self._remove_retired(converted):
            found.pop(export_id, None)
        return found

    def _removable_changes(self, published: Mapping[str, float]) -> list[str]:
        """The incremental exports that nobody needs any more."""
        run = self._run
        policy, view = run.policy, run.target.view
        if view is None or not policy.changes_seconds:
            return []
        found = []
        for export_id, at in published.items():
            if run.now < at + policy.changes_seconds:
                continue
            end = self._window_end(export_id)
            if changes_are_removable(export_id, end, at, view, policy, run.now):
                found.append(export_id)
        return found

    def _window_end(self, export_id: str) -> float:
        """The end of an export's window, epoch seconds; past all times if it is not known."""
        target = self._run.target
        key = f"{export_folder(target.export_prefix, export_id)}{SUMMARY}.json"
        found = conditional.read_if_exists(target.s3, target.lake, key)
        try:
            time = read_summary(key, found.content).to_time if found is not None else ""
            return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
        except (MalformedExportError, ValueError):
            return float("inf")

    def _remove_retired(self, converted: Converted) -> list[str]:
        """Remove what has lost its partition long enough ago, and the exports of it."""
        run = self._run
        target, removed = run.target, []
        for noted in list(list_objects(target.s3, target.lake, converted.retired)):
            export_id = noted.key.removeprefix(converted.retired)
            if run.now < noted.modified_at + run.policy.replaced_seconds or run.is_full():
                continue
            if find_partition(target.glue, converted.table, (export_id,)) is not None:
                # It was made again, or the run was stopped between the note and the partition.
                self._retire_one(converted, export_id)
                continue
            prefix = converted.folder(export_id)
            objects = tuple(list_objects(target.s3, target.lake, prefix, with_empty=True))
            reason = "its partition was removed"
            run.remove(Removal(converted.kind, export_id, reason, objects))
            if run.policy.export_seconds or converted.prefix == CHANGES_PREFIX:
                self._remove_export(export_id, f"its {converted.noun} removed")
            removed.append(export_id)
            if not run.dry_run:
                target.s3.delete_object(
                    Bucket=target.lake.bucket, Key=target.lake.object_key(noted.key)
                )
        return removed

    def _retire(self, converted: Converted, export_ids: Iterable[str]) -> None:
        """Remove the partitions of those that do not stay."""
        target = self._run.target
        for export_id in sorted(export_ids):
            key = converted.retired + export_id
            if conditional.read_if_exists(target.s3, target.lake, key) is None:
                self._retire_one(converted, export_id)

    def _retire_one(self, converted: Converted, export_id: str) -> None:
        run, target = self._run, self._run.target
        run.report.retired.append(export_id)
        if not run.dry_run:
            delete_partition(target.glue, converted.table, (export_id,))
            # Written again where it exists: its time is that of the removal of the partition.
            target.s3.put_object(
                Bucket=target.lake.bucket,
                Key=target.lake.object_key(converted.retired + export_id),
                Body=export_id.encode(),
            )

    def _remove_exports(self, published: dict[str, float]) -> None:
        """Remove exports whose snapshot was published long enough ago."""
        run, target = self._run, self._run.target
        listed = export_ids(
            target.s3,
            target.lake.bucket,
            target.lake.object_key(target.export_prefix),
            limit=MAX_EXPORTS,
        )
        for export_id in listed:
            published_at = published.get(export_id)
            if published_at is None or run.is_full():
                continue
            if target.view is not None and export_id == target.view.base:
                continue
            if export_is_removable(published_at, run.policy, run.now):
                self._remove_export(export_id, "its snapshot is published")

    def _remove_export(self, export_id: str, reason: str) -> None:
        run, target = self._run, self._run.target
        prefix = export_folder(target.export_prefix, export_id)
        objects = list(list_objects(target.s3, target.lake, prefix, with_empty=True))
        # First what shows that an export is finished: nobody is to read half of it. Last what names
        # the data files that are elsewhere: a run that goes on needs it.
        objects += self._shared_data(prefix)
        objects.sort(key=lambda stored: _deletion_order(prefix, stored))
        if objects:
            run.remove(Removal("export", export_id, reason, tuple(objects)))

    def _shared_data(self, prefix: str) -> list[StoredObject]:
        """The data files of an export in the folder that incremental exports share."""
        run = self._run
        target, key = run.target, f"{prefix}{FILES}.json"
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


def _deletion_order(prefix: str, stored: StoredObject) -> int:
    if stored.key.startswith(f"{prefix}{SUMMARY}"):
        return 0
    return 2 if stored.key.startswith(f"{prefix}{FILES}") else 1
