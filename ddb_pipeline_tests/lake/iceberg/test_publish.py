"""Iceberg tables brought to the lake's files: one snapshot a run, crashes, concurrent commits."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import CommitFailedException, ValidationException

from ddb_pipeline.arrow_types import arrow_schema, parquet_write_options
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.iceberg import publish as module
from ddb_pipeline.lake.iceberg.files import Source, content_name
from ddb_pipeline.lake.iceberg.maintenance import expire, referenced_uris, replaced_snapshots
from ddb_pipeline.lake.iceberg.publish import (
    IcebergConflictError,
    IcebergTableError,
    Target,
    Wanted,
    data_files,
    publish,
)
from ddb_pipeline.lake.iceberg.tables import CURRENT_PARTITIONS, STREAM_PARTITIONS
from ddb_pipeline_tests.support.iceberg import local_target, rows_of, table_of

COLUMNS = (Column("id", "string"), Column("n", "int"), Column("at", "timestamp"))
Row = dict[str, Any]


class View:
    """Versions of a view in a folder: each bucket a file that the version before it may have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns: tuple[Column, ...] = COLUMNS
        self.files: dict[int, str] = {}
        self.versions = 0

    def write(self, buckets: dict[int, Sequence[Row]], *, int96: bool = False) -> Wanted:
        self.versions += 1
        for bucket, rows in buckets.items():
            name = f"key_bucket={bucket}/rows-{self.versions}.parquet"
            write(self.folder / name, self.columns, rows, int96=int96)
            self.files[bucket] = name
        return self.wanted()

    def wanted(self) -> Wanted:
        sources = [
            Source(f"{self.folder}/{name}", name, (bucket,))
            for bucket, name in sorted(self.files.items())
        ]
        return Wanted(self.columns, tuple(sources), properties={"version": str(self.versions)})


def write(path: Path, columns: Sequence[Column], rows: Sequence[Row], *, int96: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), arrow_schema(columns))
    pq.write_table(table, path, **parquet_write_options(int96=int96))


def hour(
    folder: Path, name: str, number: int, columns: Sequence[Column], rows: Sequence[Row]
) -> Wanted:
    """A generation of an hour, in a file that the table reads where it is."""
    generation = f"{number:06d}-{name}"
    path = folder / "stream-compacted" / generation / "part-0000.parquet"
    write(path, columns, rows, int96=False)
    source = Source(str(path), f"{generation}/part-0000.parquet", ("2026-11-24", name))
    return Wanted(tuple(columns), (source,), source.partition, copied=False)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path / "current")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return local_target(tmp_path, CURRENT_PARTITIONS)


@pytest.fixture
def stream(tmp_path: Path) -> Target:
    return local_target(tmp_path, STREAM_PARTITIONS, "stream")


def ids(target: Target) -> list[str]:
    return sorted(row["id"] for row in rows_of(target))


def test_a_run_is_one_snapshot_that_replaces_the_buckets_that_changed(
    target: Target, view: View
) -> None:
    view.write({0: [{"id": "a", "n": 1}], 1: [{"id": "b", "n": 2}]})
    first = publish(target, view.wanted)
    assert (first.committed, first.added, first.removed, first.rewritten) == (True, 2, 0, 0)
    view.write({1: [{"id": "b", "n": 3}, {"id": "c", "n": 4}]})
    second = publish(target, view.wanted)
    assert (second.added, second.removed) == (1, 1)
    table = table_of(target)
    assert table.format_version == 2
    assert len(table.snapshots()) == 2
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary["version"] == "2"
    assert {row["id"]: (row["n"], row["key_bucket"]) for row in rows_of(target)} == {
        "a": (1, 0),
        "b": (3, 1),
        "c": (4, 1),
    }
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow().num_rows == 2
    again = publish(target, view.wanted)
    assert not again.committed
    assert again.snapshot_id == second.snapshot_id


def test_buckets_of_another_number_replace_all_files(target: Target, view: View) -> None:
    view.write({0: [{"id": "a"}], 1: [{"id": "b"}]})
    publish(target, view.wanted)
    view.files.clear()
    view.write({number: [{"id": f"{number}"}] for number in range(4)})
    publish(target, view.wanted)
    assert ids(target) == ["0", "1", "2", "3"]


def test_files_of_the_plain_dataset_are_written_again_without_int96(
    target: Target, view: View, tmp_path: Path
) -> None:
    moment = arrow_schema(COLUMNS).field("at").type
    assert str(moment) == "timestamp[us]"
    row = {"id": "a", "at": datetime(1, 1, 1)}
    view.write({0: [row]}, int96=True)
    assert publish(target, view.wanted).rewritten == 1
    found = [target.path(file.file_path) for file in data_files(target, table_of(target), None)]
    physical = pq.ParquetFile(found[0]).schema.column(2).physical_type
    assert physical == "INT64"
    assert rows_of(target)[0]["at"] == row["at"]
    assert not publish(target, view.wanted).committed


