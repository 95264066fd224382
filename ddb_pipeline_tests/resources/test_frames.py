"""Frames of every form through Parquet and back, with each value and, in pandas, each dtype."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.parquet.dataset import PartitionFiles, parquet_dataset
from ddb_pipeline.resources.frames import READERS, FrameError, frame_of, rows_of

BIG = 2**53 + 1
BERLIN = ZoneInfo("Europe/Berlin")
TABLE = pa.table(
    {
        "big": pa.array([BIG, None], pa.int64()),
        "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
        "exact": pa.array([Decimal("1" * 36 + ".10"), None], pa.decimal128(38, 2)),
        "day": pa.array([date(1, 1, 1), None]),
        "at": pa.array([datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
        "nanos": pa.array([1, None], pa.timestamp("ns")),
        "instant": pa.array([datetime(2026, 1, 1, tzinfo=BERLIN), None], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a", None], None], pa.list_(pa.string())),
        "nested": pa.array([[[BIG], [], None], None], pa.list_(pa.list_(pa.int64()))),
        "struct": pa.array([{"a": Decimal("0.5"), "b": [1]}, None]),
        "map": pa.array([[("k", BIG)], None], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"\0\xff", None]),
        "flag": pa.array([True, None]),
        "text": pa.array(["ä\0\U0001f600", None]),
        "large": pa.array(["x", None], pa.large_string()),
        "category": pa.array(["x", None]).dictionary_encode(),
        "time": pa.array([time(1, 2, 3), None], pa.time64("us")),
        "span": pa.array([timedelta(seconds=1), None], pa.duration("us")),
        "nothing": pa.nulls(2),
    }
)


def through_parquet(frame: Any, folder: Path) -> ds.Dataset:
    """The rows of a frame, written and opened again."""
    table = rows_of(frame).read_all()
    path = folder / "rows.parquet"
    pq.write_table(table, path)
    local = pyarrow.fs.LocalFileSystem()
    return parquet_dataset(local, [PartitionFiles((str(path),), {})], table.schema)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda table: table, id="Table"),
        pytest.param(lambda table: table.to_reader(1), id="RecordBatchReader"),
    ],
)
def test_arrow_is_exact(tmp_path: Path, form: Callable[[pa.Table], Any]) -> None:
    dataset = through_parquet(form(TABLE), tmp_path)
    assert frame_of(pa.Table, dataset).equals(TABLE)
    reader = frame_of(pa.RecordBatchReader, dataset)
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.read_all().equals(TABLE)
    assert frame_of(Any, dataset).equals(TABLE)


def test_pandas_reads_every_type_without_loss(tmp_path: Path) -> None:
    frame = frame_of(pd.DataFrame, through_parquet(TABLE, tmp_path))
    assert {type(dtype) for dtype in frame.dtypes} == {pd.ArrowDtype}
    for name in TABLE.column_names:
        assert pa.chunked_array(pa.array(frame[name].array)).to_pylist() == TABLE[name].to_pylist()


FRAME = pd.DataFrame(
    {
        "int64": [BIG, -BIG],
        "Int64": pd.array([BIG, None], dtype="Int64"),
        "int64[pyarrow]": pd.array([BIG, None], dtype="int64[pyarrow]"),
        "uint8": np.array([1, 255], dtype="uint8"),
        "Float64": pd.array([0.1, None], dtype="Float64"),
        "boolean": pd.array([True, None], dtype="boolean"),
        "string": pd.array(["a", None], dtype="string"),
        "str": ["a", None],
        "category": pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True),
        "datetime": np.array(["2026-01-01T00:00:00.123456789", "NaT"], dtype="datetime64[ns]"),
        "zoned": pd.to_datetime(["2026-01-01", "2026-07-01"]).tz_localize("Europe/Berlin"),
        "span": pd.to_timedelta([1, None], unit="s"),
        "decimals": pd.Series([Decimal("1.50"), None], dtype="object"),
        "dates": pd.Series([date(2026, 1, 1), None], dtype="object"),
        "lists": pd.Series([[[1, 2], [BIG]], None], dtype="object"),
        "structs": pd.Series([{"a": [1], "b": "x"}, {"a": None, "b": None}], dtype="object"),
        "arrow lists": pd.array([["a"], None], dtype=pd.ArrowDtype(pa.list_(pa.string()))),
        "arrow decimals": pd.array(
            [Decimal("1.50"), None], dtype=pd.ArrowDtype(pa.decimal128(38, 2))
        ),
        "arrow dates": pd.array([date(2026, 1, 1), None], dtype=pd.ArrowDtype(pa.date32())),
        "arrow structs": pd.array(
            [{"a": BIG}, None], dtype=pd.ArrowDtype(pa.struct([("a", pa.int64())]))
        ),
        "arrow instants": pd.array(
            [datetime(2026, 1, 1, tzinfo=timezone.utc), None],
            dtype=pd.ArrowDtype(pa.timestamp("us", "UTC")),
        ),
    }
)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(2),
        pd.Index(["p", "q"], name="key"),
        pd.Index([3, 1]),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["one", "two"]),
    ],
    ids=["range", "named", "unnamed", "two levels"],
)
def test_pandas_gets_its_dtypes_and_index_back(tmp_path: Path, index: pd.Index) -> None:
    frame = FRAME.set_axis(index)
    found = frame_of(pd.DataFrame, through_parquet(frame, tmp_path))
    pd.testing.assert_frame_equal(found, frame)
    assert found["lists"].iloc[0] == [[1, 2], [BIG]]
    assert found["structs"].iloc[0] == {"a": [1], "b": "x"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([None], ["n"]),
        (["key"], ["n", "key"]),
        ([None, "key"], ["n", "key"]),
        ([None, None], ["n"]),
    ],
)
def test_levels_of_the_index_without_a_name(names: list[str | None], expected: list[str]) -> None:
    index = pd.MultiIndex.from_tuples([(3, "a"), (1, "b")], names=["x", "y"])
    index = index.set_names(names) if len(names) == 2 else pd.Index([3, 1], name=names[0])
    frame = pd.DataFrame({"n": [1, 2]}, index=index)
    assert rows_of(frame, unnamed_index=False).schema.names == expected


def test_a_projection_in_pandas_has_the_index(tmp_path: Path) -> None:
    frame = FRAME.set_axis(pd.Index(["p", "q"], name="key"))
    dataset = through_parquet(frame, tmp_path)
    found = frame_of(pd.DataFrame, dataset, ["arrow lists", "int64"], [["int64", ">", 0]])
    pd.testing.assert_frame_equal(found, frame.loc[["p"], ["arrow lists", "int64"]])
    assert frame_of(pa.Table, dataset, ["int64"]).column_names == ["int64"]


def test_integers_of_numpy_stay_exact_where_another_file_has_none(tmp_path: Path) -> None:
    dataset = through_parquet(pd.DataFrame({"n": [BIG]}), tmp_path)
    pq.write_table(pa.table({"other": [1]}), tmp_path / "other.parquet")
    files = [PartitionFiles((str(tmp_path / "rows.parquet"), str(tmp_path / "other.parquet")), {})]
    both = parquet_dataset(pyarrow.fs.LocalFileSystem(), files, dataset.schema)
    assert frame_of(pd.DataFrame, both)["n"].tolist() == [BIG, pd.NA]


FRAMES = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "d": st.none() | st.decimals(-(10**20), 10**20, places=3),
            "l": st.none() | st.lists(st.none() | st.lists(st.integers(-(2**63), 2**63 - 1))),
            "t": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            "at": st.none() | st.datetimes(),
            "day": st.none() | st.dates(),
        }
    )
)
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("d", pa.decimal128(38, 3)),
        ("l", pa.list_(pa.list_(pa.int64()))),
        ("t", pa.string()),
        ("at", pa.timestamp("us")),
        ("day", pa.date32()),
    ]
)


@settings(max_examples=30)
@given(FRAMES)
def test_any_rows_survive_pandas_and_parquet(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    table = pa.Table.from_pylist(records, SCHEMA)
    folder = tmp_path_factory.mktemp("frames")
    frame = frame_of(pd.DataFrame, through_parquet(table, folder))
    again = frame_of(pd.DataFrame, through_parquet(frame, folder))
    pd.testing.assert_frame_equal(again, frame)
    assert rows_of(again).read_all().cast(SCHEMA).to_pylist() == records


POLARS = ["big", "exact", "day", "at", "tags", "nested", "struct", "bytes", "flag", "text", "span"]


def test_polars(tmp_path: Path) -> None:
    frame = pl.from_arrow(TABLE.select(POLARS))
    assert isinstance(frame, pl.DataFrame)
    for form in (frame, frame.lazy()):
        dataset = through_parquet(form, tmp_path)
        assert frame_of(pl.DataFrame, dataset).equals(frame)
        lazy = frame_of(pl.LazyFrame, dataset, ["big"], [["big", "!=", None]])
        assert isinstance(lazy, pl.LazyFrame)
        assert lazy.collect()["big"].to_list() == [BIG]


def test_duckdb(tmp_path: Path) -> None:
    columns = [*POLARS[:-1], "map"]
    relation = duckdb.connect().from_arrow(TABLE.select(columns))
    dataset = through_parquet(relation, tmp_path)
    found = frame_of(duckdb.DuckDBPyRelation, dataset)
    assert found.fetchall() == relation.fetchall()
    # A relation can be used more than once.
    assert found.filter("big IS NOT NULL").project("big + 1").fetchall() == [(BIG + 1,)]
    assert frame_of(pa.Table, dataset)["nested"].to_pylist() == TABLE["nested"].to_pylist()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([{"a": 1}], "A builtins.list cannot be written as Parquet. Return one of pyarrow.Table"),
        (pd.DataFrame({"a": [1, "x"]}), "pandas.DataFrame has no form in Arrow.*column a"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
    ],
    ids=["list", "mixed column", "repeated name"],
)
def test_objects_that_are_no_tables(frame: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        rows_of(frame)


def test_annotations_that_are_not_supported(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"An input cannot be a builtins\.list.*pandas\.DataFrame"):
        frame_of(list, through_parquet(TABLE, tmp_path))
    assert len(READERS) == 6
