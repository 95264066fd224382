"""``ddb-pipeline convert-export``: schemas, partitions, rejected lines, refused arguments."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ddb_pipeline.cli.main import cli
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.hive.infer import TooManyAttributesError
from ddb_pipeline.native.library import library
from ddb_pipeline.parquet.publish import PublishError
from ddb_pipeline_tests.support.exports import order, write_local_export


def run(*arguments: Any, status: int = 0) -> str:
    result = CliRunner().invoke(cli, ["convert-export", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_local_export(tmp_path / "export", map(order, range(300)))


def test_types_from_all_items(tmp_path: Path, source: Path) -> None:
    output = run(source, tmp_path / "lake")
    assert output.startswith("300 rows of 6 columns in 1 files, 0.0 MB, in ")
    assert output.rstrip().endswith(str(tmp_path / "lake"))
    schema = pq.read_schema(next((tmp_path / "lake").glob("*.parquet")))
    assert schema.names == ["day", "id", "n", "note", "tags", "total"]


def test_the_folder_above_the_export(tmp_path: Path, source: Path) -> None:
    assert "300 rows" in run(source.parent.parent, tmp_path / "lake")


SCHEMAS: list[Any] = [
    {"id": "string", "n": "bigint", "total": "decimal(9,2)", "tags": "array<string>"},
    [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": "int"}],
    {"Table": {"StorageDescriptor": {"Columns": [{"Name": "id", "Type": "string"}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_file(tmp_path: Path, source: Path, schema: Any) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    output = json.loads(run(source, tmp_path / "lake", "--schema", file, "--json", status=1))
    assert output["reader"] == ("arrow" if library() is None else "native")
    # Attributes that the file does not name are not dropped in silence.
    assert (output["rows"], output["rejected"]) == (0, 300)
    rest = {"day": "string", "note": "string"}
    if isinstance(schema, dict) and "id" in schema:
        file.write_text(json.dumps(schema | rest))
        output = json.loads(run(source, tmp_path / "whole", "--schema", file, "--json"))
        assert (output["rows"], output["rejected"], output["items"]) == (300, 0, 300)
        assert output["columns"][0] == ["id", "string"]


REFUSED: list[tuple[str, str]] = [
    ("{", "is not JSON"),
    ("{}", "holds no columns"),
    ("[1]", "holds no columns"),
    ("[" * 100_000, "is not JSON"),
    ('{"a":"string","a":"int"}', "comes twice"),
    ('{"a":"string","A":"string"}', "comes twice"),
    ('[{"Name":"a","Type":"int"},{"Name":"a","Type":"int"}]', "comes twice"),
    ('{"\\ud800":"string"}', "is not a column's name"),
    ('{"a\\u0000":"string"}', "is not a column's name"),
    ('{"":"string"}', "is not a column's name"),
    ('{"a":"set<string>"}', "column 'a': Error: type expected"),
    ('{"a":"uniontype<int>"}', "Union type not implemented"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_bad_schema_file(tmp_path: Path, source: Path, text: str, reason: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    assert reason in run(source, tmp_path / "lake", "--schema", file, status=2)


def test_partitions_and_rejected_lines(tmp_path: Path) -> None:
    items = [*map(order, range(50)), {"id": {"S": "x"}, "n": {"S": "text"}}]
    source = write_local_export(tmp_path / "export", items)
    output = run(source, tmp_path / "lake", "--partition-by", "date(day)")
    assert "n: 50 N, 1 S: values of several types are stored as text" in output
    assert (tmp_path / "lake" / "day_date=2026-11-01").is_dir()
    columns = dict.fromkeys(("id", "day", "note", "total"), "string") | {
        "n": "bigint",
        "tags": "array<string>",
    }
    (tmp_path / "schema.json").write_text(json.dumps(columns))
    output = run(source, tmp_path / "strict", "--schema", tmp_path / "schema.json", status=1)
    assert "50 rows of 6 columns" in output
    assert "1 line(s) were rejected." in output


CALLS: list[tuple[Sequence[str], str]] = [
    (["nowhere", "lake"], "it does not exist. Give the export's own folder"),
    (["{source}", "lake", "--partition-by", "hash(id)"], "hash takes a number of buckets"),
    (["{source}", "lake", "--partition-by", "hash(nothing,4)"], "there is no column 'nothing'"),
    (["{source}", "lake", "--partition-by", "tags"], "not a single value"),
    (["{source}", "lake", "--partition-by", "?("], "is not a partition expression"),
]


@pytest.mark.parametrize(("arguments", "reason"), CALLS)
def test_refused_calls(
    tmp_path: Path, source: Path, arguments: Sequence[str], reason: str, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = ["convert-export", *(argument.format(source=source) for argument in arguments)]
    result = CliRunner().invoke(cli, filled)
    assert result.exit_code == 1
    assert reason in str(result.exception)
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    "name", ["file", "file/below", "/proc/nothing/here", "/dev/null/below", "x" * 300]
)
def test_a_destination_that_cannot_be_written(tmp_path: Path, source: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = CliRunner().invoke(cli, ["convert-export", str(source), str(tmp_path / name)])
    assert isinstance(result.exception, PublishError)
    assert "cannot be written" in str(result.exception)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit of the size of files has the same effect: the write fails."""
    items = [{"id": {"S": f"{number}" + "x" * 9_000}} for number in range(100)]
    source = write_local_export(tmp_path / "export", items)
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from ddb_pipeline.cli.main import main; main()"
    )
    command = [sys.executable, "-c", limited, "convert-export", str(source), f"{tmp_path}/lake"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"Error: {tmp_path}/lake cannot be written: ")
    assert not (tmp_path / "lake").exists()


def test_more_attribute_names_than_columns(tmp_path: Path) -> None:
    items = [{f"a{item}_{n}": {"S": "x"} for n in range(500)} for item in range(25)]
    source = write_local_export(tmp_path / "export", items)
    result = CliRunner().invoke(cli, ["convert-export", str(source), str(tmp_path / "lake")])
    assert isinstance(result.exception, TooManyAttributesError)
    assert isinstance(result.exception, DdbPipelineError)


def test_a_source_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = CliRunner().invoke(
        cli, ["convert-export", str(tmp_path / "file"), str(tmp_path / "lake")]
    )
    assert isinstance(result.exception, ExportError)


def test_an_export_copied_without_its_checksums(tmp_path: Path, source: Path) -> None:
    for file in source.glob("*.md5"):
        file.unlink()
    result = CliRunner().invoke(cli, ["convert-export", str(source), str(tmp_path / "lake")])
    assert "--no-checksums" in str(result.exception)
    assert "300 rows" in run(source, tmp_path / "lake", "--no-checksums")
    data = next((source / "data").iterdir())
    data.write_bytes(data.read_bytes() + gzip.compress(b""))
    arguments = ["convert-export", str(source), str(tmp_path / "other"), "--no-checksums"]
    assert "its MD5 is" in str(CliRunner().invoke(cli, arguments).exception)
