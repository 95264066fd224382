"""Search logs of various types are read as one schema; unusable rows have a reason."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.spark.arguments import LogColumns, RelevanceError
from ddb_pipeline.spark.search_logs import read_logs
from ddb_pipeline.spark.storage import Storage
from ddb_pipeline_tests.support.planted_logs import FIRST_HOUR, SCHEMA, write_hour

DOCUMENT = 2**53 + 1
PLAIN = LogColumns()


def read(session: Any, folder: Path, columns: LogColumns = PLAIN) -> list[dict[str, Any]]:
    files = Storage(session).files(str(folder))
    frame = read_logs(session, files, columns, drop_expired=False)
    return [row.asDict(recursive=True) for row in frame.collect()]


def log(document: Any, position: Any, dwell: Any) -> dict[str, Any]:
    return {
        "log_id": "1",
        "user": "u",
        "query": "  Down  JACKET ",
        "searched_at": 3_600_000 * FIRST_HOUR,
        "results": [{"document": document, "position": position, "score": 0.5}],
        "clicks": [{"document": document, "position": position, "dwell_ms": dwell}],
    }


def schema_with(document: pa.DataType, position: pa.DataType, dwell: pa.DataType) -> pa.Schema:
    result = pa.struct([("document", document), ("position", position)])
    click = pa.struct([("document", document), ("position", position), ("dwell_ms", dwell)])
    fields = {"results": pa.list_(result), "clicks": pa.list_(click)}
    return pa.schema([pa.field(f.name, fields.get(f.name, f.type)) for f in SCHEMA])


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        (schema_with(pa.int64(), pa.int64(), pa.int64()), log(DOCUMENT, 1, 2500)),
        (schema_with(pa.string(), pa.string(), pa.string()), log(str(DOCUMENT), "1", "2500")),
        (
            schema_with(pa.decimal128(38, 2), pa.decimal128(38, 0), pa.float64()),
            log(Decimal(DOCUMENT), Decimal(1), 2500.0),
        ),
    ],
    ids=["numbers", "text", "decimals"],
)
def test_numbers_may_have_any_type(
    session: Any, tmp_path: Path, schema: pa.Schema, row: Any
) -> None:
    write_hour(tmp_path, FIRST_HOUR, [row], schema=schema)
    (found,) = read(session, tmp_path)
    assert found["results"] == [{"document": str(DOCUMENT), "position": 1}]
    assert found["clicks"] == [{"document": str(DOCUMENT), "position": 1, "dwell_ms": 2500.0}]
    assert found["query"] == "down jacket"
    assert (found["problem"], found["counted_hour"]) == (None, FIRST_HOUR)


def test_results_and_clicks_may_be_json_text_or_lists_of_documents(
    session: Any, tmp_path: Path
) -> None:
    row = log(DOCUMENT, 1, 2500)
    row |= {"results": json.dumps(row["results"]), "clicks": json.dumps(row["clicks"])}
    text = pa.schema([pa.field(f.name, pa.string()) for f in SCHEMA])
    write_hour(tmp_path / "json", FIRST_HOUR, [{**row, "searched_at": "x"}], schema=text)
    (found,) = read(session, tmp_path / "json")
    assert found["results"] == [{"document": str(DOCUMENT), "position": 1}]
    lists = {"results": pa.list_(pa.string()), "clicks": pa.list_(pa.string())}
    schema = pa.schema([pa.field(f.name, lists.get(f.name, f.type)) for f in SCHEMA])
    row = {**log(1, 1, 1), "results": ["a", None, "b"], "clicks": ["b"]}
    write_hour(tmp_path / "lists", FIRST_HOUR, [row], schema=schema)
    columns = LogColumns(result_document="", click_document="", result_position="")
    (found,) = read(session, tmp_path / "lists", columns)
    assert found["results"] == [
        {"document": "a", "position": 1},
        {"document": "b", "position": 3},
    ]
    assert found["clicks"] == [{"document": "b", "position": None, "dwell_ms": None}]


def test_types_may_differ_from_file_to_file(session: Any, tmp_path: Path) -> None:
    """As after a column was widened: Spark cannot read these files under one schema."""
    write_hour(tmp_path, FIRST_HOUR, [log(1, 1, 10)], "a")
    text = schema_with(pa.string(), pa.int64(), pa.int64())
    write_hour(tmp_path, FIRST_HOUR, [log("two", 1, 10)], "b", schema=text)
    write_hour(tmp_path, FIRST_HOUR + 1, [log(3, 1, 10)], "c")
    found = {row["results"][0]["document"] for row in read(session, tmp_path)}
    assert found == {"1", "two", "3"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"log_id": None}, "no_log_key"),
        ({"query": " "}, "no_query"),
        ({"query": None}, "no_query"),
        ({"results": None}, "no_results"),
        ({"results": []}, "no_results"),
        ({"results": [{"document": None, "position": 1}]}, "no_results"),
        ({"results": [{"document": 1, "position": 0}]}, "no_results"),
        ({"clicks": None}, None),
        ({"user": None}, None),
    ],
)
def test_an_unusable_row_has_a_problem(
    session: Any, tmp_path: Path, changed: dict[str, Any], problem: str | None
) -> None:
    write_hour(tmp_path, FIRST_HOUR, [{**log(1, 1, 1), **changed}])
    assert [row["problem"] for row in read(session, tmp_path)] == [problem]


def test_the_error_for_a_missing_column_lists_the_columns(session: Any, tmp_path: Path) -> None:
    write_hour(tmp_path, FIRST_HOUR, [log(1, 1, 1)])
    with pytest.raises(RelevanceError, match=r"'phrase'.*--column-query.*log_id.*searched_at"):
        read(session, tmp_path, LogColumns(query="phrase"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (LogColumns(results="query", clicks="searched_at"), "'searched_at' is bigint"),
        (LogColumns(result_document="item"), "without the field 'item'"),
    ],
)
def test_a_column_of_another_type_is_an_error(
    session: Any, tmp_path: Path, columns: LogColumns, message: str
) -> None:
    write_hour(tmp_path, FIRST_HOUR, [log(1, 1, 1)])
    with pytest.raises(RelevanceError, match=message):
        read(session, tmp_path, columns)
