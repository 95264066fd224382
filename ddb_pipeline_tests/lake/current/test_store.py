"""The switch: one version or the other, also where runs are killed or two run at once."""

import ctypes
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current import store as stores
from ddb_pipeline.lake.current.manifest import MANIFEST, Manifest, ManifestError
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import (
    BucketStore,
    ConcurrentUpdateError,
    LocalStore,
    Version,
    Work,
)
from ddb_pipeline_tests.lake.current.conftest import ViewOfItems

COLUMNS = (Column("id", "string"), Column("n", "bigint"))
ITEMS = [{"id": f"k{number}", "n": 0} for number in range(40)]


@dataclass
class MemoryManifest:
    """A manifest object as S3 keeps it. A fake: which of two writes comes first is decided here."""

    folder: Path
    versions: list[bytes] = field(default_factory=list)

    def read(self) -> tuple[bytes, str] | None:
        return (self.versions[-1], str(len(self.versions))) if self.versions else None

    def write(self, content: bytes, token: str) -> bool:
        if token != (str(len(self.versions)) if self.versions else ""):
            return False
        self.versions.append(content)
        path = self.folder / MANIFEST
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return True


def bucket_store(items: ViewOfItems, manifest: Any) -> BucketStore:
    """A store of this machine's file system that is used as a bucket; which has no folders."""
    for folder in ("key_bucket=0", "key_bucket=1", "_current/tombstones"):
        (items.view / folder).mkdir(parents=True, exist_ok=True)
    return BucketStore(pyarrow.fs.LocalFileSystem(), str(items.view), manifest)


@pytest.fixture(params=["folder", "bucket"])
def view(request: pytest.FixtureRequest, items: ViewOfItems) -> ViewOfItems:
    if request.param == "bucket":
        items.store = bucket_store(items, MemoryManifest(items.view))
    return items


def change_all(view: ViewOfItems, value: int, store: Any = None) -> None:
    """Set ``n`` of all items."""
    view.store = store or view.store
    view.change([{**item, "n": value, "at": value} for item in ITEMS], COLUMNS)


def values(view: ViewOfItems) -> set[int]:
    found = view.rows()
    assert len(found) == len(ITEMS)
    return {row["n"] for row in found.values()}


def test_a_folder_with_something_else_is_refused(view: ViewOfItems) -> None:
    view.view.mkdir(exist_ok=True)
    (view.view / "mine.txt").write_text("x")
    with pytest.raises(ManifestError, match=r"mine\.txt"):
        view.full(ITEMS, COLUMNS)
    assert (view.view / "mine.txt").read_text() == "x"


def test_a_file_of_another_program_stays(items: ViewOfItems) -> None:
    items.full(ITEMS, COLUMNS, buckets=2)
    (items.view / "_notes").mkdir()
    (items.view / "_notes" / "mine.txt").write_text("x")
    change_all(items, 1)
    change_all(items, 2)
    assert (items.view / "_notes" / "mine.txt").read_text() == "x"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_manifest_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="somewhere"):
        Manifest.from_json(text.encode(), "somewhere")


def test_a_manifest_is_read_as_it_was_written(items: ViewOfItems) -> None:
    manifest = items.full(ITEMS, COLUMNS, buckets=2).manifest
    manifest = replace(manifest, marks={"objects": ["a"]})
    assert Manifest.from_json(manifest.to_json(), "") == manifest