WIDER = [
    # type before, values, type after, values, rewritten files, replaced columns
    ("int", 7, "bigint", 2**53 + 1, 0, ()),
    ("float", 0.5, "double", 0.1, 0, ()),
    ("decimal(5,1)", "1.5", "decimal(20,1)", "123456789.5", 0, ()),
    ("struct<a:int>", {"a": 1}, "struct<a:bigint,b:string>", {"a": 2**40, "b": "x"}, 0, ()),
    ("bigint", 2**53 + 1, "decimal(38,2)", "0.25", 1, ("n",)),
    ("decimal(5,1)", "1.5", "decimal(20,4)", "1.2345", 1, ("n",)),
    ("bigint", 7, "string", "seven", 1, ("n",)),
    ("struct<a:int>", {"a": 1}, "map<string,int>", [("b", 2)], 1, ("n",)),
]


def typed(value: Any, kind: str) -> Any:
    return Decimal(value) if kind.startswith("decimal") else value


@pytest.mark.parametrize(("before", "old", "after", "new", "rewritten", "replaced"), WIDER)
def test_a_wider_type_is_promoted_or_all_files_are_written_again(
    stream: Target,
    tmp_path: Path,
    before: str,
    old: Any,
    after: str,
    new: Any,
    rewritten: int,
    replaced: tuple[str, ...],
) -> None:
    columns = (Column("id", "string"), Column("n", before), Column("last", "int"))
    first = hour(tmp_path, "09", 1, columns, [{"id": "old", "n": typed(old, before), "last": 1}])
    publish(stream, lambda: first)
    columns = (Column("id", "string"), Column("n", after), Column("last", "int"))
    second = hour(tmp_path, "10", 1, columns, [{"id": "new", "n": typed(new, after), "last": 2}])
    done = publish(stream, lambda: second)
    assert (done.rewritten, done.replaced_columns) == (rewritten, replaced)
    found = {row["id"]: row for row in rows_of(stream)}
    assert {key: row["last"] for key, row in found.items()} == {"old": 1, "new": 2}
    assert found["new"]["n"] == ({**new} if isinstance(new, dict) else typed(new, after))
    value = found["old"]["n"]
    if after == "string":
        assert value == str(old)
    elif after.startswith("map"):
        assert value == [("a", 1)]
    elif after.startswith("struct"):
        assert value == {"a": 1, "b": None}
    else:
        assert value == typed(old, before)
    # Either hour is complete as it is now.
    assert not publish(stream, lambda: second).committed
    assert not publish(stream, lambda: first).committed


def test_a_later_generation_of_an_hour_replaces_it_and_no_other(
    stream: Target, tmp_path: Path
) -> None:
    for name in ("09", "10"):
        found = hour(tmp_path, name, 1, COLUMNS, [{"id": name}])
        publish(stream, lambda found=found: found)  # type: ignore[misc]
    later = hour(tmp_path, "09", 2, COLUMNS, [{"id": "09"}, {"id": "late"}])
    done = publish(stream, lambda: later)
    assert (done.added, done.removed) == (1, 1)
    assert ids(stream) == ["09", "10", "late"]
    paths = [stream.path(file.file_path) for file in data_files(stream, table_of(stream), None)]
    assert all(path.startswith(f"{tmp_path}/stream-compacted/") for path in paths)


class StoppedError(BaseException):
    """Stands for the end of the process."""


