"""Items that were delivered when a window had begun: which ones, and the place of their deletes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.merge import Horizon, merge
from ddb_pipeline.lake.current.rows import of_stream, state_schema, tombstone_schema
from ddb_pipeline.lake.healed_changes import healed_record
from ddb_pipeline.lake.short_lived import ExportedKeys, deletion, delivered_alone, delivered_in

START = 1_780_000_000
KEY = '{"id":"a"}'


def rows(*changes: tuple[str, int, str]) -> pa.Table:
    """Rows of changes: key, seconds after the window's start, event."""
    return pa.table(
        {
            "ddb_keys": [f'{{"id":"{key}"}}' for key, _, _ in changes],
            "ddb_event_time": pa.array([(START + at) * 1000 for _, at, _ in changes], pa.int64()),
            "ddb_event_name": [event for _, _, event in changes],
        }
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], {}),
        ([("a", 1, "INSERT")], {KEY: 1}),
        ([("a", 1, "INSERT"), ("exported", 2, "MODIFY")], {KEY: 1}),
        ([("a", -2, "MODIFY")], {KEY: -2}),
        ([("a", -3, "INSERT")], {}),
        ([("a", 898, "INSERT")], {}),
        ([("a", 1, "INSERT"), ("a", 3, "REMOVE")], {}),
        ([("a", 3, "INSERT"), ("a", 1, "REMOVE")], {KEY: 3}),
        ([("a", 3, "INSERT"), ("a", 1, "INSERT"), ("b", 2, "REMOVE")], {KEY: 3}),
        ([("a", 3, "REMOVE"), ("a", 3, "INSERT")], {}),
    ],
)
def test_items_that_were_delivered_and_not_exported(
    changes: list[tuple[str, int, str]], expected: dict[str, int], tmp_path: Path
) -> None:
    local, span = pyarrow.fs.LocalFileSystem(), delivered_in((START, START + 900))
    paths = []
    for number, change in enumerate(changes):
        paths.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(rows(change), paths[-1])
    pq.write_table(pa.table({"other": [1]}), tmp_path / "without.parquet")
    exported = ExportedKeys()
    for key in ("x", "exported", "y"):
        exported.add(f'{{"id":"{key}"}}')
    found = delivered_alone(
        local, [*paths, str(tmp_path / "without.parquet")], span, exported.sorted()
    )
    assert found == {key: (START + at) * 1_000_000 for key, at in expected.items()}
    alone = delivered_alone(local, paths, span, ExportedKeys().sorted())
    assert set(found) <= set(alone)


@pytest.mark.parametrize(("later", "alive"), [(0, False), (1, True)])
def test_a_delete_is_newer_than_the_last_change_and_older_than_the_next(
    later: int, alive: bool
) -> None:
    """``later``: seconds from the change until the item was created again, delivered afterwards."""
    record = healed_record(deletion({"id": {"S": "a"}}, START * 1_000_000), "t")
    table = pa.Table.from_pylist(
        [
            row("e1", "INSERT", START * 1000, "1"),
            row("healed-1", record.event_name, record.event_time, None),
            *([row("e2", "INSERT", (START + later) * 1000, "2")] if later else []),
        ]
    )
    columns = (Column("id", "string"),)
    incoming = of_stream(table, columns)
    empty = state_schema(columns).empty_table(), tombstone_schema().empty_table()
    assert bool(len(merge(*empty, incoming, Horizon()).rows)) is alive


def row(event_id: str, name: str, millis: Any, number: str | None) -> dict[str, Any]:
    return {
        "id": "a",
        "ddb_event_id": event_id,
        "ddb_event_name": name,
        "ddb_event_time": millis,
        "ddb_sequence_number": number,
        "ddb_keys": KEY,
    }
