"""Exports to datasets: complete or not there at all, whatever is wrong and whenever it stops."""

import base64
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.export import convert as convert_export_module
from ddb_pipeline.export.convert import ConvertedExport, Progress, convert_export, infer_export
from ddb_pipeline.export.layout import Export, md5_text
from ddb_pipeline.export.read import ChecksumError, ExportError, MalformedExportError
from ddb_pipeline.export.tasks import Task, plan_tasks
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import MAX_OPEN_FILES, PartOptions
from ddb_pipeline.parquet.publish import Destination, PublishError
from ddb_pipeline_tests.support.exports import (
    LOCAL,
    opened,
    order,
    rejected_lines,
    write_local_export,
)

COLUMNS = [
    ("id", "string"),
    ("n", "bigint"),
    ("total", "decimal(12,2)"),
    ("tags", "array<string>"),
    ("day", "string"),
    ("note", "string"),
]


def converted(source: Path, target: Path, **options: Any) -> ConvertedExport:
    return convert_export(*opened(source), COLUMNS, Destination(LOCAL, str(target)), **options)


def visible(target: Path) -> list[str]:
    """What a reader sees: Spark, Hive and Athena skip names that begin with _ or a dot."""
    paths = (path.relative_to(target) for path in target.rglob("*.parquet"))
    return sorted(str(p) for p in paths if not any(part[0] in "_." for part in p.parts))


