"""One snapshot that removes and adds data files of an Iceberg table.

pyiceberg's own overwrite keeps manifests whose files are all removed, one for each run, and never
merges manifests; its append may be repeated over another writer's commit without looking whether
that one added the same files. This one drops and merges manifests, and gives up as soon as another
commit is there: the caller decides anew.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import (
    _ManifestMergeManager,
    _OverwriteFiles,
)

MANIFEST_BYTES: Final = 8 * 1024 * 1024
"""Size up to which manifests are merged: Iceberg's default of commit.manifest.target-size-bytes."""
MERGED_FROM: Final = 32
"""Manifests from which on they are merged."""


class ReplaceFiles(_OverwriteFiles):
    """The producer of such a snapshot, for one transaction."""

    def _validate_concurrency(self) -> None:
        window = self._commit_window
        if window is not None and not window.is_empty():
            raise ValidationException("Another commit has changed the table meanwhile")

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        used = [
            manifest
            for manifest in manifests
            if manifest.added_snapshot_id == self.snapshot_id
            or manifest.has_added_files()
            or manifest.has_existing_files()
        ]
        merger = _ManifestMergeManager(
            MANIFEST_BYTES, MERGED_FROM, merge_enabled=True, snapshot_producer=self
        )
        return merger.merge_manifests(used)


def replace_files(
    transaction: Transaction,
    removed: Sequence[DataFile],
    added: Sequence[DataFile],
    properties: Mapping[str, str],
) -> int:
    """Stage a snapshot in a transaction; returns its id.

    Raises:
        ValidationException: a file that is to be removed is not in the table.
    """
    producer = ReplaceFiles(
        Operation.OVERWRITE if removed else Operation.APPEND,
        transaction,
        transaction._table.io,
        snapshot_properties=dict(properties),
    )
    for file in removed:
        producer.delete_data_file(file)
    for file in added:
        producer.append_data_file(file)
    producer.commit()
    return int(producer.snapshot_id)
