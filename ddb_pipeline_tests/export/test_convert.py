"""Exports converted to datasets: published complete or not at all, and resumed after a crash."""

import base64
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.export import convert as convert_export_module
from ddb_pipeline.export.convert import Progress, convert_export, infer_export
from ddb_pipeline.export.layout import DataFile, Export, md5_text
from ddb_pipeline.export.manifest import ChecksumError, ExportError, MalformedExportError
from ddb_pipeline.export.tasks import Task, plan_tasks
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline_tests.support.exports import (
    COLUMNS,
    LOCAL,
    converted,
    opened,
    order,
    rejected_lines,
    rows_of,
    visible,
    write_local_export,
)


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task for each data file."""

    def plan(files: Any) -> tuple[Task, ...]:
        return plan_tasks(files, 1)

    monkeypatch.setattr(convert_export_module, "plan_tasks", plan)


def test_every_item_is_a_row(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(1000)))
    seen: list[Progress] = []
    result = converted(source, tmp_path / "lake", on_progress=seen.append)
    assert (result.items, result.rows, result.rejected, result.resumed_tasks) == (1000, 1000, 0, 0)
    assert seen[-1] == Progress(1000, 1000, 1, 1)
    rows = rows_of(tmp_path / "lake")
    assert [row["n"] for row in rows] == list(range(1000))
    assert str(rows[3]["total"]) == "3.25"
    assert rows[3]["tags"] == ["a", "t3"]
    assert (rows[3]["note"], rows[4]["note"]) == ("café", None)
    [part] = result.parts
    assert part.size == (tmp_path / "lake" / part.path).stat().st_size
    assert visible(tmp_path / "lake") == [part.path]
    assert not [path for path in tmp_path.iterdir() if ".converting" in path.name]


def test_types_inferred_from_all_items(tmp_path: Path) -> None:
    last = {"id": {"S": "x"}, "late": {"M": {"a": {"NS": ["1", "2.5"]}}}}
    source = write_local_export(tmp_path, [*map(order, range(500)), last])
    open_object, export = opened(source)
    found = inferred_schema(infer_export(open_object, export))
    columns = [(c.name, replace_sets(c.type)) for c in found.columns]
    assert ("late", "struct<a:array<double>>") in columns
    result = convert_export(
        open_object, export, columns, Destination(LOCAL, str(tmp_path / "lake"))
    )
    assert (result.rows, result.rejected) == (501, 0)


def test_rejected_lines_are_stored_whole_with_the_reason(tmp_path: Path) -> None:
    rejected = [
        {"id": {"S": "a"}, "n": {"N": "1.5"}},
        {"id": {"S": "b"}, "new": {"S": "x"}},
        {"id": {"S": "c"}, "total": {"N": "1.234"}},
    ]
    source = write_local_export(tmp_path, [*map(order, range(100)), *rejected])
    result = converted(source, tmp_path / "lake")
    assert (result.rows, result.rejected) == (100, 3)
    found = rejected_lines(tmp_path / "lake")
    assert sorted((entry["path"], entry["reason"]) for entry in found) == [
        ("n", "the number is not an integer of 64 bits"),
        ("new", "there is no column for this attribute"),
        ("total", "the number has more digits after the point than decimal(12,2)"),
    ]
    lines = {base64.b64decode(entry["rawData"]) for entry in found}
    assert b'{"Item":{"id":{"S":"a"},"n":{"N":"1.5"}}}' in lines
    assert all(entry["dataFile"].startswith("AWSDynamoDB/") for entry in found)
    assert visible(tmp_path / "lake") == [part.path for part in result.parts]


def test_a_line_that_is_not_json_is_rejected(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(3)), files=1)
    body = gzip.compress(b'{"Item":{"n":{"N":"1"}}}\nnot json\n{"Item":{"n":{"N":"2"}}}\n')
    open_object, export = with_data(source, body)
    result = convert_export(
        open_object, export, COLUMNS, Destination(LOCAL, str(tmp_path / "lake"))
    )
    assert (result.rows, result.rejected) == (2, 1)
    [entry] = rejected_lines(tmp_path / "lake")
    assert base64.b64decode(entry["rawData"]) == b"not json"
    assert entry["reason"].startswith("the line is not JSON")


def with_data(source: Path, body: bytes) -> tuple[Any, Export]:
    """The export with another single data file that the manifest knows."""
    open_object, export = opened(source)
    [file] = export.files
    (source / "data" / file.key.rpartition("/")[2]).write_bytes(body)
    return open_object, Export(export.summary, (file._replace(md5=md5_text(body)),))


def damaged(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(source: Path) -> None:
        change(max((source / "data").iterdir()))

    return damage


DAMAGES: list[tuple[Callable[[Path], None], type[ExportError], str]] = [
    (
        damaged(lambda p: p.write_bytes(p.read_bytes()[:-20])),
        MalformedExportError,
        "complete gzip",
    ),
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
    result = converted(source, tmp_path / "lake")
    assert (result.rows, len(rows_of(tmp_path / "lake"))) == (400, 400)
    assert result.resumed_tasks > 0


def test_more_items_than_the_manifest_says(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(3)), files=1)
    open_object, export = with_data(source, gzip.compress(b'{"Item":{"n":{"N":"1"}}}\n'))
    with pytest.raises(ChecksumError, match="holds 1 items, the manifest states 3"):
        convert_export(open_object, export, COLUMNS, Destination(LOCAL, str(tmp_path / "l")))


def test_an_export_without_items(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, [])
    result = converted(source, tmp_path / "lake")
    assert (result.items, result.rows, result.parts) == (0, 0, ())
    assert [path.name for path in (tmp_path / "lake").iterdir()] == ["_SUCCESS"]


KILLED = """
import os, sys
from pathlib import Path
from ddb_pipeline.export import convert as module
from ddb_pipeline.export.tasks import TaskConverter, plan_tasks
from ddb_pipeline_tests.support.exports import converted

