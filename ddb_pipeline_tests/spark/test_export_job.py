"""The export job on Spark's Python workers writes the same dataset as one machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export import convert as convert_export_module
from ddb_pipeline.export.columns_file import read_columns_file, write_columns_file
from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.tasks import Task, plan_tasks
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.parquet.partition_by import PartitionBy
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.spark.executors import last_line
from ddb_pipeline.spark.export_arguments import ExportArguments, ExportJobError, parse
from ddb_pipeline.spark.export_job import located, run
from ddb_pipeline_tests.support import type_conflicts
from ddb_pipeline_tests.support.exports import LOCAL, opened, order, write_local_export
from ddb_pipeline_tests.support.recording_reporter import RecordingReporter
from ddb_pipeline_tests.support.type_conflicts import without_nulls


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def plan(files: Any) -> tuple[Task, ...]:
        return plan_tasks(files, 1)

    monkeypatch.setattr(convert_export_module, "plan_tasks", plan)
    rejected = {"id": {"S": "rejected"}, "n": {"N": "1.5"}}
    return write_local_export(tmp_path, [*map(order, range(500)), rejected])


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


def test_the_dataset_is_the_same_as_on_one_machine(
    session: Any, source: Path, tmp_path: Path
) -> None:
    write_columns_file(*located((tmp_path / "columns.json").as_uri()), COLUMNS)
    target = tmp_path / "spark"
    arguments = ExportArguments(
        source=source.as_uri(),
        destination=target.as_uri(),
        schema=(tmp_path / "columns.json").as_uri(),
        partition_by="hash(id,2)",
    )
    reporter = RecordingReporter()
    run(session, parse(arguments.command_line()), reporter)
    assert reporter.lines[-1].startswith("Wrote 500 rows in ")
    assert reporter.lines[-1].endswith("; 1 line(s) were rejected.")
    assert any(line.startswith("Converted ") for line in reporter.lines)
    here = tmp_path / "here"
    options = PartOptions(partition_by=PartitionBy("hash", "id", 2))
    conversion = convert_export(
        *opened(source), COLUMNS, Destination(LOCAL, str(here)), options=options
    )
    assert files_of(here) == files_of(target)
    # The same conversion on one machine finds the published dataset and does nothing.
    again = convert_export(
        *opened(source), COLUMNS, Destination(LOCAL, str(target)), options=options
    )
    assert again == conversion


def test_columns_are_inferred_from_all_items(session: Any, source: Path, tmp_path: Path) -> None:
    columns = tmp_path / "new" / "columns.json"
    reporter = RecordingReporter()
    run(session, ExportArguments(source.as_uri(), infer_to=columns.as_uri()), reporter)
    assert json.loads(columns.read_text()) == [
        ["day", "string"],
        ["id", "string"],
        ["n", "double"],
        ["note", "string"],
        ["tags", "set<string>"],
        ["total", "double"],
    ]
    assert reporter.lines[-1].startswith("Wrote 6 columns, inferred from 501 items, to ")


def test_values_of_several_types_are_as_decided(session: Any, tmp_path: Path) -> None:
    """The executors follow the decisions for the columns and for the values."""
    items = list(type_conflicts.items())
    source = write_local_export(tmp_path, [item for item, _ in items]).as_uri()
    columns, target = tmp_path / "columns.json", tmp_path / "spark"
    decided = type_conflicts.decisions().text
    reporter = RecordingReporter()
    inference = ExportArguments(source, infer_to=columns.as_uri(), type_conflicts=decided)
    run(session, parse(inference.command_line()), reporter)
    found = read_columns_file(*located(columns.as_uri()))
    repaired, _ = normalize_columns(found)
    assert dict(repaired) == type_conflicts.expected_columns()
    write_columns_file(*located(columns.as_uri()), repaired)
    conversion = ExportArguments(source, target.as_uri(), columns.as_uri(), type_conflicts=decided)
    run(session, parse(conversion.command_line()), reporter)
    rows = [
        row for file in target.rglob("part-*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    accepted = [row for _, row in items if row is not None]
    assert without_nulls(rows) == without_nulls(accepted)
    assert reporter.lines[-1].endswith(f"; {len(items) - len(accepted)} line(s) were rejected.")


def test_a_damaged_file_fails_the_job_with_the_reason(
    session: Any, source: Path, tmp_path: Path
) -> None:
    data = max((source / "data").iterdir())
    data.write_bytes(data.read_bytes()[:-20])
    write_columns_file(*located((tmp_path / "columns.json").as_uri()), COLUMNS)
    arguments = ExportArguments(
        source.as_uri(), (tmp_path / "lake").as_uri(), (tmp_path / "columns.json").as_uri()
    )
    with pytest.raises(ExportJobError, match="it is not a complete gzip file") as raised:
        run(session, arguments, RecordingReporter())
    assert data.name in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "lake").exists()
    with pytest.raises(ExportError):
        convert_export(*opened(source), COLUMNS, Destination(LOCAL, str(tmp_path / "lake")))


def test_s3_is_configured_by_the_environment(
    session: Any,
    source: Path,
    embedded_aws: Endpoint,
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
        "AWS_ACCESS_KEY_ID": embedded_aws.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": embedded_aws.credentials.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        # The Python workers of a session that is running have the environment of its start.
        monkeypatch.setitem(session.sparkContext.environment, name, value)
    write_columns_file(*located("s3://spark-export/columns.json"), COLUMNS)
    arguments = ExportArguments(
        "s3://spark-export/export", "s3://spark-export/lake", "s3://spark-export/columns.json"
    )
    run(session, arguments, RecordingReporter())
    filesystem, folder = located("s3://spark-export/lake")
    assert pq.read_table(folder, filesystem=filesystem).num_rows == 500


INVALID_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"source": "s3://b/e"}, "--infer-to"),
    ({"source": "s3://b/e", "destination": "s3://b/d"}, "--schema"),
    ({"source": "s3://b/e", "infer_to": "x", "destination": "d", "schema": "s"}, "Give"),
]


@pytest.mark.parametrize(("arguments", "reason"), INVALID_ARGUMENTS)
def test_arguments_must_ask_for_either_inference_or_conversion(
    arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ExportJobError, match=reason):
        ExportArguments(**arguments)


def test_a_source_that_is_not_a_uri_is_an_error() -> None:
    with pytest.raises(ExportJobError, match=r"Give an s3:// or file:// URI"):
        located("nowhere/relative")


def test_last_line_is_the_error_of_a_traceback() -> None:
    assert last_line("Traceback\n  File x\nValueError: wrong\n\n") == "ValueError: wrong"
    assert last_line("") == ""