def test_a_run_that_ends_before_its_commit_is_run_again(
    target: Target, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    view.write({0: [{"id": "a"}]})
    publish(target, view.wanted)
    view.write({0: [{"id": "a"}, {"id": "b"}], 1: [{"id": "c"}]})

    def stop(*_: object) -> int:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(module, "replace_files", stop)
        with pytest.raises(StoppedError):
            publish(target, view.wanted)
    assert ids(target) == ["a"]
    assert publish(target, view.wanted).added == 2
    assert ids(target) == ["a", "b", "c"]
    used = {target.path(uri) for uri in referenced_uris(table_of(target))}
    written = {str(path) for path in Path(target.folder).rglob("*.parquet")}
    # The copies of the run that was stopped belong to no snapshot.
    assert len(written - used) == 2
    assert written & used


def test_hours_that_are_published_at_the_same_time_are_all_there_once(tmp_path: Path) -> None:
    targets = [local_target(tmp_path, STREAM_PARTITIONS, "stream") for _ in range(4)]
    names = ["09", "10", "09", "10"]
    wanted = [hour(tmp_path, name, 1, COLUMNS, [{"id": name}]) for name in ("09", "10")]
    publish(targets[0], lambda: hour(tmp_path, "08", 1, COLUMNS, [{"id": "08"}]))
    together = threading.Barrier(len(targets))

    def run(number: int) -> bool:
        want = wanted[number % 2]
        waited: list[int] = []

        def read() -> Wanted:
            if not waited:
                waited.append(together.wait(60))
            return want

        return publish(targets[number], read).committed

    with ThreadPoolExecutor(len(targets)) as pool:
        committed = list(pool.map(run, range(len(targets))))
    assert ids(targets[0]) == ["08", "09", "10"]
    assert sum(committed) == 2, names


def test_a_run_never_brings_back_an_older_version(target: Target, view: View) -> None:
    """Another run publishes a newer version between a run's decision and its commit."""
    old = view.write({0: [{"id": "a", "n": 1}], 1: [{"id": "b", "n": 1}]})
    answers = iter([old])

    def read() -> Wanted:
        found = next(answers, None)
        if found is None:
            return view.wanted()
        view.write({1: [{"id": "b", "n": 2}]})
        publish(target, view.wanted)
        return found

    # Its first look at the lake is before the other's publication, with which it then conflicts.
    table = module.create_table(target, view.columns)
    change = module.difference(target, table, read())
    with pytest.raises((CommitFailedException, ValidationException)):
        module.commit(target, table, old, change)
    assert {row["id"]: row["n"] for row in rows_of(target)} == {"a": 1, "b": 2}


def test_endless_conflicts_are_reported(
    target: Target, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    view.write({0: [{"id": "a"}]})

    def refuse(*_: object) -> None:
        raise CommitFailedException("another was faster")

    monkeypatch.setattr(module, "commit", refuse)
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.0)
    with pytest.raises(IcebergConflictError, match=r"lake_iceberg\.orders"):
        publish(target, view.wanted)


def test_another_table_of_the_name_is_refused(target: Target, view: View) -> None:
    target.catalog.create_namespace("lake_iceberg")
    target.catalog.create_table(target.identifier, pa.schema([("id", pa.string())]))
    view.write({0: [{"id": "a"}]})
    with pytest.raises(IcebergTableError, match="partitioned by nothing"):
        publish(target, view.wanted)


def churn(target: Target, view: View, runs: int, after: Callable[[], None] = lambda: None) -> None:
    for number in range(runs):
        view.write({number % 4: [{"id": f"{number % 4}", "n": number}]})
        publish(target, view.wanted)
        after()


def test_manifests_do_not_grow_with_the_number_of_runs(target: Target, view: View) -> None:
    view.write({number: [{"id": f"{number}"}] for number in range(4)})
    publish(target, view.wanted)
    manifests = []

    def count() -> None:
        table = table_of(target)
        snapshot = table.current_snapshot()
        assert snapshot is not None
        manifests.append(len(snapshot.manifests(table.io)))

    churn(target, view, 16, count)
    assert max(manifests[8:]) <= max(manifests[:8])


def test_expired_snapshots_leave_their_files_to_be_removed(target: Target, view: View) -> None:
    churn(target, view, 6)
    table = table_of(target)
    made = [entry.timestamp_ms / 1000 for entry in table.metadata.snapshot_log]
    assert replaced_snapshots(table.metadata, made[1]) == []
    log = [entry.snapshot_id for entry in table.metadata.snapshot_log]
    # A snapshot that another has replaced only then is still read.
    assert replaced_snapshots(table.metadata, made[3] + 0.0005) == log[:3]
    expected = sorted(rows_of(target), key=lambda row: str(row["id"]))
    after = expire(target, table, log[:3])
    assert len(after.metadata.snapshots) == 3
    assert expire(target, table, log[:3]).metadata.snapshots == after.metadata.snapshots
    used = {target.path(uri) for uri in referenced_uris(after)}
    files = {str(path) for path in Path(target.folder).rglob("*") if path.is_file()}
    for path in files - used:
        Path(path).unlink()
    assert len(files - used) > 0
    assert sorted(rows_of(target), key=lambda row: str(row["id"])) == expected
    for snapshot in after.metadata.snapshots:
        assert after.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows > 0
    assert used <= files


def test_content_is_named_by_the_last_two_parts_of_a_path() -> None:
    assert content_name("s3://b/iceberg/t/data/1a/key_bucket=3/rows-1.parquet") == (
        "key_bucket=3/rows-1.parquet"
    )