def rows_of(target: Path) -> list[dict[str, Any]]:
    table = pyarrow.dataset.dataset(target, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["n"])


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task for each data file."""

    def plan(files: Any) -> tuple[Task, ...]:
        return plan_tasks(files, 1)

    monkeypatch.setattr(convert_export_module, "plan_tasks", plan)


def test_every_item_is_a_row(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(1000)))
    seen: list[Progress] = []
    told = converted(source, tmp_path / "lake", on_progress=seen.append)
    assert (told.items, told.rows, told.rejected, told.resumed_tasks) == (1000, 1000, 0, 0)
    assert seen[-1] == Progress(1000, 1000, 1, 1)
    rows = rows_of(tmp_path / "lake")
    assert [row["n"] for row in rows] == list(range(1000))
    assert str(rows[3]["total"]) == "3.25"
    assert rows[3]["tags"] == ["a", "t3"]
    assert (rows[3]["note"], rows[4]["note"]) == ("café", None)
    [part] = told.parts
    assert part.size == (tmp_path / "lake" / part.path).stat().st_size
    assert visible(tmp_path / "lake") == [part.path]
    assert not [path for path in tmp_path.iterdir() if ".converting" in path.name]


def test_the_files_are_what_readers_take(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(2000)))
    converted(source, tmp_path / "lake", options=PartOptions(compression="snappy"))
    [path] = (tmp_path / "lake").glob("*.parquet")
    metadata = pq.read_metadata(path)
    group = metadata.row_group(0)
    by_name = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert by_name["n"].compression == "SNAPPY"
    assert (by_name["n"].statistics.min, by_name["n"].statistics.max) == (0, 1999)
    assert by_name["tags.list.element"].has_dictionary_page
    assert not by_name["id"].has_dictionary_page
    assert b"ARROW:schema" not in (metadata.metadata or {})


def test_types_inferred_from_all_items(tmp_path: Path) -> None:
    last = {"id": {"S": "x"}, "late": {"M": {"a": {"NS": ["1", "2.5"]}}}}
    source = write_local_export(tmp_path, [*map(order, range(500)), last])
    open_object, export = opened(source)
    found = inferred_schema(infer_export(open_object, export))
    columns = [(c.name, replace_sets(c.type)) for c in found.columns]
    assert ("late", "struct<a:array<double>>") in columns
    told = convert_export(open_object, export, columns, Destination(LOCAL, str(tmp_path / "lake")))
    assert (told.rows, told.rejected) == (501, 0)


def test_what_does_not_fit_is_kept_whole_with_the_reason(tmp_path: Path) -> None:
    odd = [
        {"id": {"S": "a"}, "n": {"N": "1.5"}},
        {"id": {"S": "b"}, "new": {"S": "x"}},
        {"id": {"S": "c"}, "total": {"N": "1.234"}},
    ]
    source = write_local_export(tmp_path, [*map(order, range(100)), *odd])
    told = converted(source, tmp_path / "lake")
    assert (told.rows, told.rejected) == (100, 3)
    found = rejected_lines(tmp_path / "lake")
    assert sorted((entry["path"], entry["reason"]) for entry in found) == [
        ("n", "the number is no integer of 64 bits"),
        ("new", "no column is declared for this attribute"),
        ("total", "the number has more digits after the point than decimal(12,2)"),
    ]
    lines = {base64.b64decode(entry["rawData"]) for entry in found}
    assert b'{"Item":{"id":{"S":"a"},"n":{"N":"1.5"}}}' in lines
    assert all(entry["dataFile"].startswith("AWSDynamoDB/") for entry in found)
    assert visible(tmp_path / "lake") == [part.path for part in told.parts]


def test_a_line_that_is_not_json_is_rejected_not_lost(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(3)), files=1)
    body = gzip.compress(b'{"Item":{"n":{"N":"1"}}}\nnot json\n{"Item":{"n":{"N":"2"}}}\n')
    open_object, export = with_data(source, body)
    told = convert_export(open_object, export, COLUMNS, Destination(LOCAL, str(tmp_path / "lake")))
    assert (told.rows, told.rejected) == (2, 1)
    [entry] = rejected_lines(tmp_path / "lake")
    assert base64.b64decode(entry["rawData"]) == b"not json"
    assert entry["reason"].startswith("the line is not JSON")


def with_data(source: Path, body: bytes) -> tuple[Any, Export]:
    """The export with another single data file that the manifest knows."""
    open_object, export = opened(source)
    [file] = export.files
    (source / "data" / file.key.rpartition("/")[2]).write_bytes(body)
    return open_object, Export(export.summary, (file._replace(md5=md5_text(body)),))


def damaged(change: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(source: Path) -> None:
        change(max((source / "data").iterdir()))

    return damage


DAMAGES: list[tuple[Callable[[Path], None], type[ExportError], str]] = [
    (damaged(lambda p: p.write_bytes(p.read_bytes()[:-20])), MalformedExportError, "whole gzip"),
    (damaged(lambda p: p.write_bytes(b"")), ChecksumError, "its MD5 is"),
    (damaged(lambda p: p.write_bytes(gzip.compress(b""))), ChecksumError, "its MD5 is"),
    (damaged(Path.unlink), MalformedExportError, "in the manifest and not in the bucket"),
]


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize(("damage", "error", "reason"), DAMAGES)
def test_a_damaged_data_file_publishes_nothing(
    tmp_path: Path, damage: Callable[[Path], None], error: type[ExportError], reason: str
) -> None:
    source = write_local_export(tmp_path, map(order, range(400)))
    copy = {path: path.read_bytes() for path in (source / "data").iterdir()}
    damage(source)
    with pytest.raises(error, match=reason):
        converted(source, tmp_path / "lake")
    with pytest.raises(error, match=reason):
        infer_export(*opened(source))
    assert not (tmp_path / "lake").exists()
    for path, body in copy.items():
        path.write_bytes(body)
    told = converted(source, tmp_path / "lake")
    assert (told.rows, len(rows_of(tmp_path / "lake"))) == (400, 400)
    assert told.resumed_tasks > 0


def test_more_items_than_the_manifest_says(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(3)), files=1)
    open_object, export = with_data(source, gzip.compress(b'{"Item":{"n":{"N":"1"}}}\n'))
    with pytest.raises(ChecksumError, match="holds 1 items, the manifest says 3"):
        convert_export(open_object, export, COLUMNS, Destination(LOCAL, str(tmp_path / "l")))


def test_an_export_without_items(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, [])
    told = converted(source, tmp_path / "lake")
    assert (told.items, told.rows, told.parts) == (0, 0, ())
    assert [path.name for path in (tmp_path / "lake").iterdir()] == ["_SUCCESS"]


def test_an_incremental_export_is_refused(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(3)))
    open_object, export = opened(source)
    incremental = Export(replace(export.summary, from_time="2026-01-01T00:00:00Z"), export.files)
    target = Destination(LOCAL, str(tmp_path / "lake"))
    with pytest.raises(MalformedExportError, match="incremental"):
        convert_export(open_object, incremental, COLUMNS, target)


def test_the_same_again_does_nothing_and_other_data_is_refused(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(50)))
    first = converted(source, tmp_path / "lake")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*")}
    assert converted(source, tmp_path / "lake") == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*")} == before
    with pytest.raises(PublishError, match="is not empty"):
        converted(source, tmp_path / "lake", options=PartOptions(compression="gzip"))


KILLED = """
import os, sys
from pathlib import Path
from ddb_pipeline.export import convert as module
from ddb_pipeline.export.tasks import TaskConverter, plan_tasks
from ddb_pipeline_tests.export.test_convert import converted

module.plan_tasks = lambda files: plan_tasks(files, 1)
convert, done = TaskConverter.convert, []

def dying(self, task, on_items):
    if len(done) == 2:
        # In the middle of a task: its file is begun and has no report.
        convert(self, task, lambda items: os.kill(os.getpid(), 9))
    done.append(task)
    return convert(self, task, on_items)