def test_the_version_before_stays_beside_the_folder_for_a_while(
    items: ViewOfItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.full(ITEMS, COLUMNS, buckets=2)
    change_all(items, 1)
    previous = items.folder / ".view.previous"
    table = ds.dataset(previous, partitioning="hive").to_table()
    assert set(table.column("n").to_pylist()) == {0}
    monkeypatch.setattr(stores, "GRACE_SECONDS", -1.0)
    items.change([], COLUMNS)
    assert [p.name for p in items.folder.glob(".view*")] == [".view.previous"]
    assert set(ds.dataset(previous).to_table().column("n").to_pylist()) == {1}


def test_without_an_exchange_of_folders(
    items: ViewOfItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLibrary:
        pass

    items.full(ITEMS, COLUMNS, buckets=2)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: NoLibrary())
    change_all(items, 1)
    assert values(items) == {1}
    # Killed between the two renames: the folder is missing.
    rename = os.rename

    def killed(old: Any, new: Any) -> None:
        rename(old, new)
        if str(new).endswith("/old"):
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        change_all(items, 2)
    assert not items.view.exists()
    monkeypatch.undo()
    change_all(items, 2)
    assert values(items) == {2}


def test_two_runs_at_once_one_publishes(view: ViewOfItems) -> None:
    view.full(ITEMS, COLUMNS, buckets=2)
    other = ViewOfItems(view.folder / "other")
    other.folder.mkdir()
    other.view, other.store = view.view, view.store
    ran = False

    def while_the_first_runs(steps: Any) -> Iterator[Any]:
        nonlocal ran
        if not ran:
            ran = True
            with suppress(ConcurrentUpdateError):
                change_all(other, 2)
        return here(steps)

    view.run_steps = while_the_first_runs
    if isinstance(view.store, LocalStore):
        change_all(view, 1)
        assert values(view) == {1}
    else:
        with pytest.raises(ConcurrentUpdateError, match="run again"):
            change_all(view, 1)
        assert values(view) == {2}
    view.run_steps = here
    change_all(view, 3)
    assert values(view) == {3}
    assert set(view.files()) == set(view.store.read().manifest.paths)


def test_a_lost_response_to_the_manifests_write_is_no_conflict(items: ViewOfItems) -> None:
    class Lossy(MemoryManifest):
        def write(self, content: bytes, token: str) -> bool:
            MemoryManifest.write(self, content, token)
            return MemoryManifest.write(self, content, token)

    items.store = bucket_store(items, Lossy(items.view))
    items.full(ITEMS, COLUMNS, buckets=2)
    change_all(items, 1)
    assert values(items) == {1}


@pytest.mark.parametrize("place", ["copied", "written"])
def test_a_run_that_is_killed_while_it_publishes_to_a_bucket(
    items: ViewOfItems, place: str
) -> None:
    class Killed(MemoryManifest):
        def write(self, content: bytes, token: str) -> bool:
            if place == "written":
                MemoryManifest.write(self, content, token)
            raise KeyboardInterrupt

    manifest = MemoryManifest(items.view)
    good = bucket_store(items, manifest)
    items.store = good
    items.full(ITEMS, COLUMNS, buckets=2)
    bad = replace(good, manifest=Killed(items.view, manifest.versions))
    with pytest.raises(KeyboardInterrupt):
        change_all(items, 1, bad)
    # Those who read the files that the manifest names see one version.
    paths = [f"{items.view}/{path}" for path in good.read().manifest.paths]
    found = set(ds.dataset(paths).to_table().column("n").to_pylist())
    assert found == {1 if place == "written" else 0}
    change_all(items, 2, good)
    assert values(items) == {2}
    assert set(items.files()) == set(good.read().manifest.paths)


def test_replaced_files_stay_in_a_bucket_for_the_grace(items: ViewOfItems) -> None:
    manifest = MemoryManifest(items.view)
    store = replace(bucket_store(items, manifest), grace_seconds=3600)
    items.store = store
    items.full(ITEMS, COLUMNS, buckets=2)
    before = [f"{items.view}/{path}" for path in store.read().manifest.paths]
    change_all(items, 1)
    assert set(ds.dataset(before).to_table().column("n").to_pylist()) == {0}
    assert len(store.read().manifest.replaced) == 2
    change_all(items, 2, replace(store, grace_seconds=0))
    assert set(items.files()) == set(store.read().manifest.paths)


def update_for_ever(folder: str, first: int) -> None:
    view = ViewOfItems(Path(folder))
    view._files = first
    value = first
    while True:
        value += 1
        change_all(view, value)


def test_kills_at_any_moment_leave_one_version_whole(items: ViewOfItems) -> None:
    rng = random.Random(5)
    items.full(ITEMS, COLUMNS, buckets=3)
    context = multiprocessing.get_context("spawn")
    last = 0
    for round_ in range(8):
        process = context.Process(target=update_for_ever, args=(str(items.folder), last))
        process.start()
        before = last
        deadline = time.monotonic() + 60
        while last == before and time.monotonic() < deadline:
            last = whole(items)
        time.sleep(rng.random() * 0.2)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert last > before, round_
        last = whole(items)
    change_all(items, last + 1)
    assert values(items) == {last + 1}
    assert sorted(p.name for p in items.folder.glob(".view*")) == [".view.previous"]


def whole(view: ViewOfItems) -> int:
    """The one value that all rows have, read while updates go on.

    A file that is gone when it is opened means that the version has changed: read again.
    """
    while True:
        try:
            [value] = values(view)
            manifest = json.loads((view.view / MANIFEST).read_bytes())
        except FileNotFoundError:
            continue
        assert sum(file["rows"] for file in manifest["files"]) == len(ITEMS)
        return value


def test_a_version_is_not_published_over_another(items: ViewOfItems) -> None:
    items.full(ITEMS, COLUMNS, buckets=1)
    store = LocalStore(str(items.view))
    before = store.read()
    change_all(items, 1)
    with store.working("run") as work:
        stale = replace(before.manifest, version=9, run="run")
        assert isinstance(work, Work)
        with pytest.raises(ConcurrentUpdateError):
            store.publish(Version(before.manifest, before.token), stale, work)
    assert values(items) == {1}
