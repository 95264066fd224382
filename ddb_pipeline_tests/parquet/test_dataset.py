"""Files of several schemas as one dataset; filters on its rows and partitions."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.parquet.dataset import (
    PartitionFiles,
    RowFilterError,
    may_match,
    parquet_dataset,
    scanner,
)

LOCAL = pyarrow.fs.LocalFileSystem()
STRUCT, LIST, MAP = pa.struct, pa.list_, pa.map_
NUMBER = STRUCT([("a", pa.int32())])
WIDER = STRUCT([("b", pa.string()), ("a", pa.int64())])


@pytest.mark.parametrize("options", [{}, parquet_write_options()], ids=["arrow", "hive"])
@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        (pa.int32(), 5, pa.int64(), 5),
        (pa.int64(), 2**62 + 1, pa.decimal128(19, 0), Decimal(2**62 + 1)),
        (pa.int32(), 5, pa.decimal128(38, 10), Decimal(5)),
        (pa.decimal128(3, 1), Decimal("1.5"), pa.decimal128(38, 5), Decimal("1.5")),
        (pa.float32(), 1.5, pa.float64(), 1.5),
        (pa.timestamp("us"), datetime(9999, 12, 31), pa.timestamp("us"), datetime(9999, 12, 31)),
        (pa.timestamp("us"), datetime(1, 1, 1), pa.timestamp("us"), datetime(1, 1, 1)),
        (NUMBER, {"a": 1}, WIDER, {"b": None, "a": 1}),
        (LIST(NUMBER), [{"a": 1}, None], LIST(WIDER), [{"b": None, "a": 1}, None]),
        (LIST(LIST(pa.int32())), [[1], []], LIST(LIST(pa.int64())), [[1], []]),
        (MAP(pa.string(), NUMBER), [("k", {"a": 1})], MAP(pa.string(), WIDER), "as map"),
    ],
    ids=str,
)
def test_files_of_older_types_read_with_the_new_ones(
    tmp_path: Path,
    old: pa.DataType,
    value: Any,
    new: pa.DataType,
    expected: Any,
    options: Mapping[str, Any],
) -> None:
    if expected == "as map":
        expected = [("k", {"b": None, "a": 1})]
    pq.write_table(pa.table({"c": pa.array([value, None], old)}), tmp_path / "old", **options)
    pq.write_table(pa.table({"c": pa.array([expected], new)}), tmp_path / "new", **options)
    pq.write_table(pa.table({"other": [1]}), tmp_path / "without", **options)
    schema = pa.schema([("c", new), ("p", pa.string())])
    files = [
        PartitionFiles((str(tmp_path / "old"), str(tmp_path / "new")), {"p": "x"}),
        PartitionFiles((str(tmp_path / "without"),), {"p": "y"}),
    ]
    dataset = parquet_dataset(LOCAL, files, schema)
    table = dataset.to_table()
    assert table.schema.equals(schema)
    assert table["c"].to_pylist() == [expected, None, expected, None]
    assert table["p"].to_pylist() == ["x", "x", "x", "y"]
    assert scanner(dataset, ["p"], [["p", "=", "y"]]).to_table()["p"].to_pylist() == ["y"]
    assert scanner(dataset, None, [["c", "!=", None]]).count_rows() == 2


ROWS = pa.table(
    {
        "n": pa.array([1, 2, None], pa.int64()),
        "money": pa.array([Decimal("1.50"), Decimal(2), None], pa.decimal128(20, 2)),
        "day": pa.array([date(2026, 1, 1), date(2026, 1, 2), None]),
        "at": pa.array([datetime(2026, 1, 1), datetime(2026, 1, 2), None], pa.timestamp("us")),
        "instant": pa.array(
            [datetime(2026, 1, 1, tzinfo=timezone.utc)] * 2 + [None], pa.timestamp("us", "UTC")
        ),
        "text": ["a", "b", None],
    }
)


def matching(tmp_path: Path, filters: Sequence[Any]) -> list[int | None]:
    pq.write_table(ROWS, tmp_path / "rows")
    files = [PartitionFiles((str(tmp_path / "rows"),), {})]
    found = scanner(parquet_dataset(LOCAL, files, ROWS.schema), ["n"], filters).to_table()
    numbers: list[int | None] = found["n"].to_pylist()
    return numbers


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [1, 2, None]),
        ([["n", ">", 1]], [2]),
        ([("n", ">", "1")], [2]),
        ([["n", "in", [1, "2"]]], [1, 2]),
        ([["n", "=", None]], [None]),
        ([["n", "!=", None]], [1, 2]),
        ([["money", "<=", "1.5"]], [1]),
        ([["money", "<", 2]], [1]),
        ([["day", ">=", "2026-01-02"]], [2]),
        ([["day", "=", date(2026, 1, 1)]], [1]),
        ([["at", ">", "2026-01-01 10:00:00"]], [2]),
        ([["instant", "==", "2026-01-01T00:00:00Z"]], [1, 2]),
        ([["text", "not in", ["a"]], ["n", "!=", None]], [2]),
        ([[["n", "=", 1]], [["text", "=", "b"], ["n", "=", 2]]], [1, 2]),
    ],
    ids=str,
)
def test_filters(tmp_path: Path, filters: Sequence[Any], expected: list[int | None]) -> None:
    assert matching(tmp_path, filters) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["n"], "cannot be read"),
        ([["n", "="]], "cannot be read"),
        ([[]], "cannot be read"),
        ([["x", "=", 1]], "no column 'x'. The columns are n, money"),
        ([["n", "~", 1]], "the operators are ="),
        ([["n", "<", None]], "the operators are =, !="),
        ([["n", "=", "one"]], "of type int64"),
        ([["n", "=", 1.5]], "of type int64"),
        ([["n", "in", "12"]], "the value is no list"),
        ([["money", "=", "1.234"]], "data loss"),
        ([["money", "=", "much"]], "of type decimal"),
        ([["text", "=", 9]], "9 is no text"),
    ],
    ids=str,
)
def test_filters_that_do_not_fit(tmp_path: Path, filters: Sequence[Any], message: str) -> None:
    with pytest.raises(RowFilterError, match=message):
        matching(tmp_path, filters)


def test_columns_that_do_not_exist(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "rows")
    files = [PartitionFiles((str(tmp_path / "rows"),), {})]
    with pytest.raises(RowFilterError, match="no column 'x', 'y'"):
        scanner(parquet_dataset(LOCAL, files, ROWS.schema), ["n", "x", "y"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, True),
        ([["day", ">", "2026-01-01"]], True),
        ([["day", ">", "2026-01-02"]], False),
        ([["hour", "=", 3]], True),
        ([["n", "=", 1], ["hour", "=", 4]], False),
        ([[["hour", "=", 4]], [["n", "=", 1]]], True),
        ([[["hour", "=", 4]], [["day", "<", "2026"]]], False),
    ],
    ids=str,
)
def test_partitions_that_filters_exclude(filters: Sequence[Any] | None, expected: bool) -> None:
    keys = pa.schema([("day", pa.string()), ("hour", pa.int32())])
    assert may_match(filters, {"day": "2026-01-02", "hour": "03"}, keys) is expected
