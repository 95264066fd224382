"""A prefix of the lake's bucket mirrored to a local folder and back, for engines without S3."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddb_pipeline.lake.objects import StoredObject, list_objects

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WORKERS = 8
"""Objects transferred at the same time."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A local folder that mirrors a prefix, and the keys of the objects that it was filled with."""

    folder: Path
    keys: frozenset[str]


def mirror(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    folder: Path,
    *,
    is_needed: Callable[[str], bool] = lambda key: True,
) -> Mirrored:
    """Fill ``folder`` with the objects under a prefix whose key ``is_needed``, and no others.

    Only objects that are new or have changed are downloaded; a file gets the modification time of
    its object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    objects = [stored for stored in list_objects(s3, bucket, prefix) if is_needed(stored.key)]
    paths = {folder / stored.key.removeprefix(prefix): stored for stored in objects}
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in paths]:
        path.unlink()
    missing = [(path, stored) for path, stored in paths.items() if not _is_current(path, stored)]

    def fetch(entry: tuple[Path, StoredObject]) -> None:
        path, stored = entry
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, stored.key, str(path))
        os.utime(path, (stored.modified_at, stored.modified_at))

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="mirror") as pool:
        list(pool.map(fetch, missing))
    return Mirrored(folder, frozenset(stored.key for stored in objects))


def upload_changes(
    s3: "S3Client", bucket: str, prefix: str, before: Mirrored, *, last: Collection[str] = ()
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
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="upload") as pool:
        list(pool.map(lambda key: s3.upload_file(str(files[key]), bucket, key), new))
    for key in referring:
        s3.upload_file(str(files[key]), bucket, key)
    for key in sorted(before.keys - set(files)):
        s3.delete_object(Bucket=bucket, Key=key)


def _is_current(path: Path, stored: StoredObject) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    same_time = int(found.st_mtime * 1000) == int(stored.modified_at * 1000)
    return found.st_size == stored.size and same_time
