"""Exports found by a folder of a file system, also if they were copied."""

from dataclasses import dataclass
from typing import BinaryIO

import pyarrow.fs

from ddb_pipeline.export.layout import DATA_FOLDER, FOLDER, SUMMARY, Export
from ddb_pipeline.export.manifest import ExportError, ExportNotFinishedError, read_export


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """Opens an export's objects by their keys.

    Data files of a full export are expected in ``data`` beside the manifests, whatever prefix their
    keys have, so that copies of an export can be read. Those of incremental exports are in the
    ``data`` folder that all of them share, beside the export's folder; a copy may have them beside
    the manifests too. ``path`` is ``bucket/prefix`` for S3.
    """

    filesystem: pyarrow.fs.FileSystem
    path: str

    def __call__(self, key: str) -> BinaryIO:
        folder, _, name = key.rpartition("/")
        if not folder:
            return self._open(f"{self.path}/{name}")
        own = f"{self.path}/{DATA_FOLDER}/{name}"
        if folder.split("/")[-2:] != [FOLDER, DATA_FOLDER]:
            return self._open(own)
        parent = self.path.rpartition("/")[0]
        try:
            return self._open(f"{parent}/{DATA_FOLDER}/{name}" if parent else own)
        except FileNotFoundError:
            return self._open(own)

    def _open(self, path: str) -> BinaryIO:
        # Arrow would decompress by the file extension, but the checksum is of the compressed bytes.
        try:
            source: BinaryIO = self.filesystem.open_input_stream(path, compression=None)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ExportError(
                path, f"it cannot be read: {error}. In a bucket this requires s3:GetObject."
            ) from error
        return source


def open_export(
    filesystem: pyarrow.fs.FileSystem, path: str, *, checksums: bool = True
) -> tuple[ExportFolder, Export]:
    """Find an export, and read and verify its manifests.

    ``path`` is the export's folder, the one with ``manifest-summary.json``, or a folder above it
    that holds a single export. ``checksums`` is that of ``read_export``.

    Raises:
        ExportError: there is no export, there are several, or a manifest is damaged.
    """
    folder = ExportFolder(filesystem, find_export(filesystem, path.rstrip("/")))
    return folder, read_export(folder, "", checksums=checksums)


def _listed(filesystem: pyarrow.fs.FileSystem, folder: str) -> list[pyarrow.fs.FileInfo]:
    selector = pyarrow.fs.FileSelector(folder, recursive=False, allow_not_found=True)
    try:
        return list(filesystem.get_file_info(selector))
    except (OSError, ValueError) as error:
        raise ExportError(folder, f"it cannot be listed: {error}. Give a folder.") from error


def find_export(filesystem: pyarrow.fs.FileSystem, path: str) -> str:
    """The folder of the one export at or below ``path``.

    Raises:
        ExportNotFinishedError: there is none, or more than one.
    """
    found = []
    for folder in (path, f"{path}/{FOLDER}"):
        for info in _listed(filesystem, folder):
            if info.base_name == f"{SUMMARY}.json":
                return folder
            if info.type == pyarrow.fs.FileType.Directory:
                manifest = f"{info.path}/{SUMMARY}.json"
                if filesystem.get_file_info(manifest).is_file:
                    found.append(info.path)
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise ExportNotFinishedError(
            f"{path}/{SUMMARY}.json",
            "it does not exist. Give the export's own folder, .../AWSDynamoDB/<export id>. If this "
            "is that folder, the export is still running or has failed.",
        )
    names = ", ".join(sorted(name.rpartition("/")[2] for name in found)[:5])
    raise ExportNotFinishedError(
        path, f"there are {len(found)} exports ({names}). Give one's folder."
    )
