"""The export job on Spark's Python workers: the same dataset as one machine's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.export import convert as convert_export_module
from ddb_pipeline.export.columns_file import write_columns_file
from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.tasks import Task, plan_tasks
from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.spark.executors import last_line
from ddb_pipeline.spark.export_arguments import ExportArguments, ExportJobError, parse
from ddb_pipeline.spark.export_job import located, run
from ddb_pipeline_tests.support.exports import LOCAL, opened, order, write_local_export


class Told:
    """Keeps what a job tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(f"warning: {message}")

    def materialized(self, metadata: Any, data_version: str) -> None: ...


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def plan(files: Any) -> tuple[Task, ...]:
        return plan_tasks(files, 1)

    monkeypatch.setattr(convert_export_module, "plan_tasks", plan)
    odd = [{"id": {"S": "odd"}, "n": {"N": "1.5"}}]
    return write_local_export(tmp_path, [*map(order, range(500)), *odd])


COLUMNS = [
    ("id", "string"),
    ("n", "bigint"),
    ("total", "decimal(12,2)"),
    ("tags", "array<string>"),
    ("day", "string"),
    ("note", "string"),
]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("part-*")}


def test_the_dataset_is_the_one_of_one_machine(session: Any, source: Path, tmp_path: Path) -> None:
    write_columns_file(*located((tmp_path / "columns.json").as_uri()), COLUMNS)
    target = tmp_path / "spark"
    arguments = ExportArguments(
        source=source.as_uri(),
        destination=target.as_uri(),
        schema=(tmp_path / "columns.json").as_uri(),
        partition_by="hash(id,2)",
    )
    told = Told()
    run(session, parse(arguments.command_line()), told)
    assert told.lines[-1].startswith("500 rows in ")
    assert "1 lines rejected" in told.lines[-1]
    assert any(line.startswith("Converted ") for line in told.lines)
    here = tmp_path / "here"
    options = PartOptions(partition_by=PartitionBy("hash", "id", 2))
    conversion = convert_export(
        *opened(source), COLUMNS, Destination(LOCAL, str(here)), options=options
    )
    assert files_of(here) == files_of(target)
    # What Spark published is known to the same call on one machine, which does nothing.
    again = convert_export(
        *opened(source), COLUMNS, Destination(LOCAL, str(target)), options=options
    )
    assert again == conversion


def test_types_of_all_items(session: Any, source: Path, tmp_path: Path) -> None:
    columns = tmp_path / "new" / "columns.json"
    told = Told()
    run(session, ExportArguments(source.as_uri(), infer_to=columns.as_uri()), told)
    assert json.loads(columns.read_text()) == [
        ["day", "string"],
        ["id", "string"],
        ["n", "double"],
        ["note", "string"],
        ["tags", "set<string>"],
        ["total", "double"],
    ]
    assert told.lines[-1].startswith("501 items, 6 columns: ")


def test_a_damaged_file_ends_the_job_with_the_reason(
    session: Any, source: Path, tmp_path: Path
) -> None:
    data = max((source / "data").iterdir())
    data.write_bytes(data.read_bytes()[:-20])
    write_columns_file(*located((tmp_path / "columns.json").as_uri()), COLUMNS)
    arguments = ExportArguments(
        source.as_uri(), (tmp_path / "lake").as_uri(), (tmp_path / "columns.json").as_uri()
    )
    with pytest.raises(ExportJobError, match="it is not a complete gzip file") as raised:
        run(session, arguments, Told())
    assert data.name in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "lake").exists()
    with pytest.raises(ExportError):
        convert_export(*opened(source), COLUMNS, Destination(LOCAL, str(tmp_path / "lake")))


def test_an_object_store_as_its_environment_names_it(
    session: Any,
    source: Path,
    aws_client: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = aws_client("s3")
    s3.create_bucket(Bucket="spark-export")
    for path in source.rglob("*"):
        if path.is_file():
            key = f"export/{path.relative_to(source)}"
            s3.put_object(Bucket="spark-export", Key=key, Body=path.read_bytes())
    environment = {
        "AWS_ENDPOINT_URL_S3": s3.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    write_columns_file(*located("s3://spark-export/columns.json"), COLUMNS)
    arguments = ExportArguments(
        "s3://spark-export/export", "s3://spark-export/lake", "s3://spark-export/columns.json"
    )
    run(session, arguments, Told())
    filesystem, path = located("s3://spark-export/lake")
    assert pq.read_table(path, filesystem=filesystem).num_rows == 500


WRONG: list[tuple[dict[str, str], str]] = [
    ({"source": "s3://b/e"}, "--infer-to"),
    ({"source": "s3://b/e", "destination": "s3://b/d"}, "--schema"),
    ({"source": "s3://b/e", "infer_to": "x", "destination": "d", "schema": "s"}, "Give"),
]


@pytest.mark.parametrize(("arguments", "reason"), WRONG)
def test_arguments_that_ask_for_no_one_thing(arguments: dict[str, str], reason: str) -> None:
    with pytest.raises(ExportJobError, match=reason):
        ExportArguments(**arguments)


def test_a_place_that_is_no_uri() -> None:
    with pytest.raises(ExportJobError, match=r"Give an s3:// or file:// URI"):
        located("nowhere/relative")


def test_last_line() -> None:
    assert last_line("Traceback\n  File x\nValueError: odd\n\n") == "ValueError: odd"
    assert last_line("") == ""
