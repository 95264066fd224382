from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import bucket_numbers
from ddb_pipeline.lake.current.manifest import BucketFile, Snapshot
from ddb_pipeline.lake.current.sizing import (
    BUCKET_BYTES,
    ESTIMATED_ROW_BYTES,
    MAX_BUCKETS,
    bucket_count,
    merge_bytes,
)
from ddb_pipeline.lake.current.sources import ParquetPart
from ddb_pipeline.lake.current.steps import Processes
from ddb_pipeline.lake.current.update import ReservedColumnError, StreamBehindError
from ddb_pipeline_tests.lake.current.conftest import BASE, HOUR, ViewOfItems

COLUMNS = (Column("id", "string"), Column("n", "bigint"))


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"k{number}", "n": number} for number in range(count)]


def bucket_of(key: str, buckets: int) -> int:
    return int(bucket_numbers(pa.array([f'{{"id":"{key}"}}']), buckets)[0])


def test_only_buckets_with_a_change_are_written(items: ViewOfItems) -> None:
    items.full(rows(200), COLUMNS, buckets=8)
    before = items.files()
    assert len(before) == 8
    updated = items.change([{"id": "k7", "n": -7, "at": 1}], COLUMNS)
    assert updated.rewritten == 1
    after = items.files()
    written = {name for name in after if name not in before}
    assert {name.split("/")[0] for name in written} == {f"key_bucket={bucket_of('k7', 8)}"}
    assert all(after[name] == before[name] for name in after if name in before)
    assert len(after) == 8
    assert items.rows()["k7"]["n"] == -7
    # The same change again, and one that is older.
    again = items.change([{"id": "k7", "n": 0, "at": 1}, {"id": "k8", "n": 0, "at": -5}], COLUMNS)
    assert again.rewritten == 0
    assert items.files() == after
    assert updated.manifest.marks == {}


def test_a_delete_of_an_unknown_item_leaves_the_items_file(items: ViewOfItems) -> None:
    items.full(rows(20), COLUMNS, buckets=1)
    before = items.files()
    updated = items.change([{"id": "x", "n": 0, "at": 1, "gone": True}], COLUMNS)
    assert (updated.rewritten, updated.manifest.files[0].tombstones) == (0, 1)
    assert items.files() == before
    late = items.change([{"id": "x", "n": 5, "at": 0.5}], COLUMNS)
    assert "x" not in items.rows()
    assert late.counts.superseded == 1


def test_all_readers_see_one_schema_after_a_type_is_widened(items: ViewOfItems, spark: Any) -> None:
    items.full(rows(50), COLUMNS, buckets=4)
    wider = (*COLUMNS[:1], Column("n", "decimal(5,2)"), Column("new", "array<string>"))
    change = {"id": "k1", "n": None, "new": ["x"], "at": 1}
    updated = items.change([change], wider)
    # A reader takes the schema of any one of the files for all of them.
    assert updated.rewritten == 4
    assert updated.manifest.columns[1] == Column("n", "decimal(22,2)")
    schemas = {str(pq.read_schema(items.view / path)) for path in updated.manifest.paths}
    assert len(schemas) == 1
    everything = ds.dataset(items.view, partitioning="hive").to_table()
    query = f"""SELECT count(*), sum(n), count(new)
        FROM read_parquet('{items.view}/**/*.parquet', hive_partitioning = true)"""
    count, total, news = duckdb.connect().execute(query).fetchone() or (0, 0, 0)
    assert (len(everything), count, float(total), news) == (50, 50, sum(range(50)) - 1, 1)
    frame = spark.read.parquet(str(items.view))
    assert frame.count() == 50
    assert "key_bucket" in frame.columns
    assert frame.where("new is not null").collect()[0].id == "k1"
    assert float(frame.selectExpr("sum(n) AS total").collect()[0].total) == float(total)
    assert items.change([{**change, "at": 2}], wider).rewritten == 1


def test_files_are_those_of_the_manifest(items: ViewOfItems) -> None:
    updated = items.full(rows(10), COLUMNS, buckets=3)
    for hour in range(3):
        updated = items.change([{"id": "k1", "n": hour, "at": hour + 1}], COLUMNS)
    assert set(items.files()) == set(updated.manifest.paths)
    found = {str(p.relative_to(items.view)) for p in items.view.rglob("*") if p.is_file()}
    assert found == {*updated.manifest.all_paths, "_current/manifest.json"}


def test_a_view_without_items_can_be_read(items: ViewOfItems) -> None:
    source = items.part([], "items", pa.schema([("id", pa.string()), ("n", pa.int64())]))
    items.apply(lambda _: (source,), COLUMNS, Snapshot("full", BASE), replaces=True)
    assert items.rows() == {}
    assert ds.dataset(items.view, partitioning="hive").schema.names[:2] == ["id", "n"]


