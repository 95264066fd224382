"""Datasets made visible when they are complete, and not before.

Files are written to a staging folder. A local dataset is published by one rename; an object store
has none, so its objects are copied within it, ``_SUCCESS`` last, and readers that go by the catalog
see them when their partition is registered after that. Names with an underscore or a dot in front
are not seen by Spark, Hive, Athena and pyarrow.
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
    """A dataset cannot be put where it should go; the message names the place."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a dataset goes: a folder of a file system, ``bucket/prefix`` for S3."""

    filesystem: pyarrow.fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)

    def staging(self, fingerprint: str) -> str:
        """Beside a local folder, so that a rename publishes it; inside of a prefix."""
        if self.local:
            parent, _, name = self.path.rpartition("/")
            return f"{parent}/.{name}{STAGING}-{fingerprint}"
        return f"{self.path}/{STAGING}-{fingerprint}"


def published(destination: Destination, fingerprint: str) -> dict[str, Any] | None:
    """What :func:`publish` was told of the dataset that is there already, if it is this one.

    Raises:
        PublishError: something else is there.
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
    # Copies of a publication that was stopped: it goes on.
    begun = f"{STAGING}-{fingerprint}" in names and SUCCESS not in names
    foreign = [name for name in names if not name.startswith(STAGING)]
    if foreign and not begun:
        raise PublishError(
            f"{path} is not empty ({', '.join(foreign[:3])}). Give another destination, or remove "
            "it first."
        )
    return None


def publish(
    destination: Destination, fingerprint: str, names: Sequence[str], told: Mapping[str, Any]
) -> None:
    """Make the staged files of these names the dataset, with ``_SUCCESS`` telling of it."""
    filesystem = destination.filesystem
    staging = destination.staging(fingerprint)
    success = json.dumps({"fingerprint": fingerprint, **told}).encode()
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
    """Keep two processes from writing the same local staging folder at once.

    An object store has no such lock: there, whoever starts conversions sees to it.

    Raises:
        PublishError: another process is at it.
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
                f"Another process is converting to {destination.path}. Wait for it."
            ) from None
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.remove(path)


def _drop_stagings(destination: Destination) -> None:
    """Remove what conversions with other options or columns have begun here and left."""
    folder, _, stem = destination.staging("").rpartition("/")
    selector = pyarrow.fs.FileSelector(folder, allow_not_found=True)
    for info in destination.filesystem.get_file_info(selector):
        if info.base_name.startswith(stem) and info.type == pyarrow.fs.FileType.Directory:
            destination.filesystem.delete_dir(info.path)


def _drop_others(filesystem: pyarrow.fs.FileSystem, staging: str, names: Sequence[str]) -> None:
    kept = {f"{staging}/{name}" for name in names}
    selector = pyarrow.fs.FileSelector(staging, recursive=True)
    for info in filesystem.get_file_info(selector):
        if info.is_file and info.path not in kept:
            filesystem.delete_file(info.path)


def _write(filesystem: pyarrow.fs.FileSystem, path: str, body: bytes) -> None:
    with filesystem.open_output_stream(path) as sink:
        sink.write(body)
