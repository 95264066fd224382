"""Snapshots that are needed no more, and files that belong to none of those that stay.

pyiceberg's expiry removes snapshots from the table's metadata only. Which files to delete is
decided here, from a list of the objects in the table's folder; files that an attempt left which did
not commit are among them. A snapshot is needed for a time after another has replaced it: readers
have begun with it. A file is left for a time after it was written: its commit may be to come.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from ddb_pipeline.lake.iceberg.publish import Target, find_table
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.removals import Snapshots, delete_objects
from ddb_pipeline.lake.retention import Removal
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

COMMIT_SECONDS: Final = 3600.0
"""The longest time between the writing of a file and its commit."""
EXPIRE_ATTEMPTS: Final = 5


def vacuum_table(
    s3: "S3Client",
    lake: LakeRoot,
    target: Target,
    *,
    replaced_seconds: float,
    limit: int,
    now: float,
    dry_run: bool,
) -> Snapshots:
    """Expire a table's snapshots and delete the files that belong to no other, or only list both.

    Args:
        s3: a client.
        lake: the lake that the table's folder is in.
        target: the table.
        replaced_seconds: how long a snapshot stays after another has replaced it.
        limit: number of files that are deleted at most.
        now: epoch seconds.
        dry_run: whether to find only.

    Raises:
        VacuumError: objects cannot be deleted.
        CommitFailedException: other writers change the table during every attempt.
    """
    table = find_table(target)
    if table is None:
        return Snapshots()
    expired = replaced_snapshots(table.metadata, now - replaced_seconds)
    if expired and not dry_run:
        table = expire(target, table, expired)
    used = {target.path(uri) for uri in referenced_uris(table, expired)}
    root = lake.path("") + "/"
    prefix = target.folder.removeprefix(root) + "/"
    listed = list_objects(s3, lake, prefix, with_empty=True)
    written_before = now - max(replaced_seconds, COMMIT_SECONDS)
    unused = tuple(unreferenced(listed, lake, used, written_before, limit))
    if unused and not dry_run:
        delete_objects(s3, lake, [stored.key for stored in unused])
    name = str(target.reference)
    reason = "no snapshot that stays has them"
    return Snapshots(
        tuple(f"{name}: snapshot {snapshot_id}" for snapshot_id in expired),
        (Removal("iceberg", name, reason, unused),) if unused else (),
        frozenset(path.removeprefix(root) for path in used),
    )


def replaced_snapshots(metadata: TableMetadata, before: float) -> list[int]:
    """The snapshots that another one has replaced before a time, epoch seconds.

    Those of branches and tags stay.
    """
    kept = {reference.snapshot_id for reference in metadata.refs.values()}
    replaced_at: dict[int, float] = {}
    entries = metadata.snapshot_log
    for position, entry in enumerate(entries[:-1]):
        replaced_at[entry.snapshot_id] = entries[position + 1].timestamp_ms / 1000
    return [
        snapshot.snapshot_id
        for snapshot in metadata.snapshots
        if snapshot.snapshot_id not in kept
        and replaced_at.get(snapshot.snapshot_id, snapshot.timestamp_ms / 1000) < before
    ]


def expire(target: Target, table: Table, snapshot_ids: Collection[int]) -> Table:
    """Remove snapshots from a table's metadata; returns the table after that.

    Raises:
        CommitFailedException: other writers change the table during every attempt.
    """
    for attempt in range(1, EXPIRE_ATTEMPTS + 1):
        try:
            known = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
            chosen = [each for each in snapshot_ids if each in known]
            if not chosen:
                return table
            table.maintenance.expire_snapshots().by_ids(chosen).commit()
        except CommitFailedException:
            if attempt == EXPIRE_ATTEMPTS:
                raise
        table = target.catalog.load_table(target.identifier)
    return table


def referenced_uris(table: Table, expired: Collection[int] = ()) -> set[str]:
    """All files that a table's metadata names, without those of some snapshots alone."""
    metadata = table.metadata
    found = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    found |= {each.statistics_path for each in metadata.statistics}
    found |= {each.statistics_path for each in metadata.partition_statistics}
    for snapshot in metadata.snapshots:
        if snapshot.snapshot_id in expired:
            continue
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in found:
                continue
            found.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            found |= {entry.data_file.file_path for entry in entries}
    return found


def unreferenced(
    listed: Iterable[StoredObject],
    lake: LakeRoot,
    used: Collection[str],
    written_before: float,
    limit: int,
) -> Iterable[StoredObject]:
    """The objects of a table's folder that it does not use, at most ``limit``."""
    count = 0
    for stored in listed:
        if count >= limit:
            return
        if lake.path(stored.key) not in used and stored.modified_at < written_before:
            count += 1
            yield stored
