"""Partition directories of a dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest

from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.parquet.partition_by import (
    PartitionBy,
    PartitionError,
    parse_partition_by,
    partitions,
)
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline_tests.support.exports import (
    converted,
    order,
    rows_of,
    write_local_export,
)


@pytest.mark.parametrize(
    ("by", "directories"),
    [
        (PartitionBy("hash", "id", 4), {f"id_bucket={number}" for number in range(4)}),
        (PartitionBy("date", "day"), {f"day_date=2026-11-{d:02d}" for d in range(1, 29)}),
        (PartitionBy("", "note"), {"note=café", "note=__HIVE_DEFAULT_PARTITION__"}),
    ],
)
def test_partitions(tmp_path: Path, by: PartitionBy, directories: set[str]) -> None:
    source = write_local_export(tmp_path, map(order, range(300)))
    result = converted(source, tmp_path / "lake", options=PartOptions(partition_by=by))
    assert {part.path.partition("/")[0] for part in result.parts} == directories
    rows = rows_of(tmp_path / "lake")
    assert [row["n"] for row in rows] == list(range(300))
    assert rows[3]["note"] == "café"


TEXTS = (
    *(
        "plain",
        "a b",
        "..",
        ".",
        "a/b",
        "a=b",
        "100%",
        "%41",
        "{[^]}",
        "q'\"?",
        "#*:\\",
        "\x01\x7f",
    ),
    *("café", "東京", "🗼", "+", "&", "1", "01", "true"),
)


def test_partition_values_are_read_as_they_were(tmp_path: Path) -> None:
    items: list[dict[str, dict[str, Any]]] = [
        {"id": {"S": str(n)}, "note": {"S": text}} for n, text in enumerate(TEXTS)
    ]
    items.append({"id": {"S": "null"}, "note": {"NULL": True}})
    source = write_local_export(tmp_path, items)
    result = converted(
        source, tmp_path / "lake", options=PartOptions(partition_by=PartitionBy("", "note"))
    )
    assert (result.rows, result.rejected) == (len(TEXTS) + 1, 0)
    partitioning = pyarrow.dataset.partitioning(
        pa.schema([("note", pa.string())]), flavor="hive", dictionaries=None
    )
    table = pyarrow.dataset.dataset(tmp_path / "lake", partitioning=partitioning).to_table()
    assert sorted(filter(None, table["note"].to_pylist())) == sorted(TEXTS)
    by_id = dict(zip(table["id"].to_pylist(), table["note"].to_pylist(), strict=True))
    assert by_id == {**{str(n): text for n, text in enumerate(TEXTS)}, "null": None}


@pytest.mark.parametrize("text", ["", "__HIVE_DEFAULT_PARTITION__", "x" * 300, "é" * 130])
@pytest.mark.parametrize("exact", [False, True])
def test_a_value_that_cannot_name_a_directory_rejects_its_line(text: str, exact: bool) -> None:
    schema = pa.schema([("id", pa.string()), ("note", pa.string())])
    by = parse_partition_by("note", schema)
    reader = ExportReader([("id", "string"), ("note", "string")], by)
    blank = " " if exact else ""
    items = [{"id": {"S": "1"}, "note": {"S": text}}, {"id": {"S": "2"}, "note": {"S": "a"}}]
    items += [{"id": {"S": "3"}}]
    lines = [(json.dumps({"Item": item}) + blank).encode() for item in items]
    rows = reader.rows(b"\n".join(lines))
    assert sorted(rows.table["id"].to_pylist()) == ["2", "3"]
    [rejected] = rows.rejected
    assert (rejected.line, rejected.path) == (lines[0], "note")
    assert "cannot be named" in rejected.reason


@pytest.mark.parametrize(
    ("number", "day"),
    [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (10**11, "5138-11-16"),
        (10**12, "2001-09-09"),
        (253_402_300_799_999, "9999-12-31"),
        (253_402_300_800_000, "__HIVE_DEFAULT_PARTITION__"),
        (2**63 - 1, "__HIVE_DEFAULT_PARTITION__"),
        (-(2**63), "__HIVE_DEFAULT_PARTITION__"),
    ],
)
def test_the_date_of_a_number(number: int, day: str) -> None:
    table = pa.table({"id": ["1"], "at": pa.array([number], pa.int64())})
    [(directory, rows)] = partitions(table, parse_partition_by("date(at)", table.schema))
    assert (directory, len(rows)) == (f"at_date={day}", 1)


def test_binary_has_no_directory() -> None:
    schema = pa.schema([("id", pa.string()), ("raw", pa.binary())])
    for expression in ("raw", "hash(raw,4)"):
        with pytest.raises(PartitionError, match="not a single value with a text"):
            parse_partition_by(expression, schema)