@pytest.mark.parametrize("buckets", [1, 3, 16])
def test_the_number_of_buckets_can_change(items: ViewOfItems, buckets: int) -> None:
    items.full(rows(100), COLUMNS, buckets=2)
    gone = [{"id": "k3", "n": 0, "at": 1, "gone": True}]
    items.change(gone, COLUMNS)
    before = items.rows()
    updated = items.change([{"id": "k4", "n": -4, "at": 1}], COLUMNS, buckets=buckets)
    assert updated.manifest.buckets == buckets
    assert updated.rewritten == buckets
    assert items.rows() == {**before, "k4": {"id": "k4", "n": -4}}
    assert set(items.files()) == set(updated.manifest.paths)
    # The tombstones have moved along.
    items.change([{"id": "k3", "n": 3, "at": 0.5}], COLUMNS)
    assert "k3" not in items.rows()


@pytest.mark.parametrize(
    ("wanted", "sizes", "memory", "expected"),
    [
        (None, [], 0, 1),
        (None, [], BUCKET_BYTES, 1),
        (None, [], BUCKET_BYTES + 1, 2),
        (None, [], 100 * BUCKET_BYTES, 128),
        (None, [], 10**18, MAX_BUCKETS),
        (7, [], 10**12, 7),
        (7, [1, 1], 0, 7),
        (None, [1, 1, 1], 0, 3),
        (None, [2 * BUCKET_BYTES] * 2, 0, 2),
        (None, [2 * BUCKET_BYTES + 1, 1], 0, 4),
        (None, [3 * BUCKET_BYTES] * 4, 0, 16),
        (None, [1, 1, 1], 6 * BUCKET_BYTES, 3),
        (None, [1, 1, 1], 6 * BUCKET_BYTES + 1, 6),
    ],
)
def test_bucket_count(wanted: int | None, sizes: list[int], memory: int, expected: int) -> None:
    files = [BucketFile("p", 1, 1, size) for size in sizes]
    assert bucket_count(wanted, files, memory) == expected


@pytest.mark.parametrize(
    ("sizes", "arriving", "expected"),
    [
        ([], [], 0),
        ([], [10], 10 * ESTIMATED_ROW_BYTES),
        ([1000, 3000], [], 0),
        # One change can touch one bucket only.
        ([1000, 3000], [1], 2000 + ESTIMATED_ROW_BYTES),
        ([1000, 3000], [1, 4], 4000 + 5 * ESTIMATED_ROW_BYTES),
    ],
)
def test_merge_bytes(sizes: list[int], arriving: list[int], expected: int) -> None:
    files = [BucketFile("p", 1, 1, size) for size in sizes]
    local = pyarrow.fs.LocalFileSystem()
    assert merge_bytes(files, [ParquetPart(local, "", "changes", n) for n in arriving]) == expected


def test_deletes_are_forgotten_after_their_time(items: ViewOfItems) -> None:
    items.full(rows(10), COLUMNS, buckets=1)
    gone = [{"id": "k3", "n": 0, "at": 1, "gone": True}]
    kept = items.change(gone, COLUMNS, as_of=BASE + 2 * HOUR, keep_tombstones=30 * HOUR)
    assert kept.manifest.files[0].tombstones == 1
    before = items.files()
    later = items.change([], COLUMNS, as_of=BASE + 60 * HOUR, keep_tombstones=30 * HOUR)
    assert later.manifest.files[0].tombstones == 0
    assert items.files() == before
    late = items.change([{"id": "k3", "n": 3, "at": 0.5}], COLUMNS, as_of=BASE + 60 * HOUR)
    assert "k3" not in items.rows()
    assert late.counts.too_late == 1


def test_a_snapshot_with_a_slack_waits_for_the_stream(items: ViewOfItems) -> None:
    source = items.part(rows(3), "items")
    snapshot = Snapshot("full", BASE, slack=1)
    for until in (None, BASE - 1):
        with pytest.raises(StreamBehindError, match="delivered up to"):
            items.apply(
                lambda _: (source,), COLUMNS, snapshot, replaces=True, delivered_until=until
            )
    assert not items.view.exists()
    items.apply(lambda _: (source,), COLUMNS, snapshot, replaces=True, delivered_until=BASE)
    assert len(items.rows()) == 3


def test_processes_write_the_same_files_as_one(tmp_path: Path) -> None:
    found = []
    for name in ("one", "many"):
        folder = tmp_path / name
        folder.mkdir()
        view = ViewOfItems(folder)
        with Processes(2) as run_steps:
            if name == "many":
                # Also few data, which a pool is not started for otherwise.
                view.run_steps = lambda steps, run=run_steps: run(list(map(Large, steps)))
            view.full(rows(1000), COLUMNS, buckets=4)
            updated = view.change([{"id": "k5", "n": -5, "at": 1}], COLUMNS)
        paths = [view.view / path for path in updated.manifest.paths]
        found.append([path.read_bytes() for path in paths])
    assert found[0] == found[1]


class Large:
    """A step that claims to have much data."""

    size = 10**9

    def __init__(self, step: Any) -> None:
        self._step = step

    def run(self) -> Any:
        return self._step.run()


def test_an_attribute_of_the_partition_columns_name_is_refused(items: ViewOfItems) -> None:
    with pytest.raises(ReservedColumnError, match="key_bucket"):
        items.full([{"id": "a", "key_bucket": 1}], (*COLUMNS, Column("key_bucket", "bigint")))
    assert not items.view.exists()
