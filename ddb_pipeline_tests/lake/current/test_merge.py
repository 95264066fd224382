"""The order of changes, as a table of cases. Histories of any length are in ``test_histories``."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.merge import Horizon, Merged, merge
from ddb_pipeline.lake.current.rows import (
    FULL_EXPORT,
    INCREMENTAL_EXPORT,
    STREAM,
    ChangeRowError,
    incoming_schema,
    of_incremental_export,
    of_stream,
    state_schema,
    tombstone_schema,
)

Row = dict[str, Any]
COLUMNS = (Column("v", "string"),)
SECOND = 1_000_000
NO_ROWS = state_schema(COLUMNS).empty_table()
NO_TOMBSTONES = tombstone_schema().empty_table()


def stream(value: str | None, second: int, number: str, key: str = "a") -> Row:
    return row(key, value, second * SECOND, STREAM, number)


def export(value: str | None, micros: int, key: str = "a") -> Row:
    return row(key, value, micros, INCREMENTAL_EXPORT, None)


def item(value: str, micros: int, key: str = "a") -> Row:
    return row(key, value, micros, FULL_EXPORT, None)


def row(key: str, value: str | None, micros: int, source: str, number: str | None) -> Row:
    return {
        "v": value,
        "ddb_keys": f'{{"id":"{key}"}}',
        "ddb_updated_at": micros,
        "ddb_source": source,
        "ddb_sequence_number": number,
        "ddb_removed": value is None,
    }


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), incoming_schema(COLUMNS))


def merged(rows: Sequence[Row], horizon: Horizon, before: Merged | None = None) -> Merged:
    state = before.rows if before else NO_ROWS
    return merge(state, before.tombstones if before else NO_TOMBSTONES, table(rows), horizon)


BASE = Horizon(snapshot=100 * SECOND)

ORDERS: list[tuple[str, list[Row], str | None]] = [
    ("sequence numbers are integers", [stream("9", 200, "9"), stream("10", 200, "10")], "10"),
    (
        "of up to 40 digits",
        [stream("old", 200, "1" + "0" * 38 + "9"), stream("new", 200, "1" + "0" * 37 + "10")],
        "new",
    ),
    (
        "the first digits decide",
        [stream("old", 200, "1" + "9" * 25), stream("new", 200, "2" + "0" * 25)],
        "new",
    ),
    ("leading zeros", [stream("old", 200, "0009"), stream("new", 200, "10")], "new"),
    ("before the time", [stream("new", 200, "2"), stream("old", 201, "1")], "new"),
    (
        "exports by write time",
        [export("old", 200 * SECOND + 1), export("new", 200 * SECOND + 2)],
        "new",
    ),
    (
        "an export's write in the second of a record",
        [stream("old", 200, "1"), export("new", 200 * SECOND + 300_000)],
        "new",
    ),
    ("at the record's second", [stream("old", 200, "1"), export("new", 200 * SECOND)], "new"),
    (
        "a record of the second after an export's write",
        [export("old", 200 * SECOND + 999_999), stream("new", 201, "1")],
        "new",
    ),
    ("a delete", [stream("old", 200, "1"), stream(None, 200, "2")], None),
    ("created again", [stream(None, 200, "1"), stream("new", 200, "2")], "new"),
    ("created again, by exports", [export(None, 200 * SECOND), export("n", 201 * SECOND)], "n"),
    ("a late change of a deleted item", [export(None, 300 * SECOND), stream("x", 299, "7")], None),
    (
        "of three kinds",
        [stream("a", 200, "5"), export("b", 201 * SECOND), stream("c", 202, "6")],
        "c",
    ),
]


@pytest.mark.parametrize(("name", "rows", "expected"), ORDERS, ids=[case[0] for case in ORDERS])
def test_the_newest_change_wins_in_any_order(
    name: str, rows: list[Row], expected: str | None
) -> None:
    for order in permutations([*rows, rows[0]]):
        together = merged(order, BASE)
        one_by_one: Merged | None = None
        for one in order:
            one_by_one = merged([one], BASE, one_by_one)
        assert one_by_one is not None
        for found in (together, one_by_one):
            values = found.rows.column("v").to_pylist()
            assert values == ([] if expected is None else [expected]), name
            assert len(found.tombstones) == (expected is None)
        again = merged(order, BASE, one_by_one)
        assert not again.rows_changed
        assert not again.tombstones_changed


@pytest.mark.parametrize(
    ("change", "slack", "expected"),
    [
        (stream("c", 99, "1"), 0, "item"),
        (stream("c", 99, "1"), 5, "c"),
        (stream("c", 94, "1"), 5, "item"),
        (stream("c", 95, "1"), 5, "c"),
        (stream("c", 100, "1"), 0, "c"),
        (export("c", 100 * SECOND - 1), 0, "item"),
        (export("c", 100 * SECOND), 0, "c"),
        (export("c", 95 * SECOND), 5, "c"),
        (stream(None, 100, "1"), 0, None),
        (stream(None, 94, "1"), 5, "item"),
    ],
)
def test_a_full_export_lies_at_its_time_minus_the_slack(
    change: Row, slack: int, expected: str | None
) -> None:
    position = (100 - slack) * SECOND
    replacing, later = Horizon(position, replaces=True), Horizon(position)
    first = merged([change], Horizon())
    ways = [
        merged([item("item", 100 * SECOND), change], replacing),
        merged([item("item", 100 * SECOND)], replacing, first),
        merged([change], later, merged([item("item", 100 * SECOND)], replacing)),
    ]
    for found in ways:
        assert found.rows.column("v").to_pylist() == ([] if expected is None else [expected])


def test_a_full_export_replaces_what_is_older() -> None:
    before = merged([item("old", 10, "a"), item("gone", 10, "b")], Horizon(10, replaces=True))
    before = merged([stream("s", 50, "1", "c"), stream(None, 50, "2", "d")], Horizon(10), before)
    after = merged(
        [item("new", 100 * SECOND, "a"), item("back", 100 * SECOND, "d")],
        Horizon(100 * SECOND, replaces=True),
        before,
    )
    assert sorted(after.rows.column("v").to_pylist()) == ["back", "new"]
    assert not len(after.tombstones)
    # What is older than the full export is in it, whichever key it is of.
    late = merged([stream("s", 50, "1", "c")], Horizon(100 * SECOND), after)
    assert not late.rows_changed
    assert late.superseded == 1


def test_a_full_export_replaces_one_that_is_hardly_older() -> None:
    before = merged([item("gone", 98 * SECOND)], Horizon(98 * SECOND, replaces=True))
    after = merged([], Horizon(95 * SECOND, replaces=True), before)
    assert not len(after.rows)


def test_counts() -> None:
    before = merged(
        [item(key, 100 * SECOND, key) for key in "abc"], Horizon(100 * SECOND, replaces=True)
    )
    after = merged(
        [
            export("A", 200 * SECOND, "a"),
            export("older", 199 * SECOND, "a"),
            export(None, 200 * SECOND, "b"),
            export(None, 200 * SECOND, "never there"),
            export("new", 200 * SECOND, "n"),
        ],
        BASE,
        before,
    )
    assert (after.inserted, after.updated, after.deleted) == (1, 1, 1)
    assert (after.superseded, after.too_late) == (1, 0)
    assert len(after.tombstones) == 2


def test_a_change_from_before_the_remembered_deletes_is_not_applied_to_an_unknown_key() -> None:
    horizon = Horizon(100 * SECOND, tombstones=500 * SECOND)
    before = merged([export("a", 300 * SECOND), export(None, 600 * SECOND, "b")], BASE)
    after = merged(
        [
            export("late", 400 * SECOND, "unknown"),
            export("known", 400 * SECOND),
            export("deleted", 400 * SECOND, "b"),
            export(None, 400 * SECOND, "unknown too"),
        ],
        horizon,
        before,
    )
    assert after.rows.column("v").to_pylist() == ["known"]
    assert after.too_late == 1
    forgotten = merged([], Horizon(100 * SECOND, tombstones=601 * SECOND), after)
    assert not len(forgotten.tombstones)
    assert forgotten.tombstones_changed
    assert not forgotten.rows_changed


def test_stream_rows_as_they_are_landed() -> None:
    landed = pa.table(
        {
            "v": ["x", None],
            "ddb_event_name": ["INSERT", "REMOVE"],
            "ddb_sequence_number": ["7", "8"],
            "ddb_event_time": pa.array([200, 200_123], pa.int64()),
            "ddb_keys": ['{"id":1.0}', '{"id":2}'],
            "delivery_hour": ["1", "1"],
        }
    )
    found = of_stream(landed, COLUMNS)
    assert found.schema == incoming_schema(COLUMNS)
    assert found.column("ddb_keys").to_pylist() == ['{"id":1}', '{"id":2}']
    assert found.column("ddb_removed").to_pylist() == [False, True]
    milliseconds = landed.set_column(
        3, "ddb_event_time", pa.array([1_780_000_000, 1_780_000_000_123], pa.int64())
    )
    times = of_stream(milliseconds, COLUMNS).column("ddb_updated_at").cast(pa.int64())
    assert times.to_pylist() == [1_780_000_000_000_000, 1_780_000_000_123_000]


def test_stream_rows_that_healed_a_gap_are_changes_of_an_export() -> None:
    landed = pa.table(
        {
            "v": ["x", None, "z"],
            "ddb_event_id": ["healed-1", "healed-2", "e3"],
            "ddb_event_name": ["INSERT", "REMOVE", "MODIFY"],
            "ddb_sequence_number": [None, None, "9"],
            "ddb_event_time": pa.array([1_780_000_000_123] * 3).cast(pa.timestamp("ms")),
            "ddb_keys": ['{"id":1}', '{"id":2}', '{"id":3}'],
        }
    )
    found = of_stream(landed, COLUMNS)
    assert found.column("ddb_source").to_pylist() == [INCREMENTAL_EXPORT] * 2 + [STREAM]
    assert found.column("ddb_sequence_number").to_pylist() == [None, None, "9"]
    assert (
        found.column("ddb_updated_at").cast(pa.int64()).to_pylist() == [1_780_000_000_123_000] * 3
    )
    healed = landed.slice(0, 2).drop_columns(["ddb_sequence_number"])
    assert of_stream(healed, COLUMNS).column("ddb_removed").to_pylist() == [False, True]
    with pytest.raises(ChangeRowError, match="ddb_sequence_number"):
        of_stream(landed.drop_columns(["ddb_event_id"]), COLUMNS)


@pytest.mark.parametrize("missing", ["ddb_keys", "ddb_sequence_number", "ddb_event_time"])
def test_a_change_without_a_place_in_the_order_is_refused(missing: str) -> None:
    landed = {
        "ddb_event_name": ["INSERT"],
        "ddb_sequence_number": ["7"],
        "ddb_event_time": pa.array([200], pa.int64()),
        "ddb_keys": ['{"id":1}'],
    }
    without = {name: values for name, values in landed.items() if name != missing}
    for found in (pa.table(without), pa.table({**without, missing: [None]})):
        with pytest.raises(ChangeRowError, match=missing):
            of_stream(found, COLUMNS)
    with pytest.raises(ChangeRowError, match="ddb_write_time"):
        of_incremental_export(pa.table(landed), COLUMNS)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"v": ["x"], "extra": [1]}, "'extra'"),
        ({"v": [[1]]}, "'v'.*list"),
    ],
)
def test_rows_of_other_columns_are_refused(found: dict[str, Any], reason: str) -> None:
    metadata = {
        "ddb_event_name": ["INSERT"],
        "ddb_sequence_number": ["7"],
        "ddb_event_time": pa.array([200], pa.int64()),
        "ddb_keys": ['{"id":1}'],
    }
    kind = (Column("v", "bigint"),)
    with pytest.raises(ChangeRowError, match=reason):
        of_stream(pa.table({**found, **metadata}), kind)
