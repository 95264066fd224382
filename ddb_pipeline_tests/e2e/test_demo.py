"""``ddb-pipeline demo`` as a user runs it: what is counted, and every value compared."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import connect, stop
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.hive.types import ArrayType, HiveType, StructType, parse_type

pytestmark = [pytest.mark.e2e, pytest.mark.embedded, pytest.mark.timeout(1200)]

ITEMS = 5000


def run_demo(home: Path, *options: str) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("ddb-pipeline")), "demo", "--json", *options]
    environment = {**os.environ, "DDB_PIPELINE_HOME": str(home), "DDB_PIPELINE_TARGET": "embedded"}
    done = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def table_items(home: Path) -> Iterator[Mapping[str, Any]]:
    endpoint = connect(home / "demo" / "embedded")
    dynamodb = boto3.client("dynamodb", **client_arguments(endpoint))
    for page in dynamodb.get_paginator("scan").paginate(TableName="search-logs"):
        yield from page["Items"]


def expected(value: Mapping[str, Any] | None, kind: HiveType) -> Any:
    """What a row holds of an attribute value: exact numbers, sets as sorted arrays."""
    if value is None or "NULL" in value:
        return None
    ((tag, content),) = value.items()
    if isinstance(kind, StructType):
        return {f.name: expected(content.get(f.name), f.type) for f in kind.fields}
    if isinstance(kind, ArrayType):
        element = {"SS": "S", "NS": "N", "BS": "B"}.get(tag)
        inner = [{element: v} for v in content] if element else content
        values = [expected(v, kind.element) for v in inner]
        return sorted(values) if element else values
    if tag == "N":
        return {"bigint": int, "double": float, "string": str}[str(kind)](content)
    return base64.b64encode(content).decode() if tag == "B" else content


def comparable(value: Any, of: Mapping[str, Any] | None) -> Any:
    """A row's value with its sets sorted, as the item's ``of`` says which are sets."""
    if value is None or of is None:
        return value
    ((tag, content),) = of.items()
    if tag in ("SS", "NS", "BS"):
        return sorted(value)
    if tag == "M":
        return {name: comparable(inner, content.get(name)) for name, inner in value.items()}
    if tag == "L":
        return [comparable(v, c) for v, c in zip(value, content, strict=True)]
    return value


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("demo")
    yield home
    stop(home / "demo" / "embedded")


@pytest.fixture(scope="module")
def result(home: Path) -> dict[str, Any]:
    return run_demo(home, "--items", str(ITEMS))


def test_everything_fails_first_and_comes_back(result: dict[str, Any]) -> None:
    assert result["items_written"] == result["rows"] == ITEMS
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["failed_before_fix"] > 0
    assert result["redelivered"] == result["failed_before_fix"]
    assert result["rows"] == result["redelivered"] + result["held"]


def test_the_schema_had_sets_and_has_arrays(result: dict[str, Any]) -> None:
    before, after = result["schema_before"], result["schema_after"]
    assert before["filters"] == "set<string>"
    assert before["clicked_documents"] == "set<bigint>"
    assert "set<" in before["device"]
    assert not any("set<" in text for text in after.values())
    assert after["filters"] == after["refinements"] == "array<string>"
    assert after["clicked_documents"] == "array<bigint>"


def test_the_error_objects_say_why_as_firehose_does(home: Path, result: dict[str, Any]) -> None:
    endpoint = connect(home / "demo" / "embedded")
    s3 = boto3.client("s3", **client_arguments(endpoint))
    listed = s3.list_objects_v2(
        Bucket="search-logs-lake", Prefix="redelivered/errors/format-conversion-failed/"
    )
    records = [
        record
        for entry in listed["Contents"]
        for record in read_error_object(
            s3.get_object(Bucket="search-logs-lake", Key=entry["Key"])["Body"].read()
        ).records
    ]
    assert len(records) == result["failed_before_fix"]
    assert {record.error_code for record in records} == {"DataFormatConversion.InvalidSchema"}
    assert "set" in records[0].error_message
    assert "Error: type expected at the position 0 of" in records[0].error_message


def test_every_value_in_the_parquet_is_the_items(home: Path, result: dict[str, Any]) -> None:
    rows = {
        row["log_id"]: row
        for path in result["parquet_paths"]
        for row in pq.ParquetFile(path).read().to_pylist()
    }
    kinds = {name: parse_type(text) for name, text in result["schema_after"].items()}
    compared = 0
    for item in table_items(home):
        row = rows[item["log_id"]["S"]]
        assert set(item) <= set(kinds)
        for name, kind in kinds.items():
            of = item.get(name)
            assert comparable(row.get(name), of) == expected(of, kind), (name, of)
        compared += 1
    assert compared == len(rows) == ITEMS


def test_numbers_beyond_a_double_are_exact(result: dict[str, Any]) -> None:
    table = pq.ParquetFile(result["parquet_paths"][0]).read()
    documents = {d for row in table["clicked_documents"].to_pylist() for d in row or ()}
    assert all(document > 2**53 for document in documents)
    assert all(Decimal(text) > 10**29 for text in table["index_generation"].drop_null().to_pylist())


def test_with_the_lake_schema_a_recrawl_fails_nothing(tmp_path: Path) -> None:
    try:
        result = run_demo(tmp_path, "--items", "1500", "--delivery-schema", "lake")
    finally:
        stop(tmp_path / "demo" / "embedded")
    assert result["failed_before_fix"] == 0
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["rows"] == 1500
    assert result["recrawled"] is True


def test_no_raw_identifier_is_stored(home: Path, result: dict[str, Any]) -> None:
    stored = "".join(
        path.read_text("utf-8") for path in (home / "demo/embedded/state").glob("*.jsonl")
    )
    assert "log_id" in stored
    assert "@example.com" not in stored
    assert "198.51.100." not in stored
