"""Publication of datasets: readers see a dataset when it is complete, and not before.

Files are written to a staging folder. A local dataset is published by one rename. An object store
has no rename: the objects are copied within it, ``_SUCCESS`` last, and readers of the catalog see
them when the partition is registered after that. Spark, Hive, Athena and pyarrow ignore names that
begin with an underscore or a dot.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError

SUCCESS: Final = "_SUCCESS"
STAGING: Final = ".converting"
COPIES: Final = 8


class PublishError(DdbPipelineError):
    """A dataset cannot be published; the message names the destination."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a dataset is published: a folder of a file system, ``bucket/prefix`` for S3."""

    filesystem: pyarrow.fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        """Whether the file system is this machine's, which has renames and locks."""
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)

    def staging(self, fingerprint: str) -> str:
        """The staging folder: beside a local folder, so that a rename publishes it; else inside."""
        if self.local:
            parent, _, name = self.path.rpartition("/")
            return f"{parent}/.{name}{STAGING}-{fingerprint}"
        return f"{self.path}/{STAGING}-{fingerprint}"


@contextmanager
def writing_to(destination: Destination) -> Iterator[None]:
    """Turn errors of the destination's file system into one that names the destination.

    Raises:
        PublishError: the destination cannot be read or written: the disk is full or read-only,
            a part of the path is a file, access is denied.
    """
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"{destination.path} cannot be written: {error}. Give a folder on a disk with space."
        ) from error


def published(destination: Destination, fingerprint: str) -> dict[str, Any] | None:
    """The details that ``publish`` stored, if the destination holds the dataset; else None.

    Raises:
        PublishError: the destination holds something else.
    """
    filesystem, path = destination.filesystem, destination.path
    try:
        with filesystem.open_input_stream(f"{path}/{SUCCESS}") as source:
            document = json.loads(source.read())
    except (FileNotFoundError, ValueError):
        document = {}
    if document.pop("fingerprint", "") == fingerprint:
        return dict(document)
    selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
    names = sorted(info.base_name for info in filesystem.get_file_info(selector))
    # Objects without _SUCCESS but with their staging folder: an interrupted publication.
    begun = f"{STAGING}-{fingerprint}" in names and SUCCESS not in names
    foreign = [name for name in names if not name.startswith(STAGING)]
    if foreign and not begun:
        raise PublishError(
            f"{path} is not empty ({', '.join(foreign[:3])}). Give another destination, or delete "
            "its content first."
        )
    return None


def publish(
    destination: Destination, fingerprint: str, names: Sequence[str], details: Mapping[str, Any]
) -> None:
    """Publish the staged files ``names`` as the dataset, and store ``details`` in ``_SUCCESS``."""
    filesystem = destination.filesystem
    staging = destination.staging(fingerprint)
    success = json.dumps({"fingerprint": fingerprint, **details}).encode()
    if destination.local:
        _drop_others(filesystem, staging, names)
        _write(filesystem, f"{staging}/{SUCCESS}", success)
        if os.path.isdir(destination.path):
            os.rmdir(destination.path)
        os.rename(staging, destination.path)
        _drop_stagings(destination)
        return

    def copy(name: str) -> None:
        filesystem.copy_file(f"{staging}/{name}", f"{destination.path}/{name}")

    with ThreadPoolExecutor(COPIES, thread_name_prefix="publish") as pool:
        list(pool.map(copy, names))
    _write(filesystem, f"{destination.path}/{SUCCESS}", success)
    _drop_stagings(destination)


@contextmanager
def sole_writer(destination: Destination, fingerprint: str) -> Iterator[None]:
    """Lock a local staging folder against other processes.

    An object store has no such lock: there the caller ensures that one conversion runs at a time.

    Raises:
        PublishError: another process holds the lock.
    """
    if not destination.local:
        yield
        return
    path = f"{destination.staging(fingerprint)}.lock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PublishError(
                f"Another process is writing to {destination.path}. Wait until it ends."
            ) from None
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.remove(path)


def _drop_stagings(destination: Destination) -> None:
    """Delete the staging folders of interrupted conversions with other options or columns."""
    folder, _, stem = destination.staging("").rpartition("/")
    selector = pyarrow.fs.FileSelector(folder, allow_not_found=True)
    for info in destination.filesystem.get_file_info(selector):
        if info.base_name.startswith(stem) and info.type == pyarrow.fs.FileType.Directory:
            destination.filesystem.delete_dir(info.path)


def _drop_others(filesystem: pyarrow.fs.FileSystem, staging: str, names: Sequence[str]) -> None:
    dataset = {f"{staging}/{name}" for name in names}
    selector = pyarrow.fs.FileSelector(staging, recursive=True)
    for info in filesystem.get_file_info(selector):
        if info.is_file and info.path not in dataset:
            filesystem.delete_file(info.path)


def _write(filesystem: pyarrow.fs.FileSystem, path: str, body: bytes) -> None:
    with filesystem.open_output_stream(path) as sink:
        sink.write(body)
