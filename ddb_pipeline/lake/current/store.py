"""Where a view is stored, and the switch from one version to the next.

In a local folder a version is a folder of its own: files that did not change are hard links. The
switch exchanges the two folders, one step of the file system, so that a reader of the folder sees
one version whole. The version before stays beside it for a while.

A bucket has no such step. There the manifest is the switch: it is written last, on the condition
that no one else has written it. Who reads the files that it names sees one version whole. Who lists
the bucket's folder may see the files of two for the seconds of a publication.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake.current.manifest import (
    FOLDER,
    MANIFEST,
    TOMBSTONES,
    Manifest,
    ManifestError,
)

GRACE_SECONDS: Final = 3600.0
"""How long the files of the version before stay in a local folder's neighbour."""
WORK_SECONDS: Final = 86_400.0
"""Age at which the working files of a run in a bucket are those of a run that was killed."""
COPIES: Final = 8


class ConcurrentUpdateError(DdbPipelineError):
    """Another run updates the view, or has done so meanwhile; nothing was published."""


class Version(NamedTuple):
    """A manifest as it was read, and what identifies just this content to the store."""

    manifest: Manifest
    token: str


@dataclass(frozen=True, slots=True)
class Work:
    """Folders of one run.

    Attributes:
        run: identifies the run.
        version: folder for the files of the next version, by their paths in the view.
        filesystem: the file system of ``scratch``.
        scratch: folder for rows on their way to their buckets.
    """

    run: str
    version: str
    filesystem: pyarrow.fs.FileSystem
    scratch: str