TaskConverter.convert = dying
converted(Path(sys.argv[1]), Path(sys.argv[2]), workers=1)
"""


@pytest.mark.usefixtures("small_tasks")
def test_a_killed_conversion_shows_nothing_and_goes_on(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(400)))
    target = tmp_path / "lake"
    killed = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert killed.returncode == -9
    assert not target.exists()
    told = converted(source, target)
    assert (told.resumed_tasks, told.rows) == (2, 400)
    assert [row["n"] for row in rows_of(target)] == list(range(400))
    assert visible(target) == sorted(part.path for part in told.parts)


@pytest.mark.parametrize("text", ['{"number":', '{"number": 0, "parts": []}', "[]", "{}"])
def test_a_report_that_cannot_be_read_is_done_again(tmp_path: Path, text: str) -> None:
    source = write_local_export(tmp_path, map(order, range(10)))
    open_object, export = opened(source)
    target = Destination(LOCAL, str(tmp_path / "lake"))
    staged: list[str] = []

    def stop(tasks: Any, work: Any, on_items: Any) -> Any:
        staged.append(work.__self__.staging)
        work(tasks[0], on_items)
        (Path(staged[0]) / "_part-00000.json").write_text(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_export(open_object, export, COLUMNS, target, run_tasks=stop)
    assert Path(staged[0]).exists()
    told = convert_export(open_object, export, COLUMNS, target)
    assert (told.resumed_tasks, told.rows) == (0, 10)


@pytest.mark.parametrize(
    ("by", "directories"),
    [
        (PartitionBy("hash", "id", 4), {f"id_bucket={number}" for number in range(4)}),
        (PartitionBy("date", "day"), {f"day_date=2026-11-{d:02d}" for d in range(1, 29)}),
        (PartitionBy("", "note"), {"note=caf%C3%A9", "note=__HIVE_DEFAULT_PARTITION__"}),
    ],
)
def test_partitions(tmp_path: Path, by: PartitionBy, directories: set[str]) -> None:
    source = write_local_export(tmp_path, map(order, range(300)))
    told = converted(source, tmp_path / "lake", options=PartOptions(partition_by=by))
    assert {part.path.partition("/")[0] for part in told.parts} == directories
    rows = rows_of(tmp_path / "lake")
    assert [row["n"] for row in rows] == list(range(300))
    assert rows[3]["note"] == "café"


def test_more_partitions_than_files_open_at_once(tmp_path: Path) -> None:
    items = [order(number) | {"id": {"S": f"p{number % 90}"}} for number in range(900)]
    source = write_local_export(tmp_path, items)
    options = PartOptions(partition_by=PartitionBy("", "id"), row_group_bytes=4096)
    told = converted(source, tmp_path / "lake", options=options)
    assert len({part.path.partition("/")[0] for part in told.parts}) == 90 > MAX_OPEN_FILES
    assert [row["n"] for row in rows_of(tmp_path / "lake")] == list(range(900))


def test_files_of_a_chosen_size(tmp_path: Path) -> None:
    items = [order(n) | {"pad": {"S": os.urandom(400).hex()}} for n in range(12_000)]
    source = write_local_export(tmp_path, items, files=1)
    options = PartOptions(row_group_bytes=256 * 1024, file_bytes=1024 * 1024)
    target = tmp_path / "lake"
    told = convert_export(
        *opened(source), [*COLUMNS, ("pad", "string")], Destination(LOCAL, str(target)),
        options=options,
    )  # fmt: skip
    assert len(told.parts) > 2
    assert all(part.size < 3 * 1024 * 1024 for part in told.parts)
    assert sum(part.rows for part in told.parts) == 12_000


def test_in_an_object_store(aws_client: Callable[[str], Any], tmp_path: Path) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="convert-export")
    filesystem = pyarrow.fs.S3FileSystem(
        access_key="test",
        secret_key="test",
        region="us-east-1",
        scheme="http",
        endpoint_override=s3.meta.endpoint_url.partition("://")[2],
    )
    source = write_local_export(tmp_path, map(order, range(200)))
    target = Destination(filesystem, "convert-export/lake/orders")
    by = PartOptions(partition_by=PartitionBy("hash", "id", 2))
    options = PartOptions(compression="gzip")

    def stop(tasks: Any, work: Any, on_items: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_export(*opened(source), COLUMNS, target, options=options, run_tasks=stop)
    told = convert_export(*opened(source), COLUMNS, target, options=by)
    keys = {o["Key"] for o in s3.list_objects_v2(Bucket="convert-export")["Contents"]}
    expected = {f"lake/orders/{part.path}" for part in told.parts} | {"lake/orders/_SUCCESS"}
    assert {key for key in keys if not key.endswith("/")} == expected
    table = pyarrow.dataset.dataset(
        "convert-export/lake/orders", filesystem=filesystem, partitioning="hive"
    ).to_table()
    assert pc.sum(table["n"]).as_py() == sum(range(200))
    assert convert_export(*opened(source), COLUMNS, target, options=by) == told


def test_two_processes_do_not_convert_to_the_same_place_at_once(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(20)))
    seen: list[str] = []

    def again(tasks: Any, work: Any, on_items: Any) -> Any:
        with pytest.raises(PublishError, match="Another process"):
            converted(source, tmp_path / "lake")
        seen.append("refused")
        return (work(task, on_items) for task in tasks)

    assert converted(source, tmp_path / "lake", run_tasks=again).rows == 20
    assert seen == ["refused"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AWSDynamoDB", "lake"]


def test_what_other_options_left_behind_is_removed(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(20)))

    def stop(tasks: Any, work: Any, on_items: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(
            source, tmp_path / "lake", run_tasks=stop, options=PartOptions(compression="gzip")
        )
    assert [path for path in tmp_path.iterdir() if ".converting" in path.name]
    converted(source, tmp_path / "lake")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AWSDynamoDB", "lake"]
