"""A prefix of a lake mirrored to a local folder and back, for engines without S3."""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WORKERS = 8
"""Objects transferred at the same time."""
MAX_NAME_BYTES = 255
"""Longest name of a file in the file systems of Linux and macOS."""


class UnsafeKeyError(DdbPipelineError):
    """An object's key is not a path in the folder, so nothing was written.

    Attributes:
        key: the key.
        reason: what is wrong with it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The object {self.key!r} cannot be copied to a file: {self.reason}. Find out who "
            "wrote it, and delete it."
        )


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A local folder that mirrors a prefix, and the keys of the objects that it was filled with."""

    folder: Path
    keys: frozenset[str]


def mirror(
    s3: "S3Client",
    lake: LakeRoot,
    prefix: str,
    folder: Path,
    *,
    start_after: str = "",
) -> Mirrored:
    """Fill ``folder`` with the objects under a prefix, and with nothing else.

    With ``start_after`` only with those whose key sorts after it; the others are not listed.

    Only objects that are new or have changed are downloaded; a file gets the modification time of
    its object.

    Raises:
        UnsafeKeyError: an object's key is not a path in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    objects = list(list_objects(s3, lake, prefix, start_after=start_after))
    paths = {folder / path: stored for path, stored in relative_paths(objects, prefix).items()}
    _remove_all_except(folder, paths.keys())
    missing = [(path, stored) for path, stored in paths.items() if not _is_current(path, stored)]

    def fetch(entry: tuple[Path, StoredObject]) -> None:
        path, stored = entry
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(lake.bucket, lake.object_key(stored.key), str(path))
        os.utime(path, (stored.modified_at, stored.modified_at))

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="mirror") as pool:
        list(pool.map(fetch, missing))
    return Mirrored(folder, frozenset(stored.key for stored in objects))


def relative_paths(
    objects: Sequence[StoredObject], prefix: str
) -> dict[PurePosixPath, StoredObject]:
    """The objects of a prefix by their paths in a folder that mirrors it.

    Raises:
        UnsafeKeyError: a key is not a path in the folder, or two keys exclude one another.
    """
    paths: dict[PurePosixPath, StoredObject] = {}
    for stored in objects:
        reason = _why_unsafe(stored.key.removeprefix(prefix))
        if reason or not stored.key.startswith(prefix):
            raise UnsafeKeyError(stored.key, reason or f"it does not begin with {prefix!r}")
        paths[PurePosixPath(stored.key.removeprefix(prefix))] = stored
    for path, stored in paths.items():
        for folder in path.parents:
            if folder in paths:
                raise UnsafeKeyError(paths[folder].key, f"it is a folder of {stored.key!r} too")
    return paths


def _why_unsafe(path: str) -> str:
    """Why a key's end is not a path of names below a folder; empty if it is."""
    names = path.split("/")
    if "" in names or "." in names or ".." in names:
        return "it has a part that is empty, '.' or '..'"
    if "\\" in path or "\0" in path or PureWindowsPath(path).drive:
        return "it has a backslash, a NUL or a drive letter"
    if any(len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES for name in names):
        return f"it has a part of more than {MAX_NAME_BYTES} bytes"
    return ""


def _remove_all_except(folder: Path, files: Collection[Path]) -> None:
    """Remove the other files of a folder, and the folders that are then empty."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_symlink() or (path.is_file() and path not in files):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def upload_changes(
    s3: "S3Client", lake: LakeRoot, prefix: str, before: Mirrored, *, last: Collection[str] = ()
) -> None:
    """Upload the folder's new files to the prefix and delete the objects of removed files.

    Files that were mirrored count as unchanged. Hidden and empty files are not data.

    Args:
        before: the folder as :func:`mirror` filled it.
        last: names of files that refer to the others: these are always uploaded, after the others.
    """
    files = {
        prefix + path.relative_to(before.folder).as_posix(): path
        for path in before.folder.rglob("*")
        if path.is_file() and not path.name.startswith((".", "_")) and path.stat().st_size
    }
    referring = [key for key in files if key.removeprefix(prefix) in last]
    new = [key for key in files if key not in before.keys and key not in referring]

    def upload(key: str) -> None:
        s3.upload_file(str(files[key]), lake.bucket, lake.object_key(key))

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="upload") as pool:
        list(pool.map(upload, new))
    for key in referring:
        upload(key)
    for key in sorted(before.keys - set(files)):
        s3.delete_object(Bucket=lake.bucket, Key=lake.object_key(key))


def _is_current(path: Path, stored: StoredObject) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    same_time = int(found.st_mtime * 1000) == int(stored.modified_at * 1000)
    return found.st_size == stored.size and same_time