class Store(Protocol):
    """A folder with a current view."""

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem: ...

    @property
    def path(self) -> str: ...

    def read(self) -> Version:
        """The current version; version 0 where there is none.

        Raises:
            ManifestError: the folder holds something else.
        """
        ...

    def working(self, run: str) -> Any:
        """A context manager of a run's ``Work``, which removes what is left at its end.

        Raises:
            ConcurrentUpdateError: another run holds the folder's lock.
        """
        ...

    def publish(self, before: Version, after: Manifest, work: Work) -> None:
        """Switch to the next version.

        Raises:
            ConcurrentUpdateError: another run has published since ``before`` was read.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A view in a local folder; ``path`` is absolute."""

    path: str

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """This machine's."""
        return pyarrow.fs.LocalFileSystem()

    def read(self) -> Version:
        """As ``Store.read``."""
        manifest_path = Path(self.path, MANIFEST)
        try:
            text = manifest_path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            _require_empty(self.path)
            return Version(Manifest(), "")
        manifest = Manifest.from_json(text, str(manifest_path))
        return Version(manifest, manifest.run)

    @contextmanager
    def working(self, run: str) -> Iterator[Work]:
        """As ``Store.working``: one run at a time."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._recover()
            folder = self._beside(f"work-{run}")
            for name in ("version", "scratch"):
                os.makedirs(f"{folder}/{name}")
            try:
                yield Work(run, f"{folder}/version", self.filesystem, f"{folder}/scratch")
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, before: Version, after: Manifest, work: Work) -> None:
        """As ``Store.publish``."""
        replaced = before.manifest.all_paths - after.all_paths
        manifest = Path(work.version, MANIFEST)
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_bytes(after.to_json())
        old = Path(self.path)
        if old.exists():
            _link(old, Path(work.version), replaced | {MANIFEST})
            shutil.copymode(old, work.version)
        if self.read().token != before.token:
            raise ConcurrentUpdateError(_PUBLISHED_MEANWHILE.format(self.path))
        if not old.exists():
            os.rename(work.version, old)
            return
        _exchange(work.version, self.path)
        previous = self._beside("previous")
        if os.path.exists(previous):
            shutil.rmtree(previous)
        if before.manifest.version:
            os.rename(work.version, previous)
            os.utime(previous)

    def _beside(self, name: str) -> str:
        parent, _, folder = self.path.rpartition("/")
        return f"{parent}/.{folder}.{name}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._beside("lock")
        while True:
            lock = open(path, "w")  # noqa: SIM115
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise ConcurrentUpdateError(
                    f"Another run updates {self.path}. Wait until it ends, then run again."
                ) from None
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(lock.fileno()).st_ino:
                    break
            # The run before has removed the file between our two calls.
            lock.close()
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.remove(path)
            lock.close()

    def _recover(self) -> None:
        """Remove what a run that was killed left, and the previous version after its time."""
        parent = Path(self.path).parent
        prefix = Path(self._beside("work-")).name
        for folder in parent.glob(f"{prefix}*"):
            if not os.path.exists(self.path) and (folder / "old").exists():
                os.rename(folder / "old", self.path)
            shutil.rmtree(folder)
        previous = Path(self._beside("previous"))
        if previous.exists() and time.time() - previous.stat().st_mtime > GRACE_SECONDS:
            shutil.rmtree(previous)


_PUBLISHED_MEANWHILE: Final = (
    "Another run has updated {} meanwhile. Nothing was published; run again."
)


def _require_empty(path: str) -> None:
    names = sorted(os.listdir(path))[:3] if os.path.isdir(path) else []
    if names or (os.path.exists(path) and not os.path.isdir(path)):
        raise ManifestError(
            f"{path} is not a current view and not empty ({', '.join(names) or 'a file'}). Give "
            "another folder, or delete its content first."
        )


def _link(old: Path, new: Path, without: set[str], inside: str = "") -> None:
    """Hard links to the files of a folder in another, without some and those that are there."""
    for entry in os.scandir(old / inside):
        relative = f"{inside}/{entry.name}" if inside else entry.name
        target = new / relative
        if entry.is_dir(follow_symlinks=False):
            target.mkdir(exist_ok=True)
            _link(old, new, without, relative)
        elif relative not in without and not target.exists():
            try:
                os.link(entry.path, target, follow_symlinks=False)
            except OSError:
                # File systems without hard links, such as exFAT.
                shutil.copy2(entry.path, target, follow_symlinks=False)


_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
"""``RENAME_EXCHANGE`` of Linux' renameat2(2), and ``RENAME_SWAP`` of macOS' renamex_np(2)."""


def _exchange(new: str, old: str) -> None:
    """Exchange two folders in one step; in two where the file system has none."""
    library = ctypes.CDLL(None, use_errno=True)
    ours, theirs = os.fsencode(new), os.fsencode(old)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(ours, theirs, _EXCHANGE)
        else:
            failed = library.renameat2(_AT_FDCWD, ours, _AT_FDCWD, theirs, _EXCHANGE)
    except AttributeError:
        failed, number = -1, errno.ENOSYS
    else:
        number = ctypes.get_errno()
    if not failed:
        return
    if number not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        raise OSError(number, os.strerror(number), old)
    aside = str(Path(new).parent / "old")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)


class ManifestObject(Protocol):
    """The manifest in a store that writes objects on a condition."""

    def read(self) -> tuple[bytes, str] | None:
        """The content, and what identifies just this content; None where there is none."""
        ...

    def write(self, content: bytes, token: str) -> bool:
        """Write the manifest if the object still is what ``token`` identifies (empty: missing).

        Returns whether it was written.
        """
        ...


@dataclass(frozen=True, slots=True)
class BucketStore:
    """A view under a prefix of a bucket.

    Attributes:
        filesystem: the bucket's.
        path: ``bucket/prefix``.
        manifest: the object that is the switch.
        grace_seconds: how long replaced files stay. With 0 they are deleted after the switch, so
            that the folder holds one version; readers of a catalog table need more.
        shared_scratch: whether rows on their way to their buckets are written to the bucket, which
            all of Spark's executors reach, and not to this machine's disk.
    """

    filesystem: pyarrow.fs.FileSystem
    path: str
    manifest: ManifestObject
    grace_seconds: float = 0.0
    shared_scratch: bool = False

    def read(self) -> Version:
        """As ``Store.read``."""
        found = self.manifest.read()
        if found is None:
            selector = pyarrow.fs.FileSelector(self.path, allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
            foreign = sorted(
                i.base_name
                for i in infos
                if i.base_name != FOLDER and not i.base_name.startswith("key_bucket=")
            )
            if foreign:
                raise ManifestError(
                    f"{self.path} is not a current view and not empty ({', '.join(foreign[:3])}). "
                    "Give another prefix, or delete its objects first."
                )
            return Version(Manifest(), "")
        content, token = found
        return Version(Manifest.from_json(content, f"{self.path}/{MANIFEST}"), token)

    @contextmanager
    def working(self, run: str) -> Iterator[Work]:
        """As ``Store.working``; several runs may work, and the first one publishes."""
        folder = f"{self.path}/{FOLDER}/work-{run}"
        self.filesystem.create_dir(f"{folder}/version", recursive=True)
        try:
            if self.shared_scratch:
                yield Work(run, f"{folder}/version", self.filesystem, f"{folder}/scratch")
            else:
                with tempfile.TemporaryDirectory(prefix="ddb-current-") as scratch:
                    local = pyarrow.fs.LocalFileSystem()
                    yield Work(run, f"{folder}/version", local, scratch)
        finally:
            with suppress(OSError):
                self.filesystem.delete_dir(folder)

    def publish(self, before: Version, after: Manifest, work: Work) -> None:
        """As ``Store.publish``."""
        now = time.time()
        new = sorted(after.all_paths - before.manifest.all_paths)
        old = sorted(before.manifest.all_paths - after.all_paths)
        replaced = (*before.manifest.replaced, *((path, now) for path in old))
        expired = [path for path, when in replaced if now - when >= self.grace_seconds]
        left = tuple((path, when) for path, when in replaced if now - when < self.grace_seconds)
        after = replace(after, replaced=left)

        garbage = self._garbage(before.manifest, now)

        def copy(path: str) -> None:
            self.filesystem.copy_file(f"{work.version}/{path}", f"{self.path}/{path}")

        with ThreadPoolExecutor(COPIES, thread_name_prefix="publish") as pool:
            list(pool.map(copy, new))
        if not self.manifest.write(after.to_json(), before.token):
            found = self.manifest.read()
            # The response to our own write may have been lost, and the request sent again.
            if found is None or Manifest.from_json(found[0], self.path).run != after.run:
                self._delete(new)
                raise ConcurrentUpdateError(_PUBLISHED_MEANWHILE.format(self.path))
        self._delete([*expired, *garbage])

    def _garbage(self, manifest: Manifest, now: float) -> list[str]:
        """Files of runs that were killed, or that cannot publish any more once this one has.

        A run that begins after the switch has written none of them yet.
        """
        known = manifest.all_paths | {path for path, _ in manifest.replaced}
        selector = pyarrow.fs.FileSelector(self.path, recursive=True, allow_not_found=True)
        found = []
        for info in self.filesystem.get_file_info(selector):
            name = info.path[len(self.path) + 1 :]
            if not info.is_file or name in known:
                continue
            stale = now - info.mtime_ns / 1e9 > WORK_SECONDS
            if name.startswith(("key_bucket=", TOMBSTONES)) or (
                stale and name.startswith(f"{FOLDER}/work-")
            ):
                found.append(name)
        return found

    def _delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(f"{self.path}/{path}")
