"""Items that were delivered when a window had begun: which ones, and the place of their deletes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.merge import Horizon, merge
from ddb_pipeline.lake.current.rows import (
    of_full_export,
    of_stream,
    state_schema,
    tombstone_schema,
)
from ddb_pipeline.lake.healed_changes import healed_record
from ddb_pipeline.lake.short_lived import ExportedKeys, deletion, delivered_in, left_in_lake

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
    ("changes", "found"),
    [
        ([], False),
        ([("a", 1, "INSERT")], True),
        ([("a", 1, "INSERT"), ("exported", 2, "MODIFY")], True),
        ([("a", -2, "MODIFY")], True),
        ([("a", -3, "INSERT")], False),
        ([("a", 898, "INSERT")], False),
        ([("a", 1, "INSERT"), ("a", 3, "REMOVE")], False),
        ([("a", 3, "INSERT"), ("a", 1, "REMOVE")], True),
        ([("a", 3, "INSERT"), ("a", 1, "INSERT"), ("b", 2, "REMOVE")], True),
        ([("a", 3, "REMOVE"), ("a", 3, "INSERT")], False),
    ],
)
def test_items_that_were_delivered_and_not_exported(
    changes: list[tuple[str, int, str]], found: bool, tmp_path: Path
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
    paths.append(str(tmp_path / "without.parquet"))
    assert left_in_lake(local, paths, span, exported.sorted()) == ({KEY} if found else set())
    assert left_in_lake(local, paths, span, ExportedKeys().sorted()) >= ({KEY} if found else set())


@pytest.mark.parametrize(("later", "alive"), [(None, False), (899, False), (900, True)])
@pytest.mark.parametrize("full", [False, True])
def test_a_delete_is_newer_than_the_window_and_older_than_what_follows(
    later: int | None, alive: bool, full: bool
) -> None:
    """``later``: when the item was created again; ``full``: a full export within the window."""
    record = healed_record(deletion({"id": {"S": "a"}}, START + 900), "t")
    changes = [
        row("e1", "INSERT", START * 1000, "1"),
        row("healed-1", record.event_name, record.event_time, None),
    ]
    if later is not None:
        changes.append(row("e2", "INSERT", (START + later) * 1000, "2"))
    columns = (Column("id", "string"),)
    incoming = of_stream(pa.Table.from_pylist(changes), columns)
    horizon = Horizon()
    if full:
        moment = (START + 450) * 1_000_000
        item = of_full_export(pa.table({"id": ["a"]}), columns, (KeyAttribute("id", "S"),), moment)
        incoming = pa.concat_tables([item, incoming])
        horizon = Horizon(moment, replaces=True)
    empty = state_schema(columns).empty_table(), tombstone_schema().empty_table()
    assert bool(len(merge(*empty, incoming, horizon).rows)) is alive


def row(event_id: str, name: str, millis: Any, number: str | None) -> dict[str, Any]:
    return {
        "id": "a",
        "ddb_event_id": event_id,
        "ddb_event_name": name,
        "ddb_event_time": millis,
        "ddb_sequence_number": number,
        "ddb_keys": KEY,
    }
