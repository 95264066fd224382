"""The external sort: order and repeats as an in-memory sort has them, at any memory limit."""

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.parquet import external_sort
from ddb_pipeline.parquet.external_sort import SORT_COLUMNS, ExternalSort

SCHEMA = pa.schema(
    [
        ("value", pa.struct([("n", pa.int64()), ("tags", pa.list_(pa.string()))])),
        (SORT_COLUMNS[0], pa.string()),
        (SORT_COLUMNS[1], pa.string()),
        (SORT_COLUMNS[2], pa.int64()),
    ]
)
Row = tuple[str, str]


def table(rows: Sequence[Row], start: int = 0) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "value": {"n": start + n, "tags": [key] * (n % 3)},
                SORT_COLUMNS[0]: key,
                SORT_COLUMNS[1]: identity,
                SORT_COLUMNS[2]: start + n,
            }
            for n, (key, identity) in enumerate(rows)
        ],
        SCHEMA,
    )


def expected(rows: Sequence[Row]) -> list[int]:
    """The numbers of the rows that stay, in order."""
    last = {row: number for number, row in enumerate(rows)}
    return [last[row] for row in sorted(last, key=lambda r: [part.encode() for part in r])]


def in_order(rows: Sequence[Row], size: int, memory_bytes: int) -> tuple[list[int], int]:
    with ExternalSort(memory_bytes) as sort:
        for start in range(0, len(rows), size):
            sort.add(table(rows[start : start + size], start))
        found: list[dict[str, Any]] = [
            row for part in sort.sorted() for row in part.column("value").to_pylist()
        ]
        return [row["n"] for row in found], sort.repeats


texts = st.text(max_size=4)


@given(
    rows=st.lists(st.tuples(texts, texts), max_size=80),
    size=st.integers(1, 30),
    memory_bytes=st.sampled_from([1, 300, 2_000, 1_000_000]),
)
def test_rows_are_ordered_as_in_memory(rows: list[Row], size: int, memory_bytes: int) -> None:
    found, repeats = in_order(rows, size, memory_bytes)
    assert found == expected(rows)
    assert repeats == len(rows) - len(found)


def test_more_runs_than_are_merged_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_sort, "MAX_RUNS", 3)
    generator = random.Random(5)
    rows = [(f"{generator.randrange(50)}", f"{generator.randrange(9)}") for _ in range(2_000)]
    assert in_order(rows, 40, 2_000)[0] == expected(rows)


@pytest.mark.parametrize("hot", [True, False])
def test_no_range_is_much_larger_than_the_memory(hot: bool) -> None:
    """Also where all rows have one key."""
    generator = random.Random(7)
    rows = [("hot" if hot else f"{generator.random()}", f"{n:09}") for n in range(20_000)]
    generator.shuffle(rows)
    memory = table(rows).nbytes // 16
    with ExternalSort(memory) as sort:
        for start in range(0, len(rows), 500):
            sort.add(table(rows[start : start + 500], start))
        sizes = [part.nbytes for part in sort.sorted()]
    assert len(sizes) > 10
    assert max(sizes) < 2 * memory
