"""Compaction: few sorted files with every row once, in the table's types, at any interruption."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.glue.partitions import find_partition
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake import compaction
from ddb_pipeline.lake.compaction import CompactionError, CompactionOptions
from ddb_pipeline.lake.hour_generations import current_key, hour_objects, read_generation
from ddb_pipeline.lake.layout import COMPACTED_PREFIX
from ddb_pipeline_tests.support.stream_lake import (
    COLUMNS,
    HOUR,
    StreamLake,
    stream_row,
    stream_rows,
)

pytestmark = pytest.mark.embedded


@pytest.fixture
def lake(embedded_aws: Endpoint, embedded_home: Path) -> StreamLake:
    return StreamLake(embedded_aws, embedded_home).create()


def names(first: int, end: int) -> list[str]:
    return sorted(f"event-{number}" for number in range(first, end))


def read(lake: StreamLake) -> list[dict[str, Any]]:
    return [row for path in lake.files() for row in pq.read_table(path).to_pylist()]


def test_objects_of_an_hour_become_one_sorted_file(lake: StreamLake) -> None:
    for first in range(0, 60, 3):
        lake.land(stream_rows(first, first + 3))
    lake.register()
    totals = "SELECT id, count(*), sum(n), max(len(tags)) FROM hour GROUP BY 1 ORDER BY 1"
    before = lake.query(totals)
    done = lake.compact()
    assert done is not None
    assert (done.objects, done.generation.rows, done.generation.number) == (20, 60, 1)
    assert len(lake.files()) == 1
    assert lake.events() == names(0, 60)
    assert before == lake.query(totals)
    rows = read(lake)
    assert rows == sorted(rows, key=lambda row: (row["ddb_keys"], int(row["ddb_sequence_number"])))
    assert rows[1] == stream_row(5)
    metadata = pq.read_metadata(lake.files()[0])
    assert metadata.row_group(0).column(3).statistics.min == "0"
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_second_compaction_changes_nothing(lake: StreamLake) -> None:
    lake.land(stream_rows(0, 10))
    first = lake.compact()
    files = lake.files()
    again = lake.compact()
    assert first is not None
    assert again is not None
    assert (again.generation, again.objects, lake.files()) == (first.generation, 0, files)
    assert len(lake.objects(HOUR.prefix)) == 1


def test_an_hour_without_objects(lake: StreamLake) -> None:
    assert lake.compact() is None
    assert lake.objects(COMPACTED_PREFIX) == []


def test_late_objects_and_repeats_reopen_the_hour(lake: StreamLake) -> None:
    lake.land(stream_rows(0, 10))
    lake.land([stream_row(2), stream_row(2)])
    first = lake.compact()
    assert first is not None
    assert first.generation.repeats == 2
    lake.land([*stream_rows(5, 15), stream_row(3, n=33)])
    assert lake.events() == names(0, 10)
    second = lake.compact()
    assert second is not None
    assert (second.objects, second.generation.number, second.generation.repeats) == (1, 2, 8)
    assert lake.events() == names(0, 15)
    # The one delivered last is kept.
    assert lake.query("SELECT n FROM hour WHERE ddb_event_id = 'event-3'") == [(33,)]


def test_rows_stay_when_raw_objects_are_removed(lake: StreamLake) -> None:
    for key in [lake.land(stream_rows(0, 5)), lake.land(stream_rows(5, 10))]:
        lake.compact()
        lake.s3.delete_object(Bucket=lake.bucket, Key=lake.root.object_key(key))
    lake.land(stream_rows(10, 12))
    lake.compact()
    assert lake.events() == names(0, 12)


def test_rows_without_event_id_are_all_kept(lake: StreamLake) -> None:
    row = {"id": "a", "n": 1}
    lake.land([row, row], columns=COLUMNS[3:])
    lake.land([row], columns=COLUMNS[3:])
    lake.compact()
    lake.land([row, {"id": "b"}], columns=COLUMNS[3:])
    lake.compact()
    assert lake.query("SELECT id, count(*) FROM hour GROUP BY 1 ORDER BY 1") == [("a", 4), ("b", 1)]


WIDER = (
    *COLUMNS[:4],
    Column("n", "decimal(25,2)"),
    Column("tags", "array<string>"),
    Column("seen", "struct<at:timestamp,by:array<struct<who:string,n:bigint>>>"),
    Column("counts", "map<string,double>"),
)


def test_all_files_and_the_partition_get_the_tables_types(lake: StreamLake) -> None:
    lake.land(stream_rows(0, 4))
    lake.register()
    narrow = (
        *COLUMNS[:4],
        Column("n", "bigint"),
        Column("seen", "struct<by:array<struct<n:int>>>"),
        Column("counts", "map<string,float>"),
    )
    seen = {"seen": {"by": [{"n": 7}]}, "counts": [("x", 0.5)]}
    row = {name: value for name, value in stream_row(4, n=2**40, **seen).items() if name != "tags"}
    lake.land([row], columns=narrow)
    lake.widen(*WIDER)
    lake.compact()
    assert pq.read_schema(lake.files()[0]).names == arrow_schema(WIDER).names
    partition = find_partition(lake.glue, lake.table, (HOUR.date, HOUR.hour))
    assert partition is not None
    assert partition.columns == WIDER
    assert lake.query("SELECT sum(n)::VARCHAR, max(seen.by[1].n), max(counts['x']) FROM hour") == [
        (f"{2**40 + 6}.00", 7, 0.5)
    ]


def test_a_table_widened_later_has_the_hour_rewritten(lake: StreamLake) -> None:
    lake.land(stream_rows(0, 4))
    lake.compact()
    lake.widen(*WIDER)
    done = lake.compact()
    assert done is not None
    assert (done.objects, done.generation.number, done.generation.columns) == (0, 2, WIDER)
    assert lake.events() == names(0, 4)


@pytest.mark.parametrize(
    ("columns", "row", "named"),
    [
        ((*COLUMNS[:4], Column("n", "string")), {"n": "x"}, "n is string"),
        ((*COLUMNS[:4], Column("other", "int")), {"other": 1}, "other has values"),
        ((*COLUMNS[:4], Column("tags", "array<int>")), {"tags": [1]}, "tags[] is int32"),
    ],
)
def test_types_that_do_not_fit_leave_the_hour_as_it_is(
    lake: StreamLake, columns: tuple[Column, ...], row: dict[str, Any], named: str
) -> None:
    lake.land(stream_rows(0, 4))
    lake.compact()
    key = lake.land([{"ddb_event_id": "other", **row}], columns=columns)
    with pytest.raises(CompactionError) as caught:
        lake.compact()
    assert named in str(caught.value)
    assert key in str(caught.value)
    assert lake.events() == names(0, 4)


def test_an_object_that_is_no_parquet_is_named(lake: StreamLake) -> None:
    lake.land(stream_rows(0, 4))
    key = f"{HOUR.prefix}broken.parquet"
    lake.s3.put_object(
        Bucket=lake.bucket, Key=lake.root.object_key(key), Body=b"PAR1 and nothing else"
    )
    with pytest.raises(CompactionError, match="broken"):
        lake.compact()


@pytest.mark.parametrize("step", ["before the commit", "before the switch"])
def test_a_compaction_that_was_stopped_is_done_by_the_next(
    lake: StreamLake, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land(stream_rows(0, 10))
    lake.register()

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "before the commit":
            patched.setattr(compaction, "commit_generation", stopped)
        else:
            patched.setattr("ddb_pipeline_tests.support.stream_lake.point_partition", stopped)
        with pytest.raises(KeyboardInterrupt):
            lake.compact()
    assert lake.events() == names(0, 10)
    lake.compact()
    assert lake.events() == names(0, 10)
    assert all(COMPACTED_PREFIX in path for path in lake.files())


def test_objects_that_arrive_during_a_compaction_are_in_it_before_readers_switch(
    lake: StreamLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land(stream_rows(0, 10))
    lake.register()
    write = compaction.write_generation
    arriving = [stream_rows(10, 12), stream_rows(12, 13)]

    def slow(*arguments: Any) -> Any:
        generation = write(*arguments)
        if arriving:
            lake.land(arriving.pop(0))
        return generation

    monkeypatch.setattr(compaction, "write_generation", slow)
    done = lake.compact()
    assert done is not None
    assert (done.objects, done.generation.number) == (3, 3)
    assert lake.events() == names(0, 13)


def test_of_two_compactions_at_a_time_both_end_with_all_rows(
    lake: StreamLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land(stream_rows(0, 10))
    write = compaction.write_generation
    other = [lake.compact]

    def raced(*arguments: Any) -> Any:
        generation = write(*arguments)
        if other:
            lake.land(stream_rows(10, 12))
            other.pop()()
        return generation

    monkeypatch.setattr(compaction, "write_generation", raced)
    done = lake.compact()
    assert done is not None
    assert lake.events() == names(0, 12)
    current, _ = read_generation(lake.s3, lake.root, HOUR)
    assert current == done.generation


def test_where_the_rows_of_an_hour_are(lake: StreamLake) -> None:
    first = lake.land(stream_rows(0, 10))
    assert hour_objects(lake.s3, lake.root, HOUR).keys(HOUR) == [first]
    lake.compact()
    compacted = hour_objects(lake.s3, lake.root, HOUR).keys(HOUR)
    assert [key.startswith(HOUR.compacted_prefix) for key in compacted] == [True]
    late = lake.land(stream_rows(10, 12))
    assert hour_objects(lake.s3, lake.root, HOUR).keys(HOUR) == [*compacted, late]
    assert current_key(HOUR) in [stored.key for stored in lake.objects(HOUR.compacted_prefix)]


def test_a_large_hour_becomes_several_files_in_order(lake: StreamLake) -> None:
    for first in range(0, 3_000, 300):
        rows = [
            stream_row(n, tags=[f"{n * 7919 % 104_729:032x}"]) for n in range(first, first + 300)
        ]
        lake.land(rows)
    options = CompactionOptions(file_bytes=20_000, memory_bytes=60_000)
    done = lake.compact(options=options)
    assert done is not None
    assert done.generation.rows == 3_000
    assert lake.events() == names(0, 3_000)
    rows = read(lake)
    assert rows == sorted(rows, key=lambda row: (row["ddb_keys"], int(row["ddb_sequence_number"])))