module.plan_tasks = lambda files: plan_tasks(files, 1)
convert, done = TaskConverter.convert, []


def dying(self, task, report_items):
    if len(done) == 2:
        # In the middle of a task: its file is begun and has no report.
        convert(self, task, lambda items: os.kill(os.getpid(), 9))
    done.append(task)
    return convert(self, task, report_items)

TaskConverter.convert = dying
converted(Path(sys.argv[1]), Path(sys.argv[2]), workers=1)
"""


@pytest.mark.parametrize(
    ("files", "tasks"),
    [
        ([30_000] * 2, [2]),
        ([10_000] * 8, [5, 3]),
        ([125_000] * 8, [1] * 8),
        ([50_000] * 16, [2] * 8),
        ([100_000] * 40, [2] * 20),
        ([0, 0], [2]),
        ([], []),
    ],
)
def test_exports_of_few_items_are_several_tasks(files: list[int], tasks: list[int]) -> None:
    planned = plan_tasks([DataFile(f"{n}", count, "", "") for n, count in enumerate(files)])
    assert [len(task.files) for task in planned] == tasks


def test_reports_of_tasks_with_other_data_files_are_not_resumed(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(400)))
    target = tmp_path / "lake"
    killed = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert killed.returncode == -9
    result = converted(source, target)
    assert (result.resumed_tasks, result.rows) == (0, 400)


@pytest.mark.usefixtures("small_tasks")
def test_a_killed_conversion_publishes_nothing_and_is_resumed(tmp_path: Path) -> None:
    source = write_local_export(tmp_path, map(order, range(400)))
    target = tmp_path / "lake"
    killed = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert killed.returncode == -9
    assert not target.exists()
    result = converted(source, target)
    assert (result.resumed_tasks, result.rows) == (2, 400)
    assert [row["n"] for row in rows_of(target)] == list(range(400))
    assert visible(target) == sorted(part.path for part in result.parts)


@pytest.mark.parametrize("text", ['{"number":', '{"number": 0, "parts": []}', "[]", "{}"])
def test_a_task_with_an_unreadable_report_is_repeated(tmp_path: Path, text: str) -> None:
    source = write_local_export(tmp_path, map(order, range(10)))
    open_object, export = opened(source)
    target = Destination(LOCAL, str(tmp_path / "lake"))
    staged: list[str] = []

    def stop(tasks: Any, work: Any, report_items: Any) -> Any:
        staged.append(work.run.__self__.staging)
        work.run(tasks[0], report_items)
        (Path(staged[0]) / "_part-00000.json").write_text(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_export(open_object, export, COLUMNS, target, run_tasks=stop)
    assert Path(staged[0]).exists()
    result = convert_export(open_object, export, COLUMNS, target)
    assert (result.resumed_tasks, result.rows) == (0, 10)
