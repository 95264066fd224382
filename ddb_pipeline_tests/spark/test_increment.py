"""Statistics computed hour by hour equal those of all hours at once, however logs change."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.lake.hour_generations import CURRENT, Generation
from ddb_pipeline.parquet.parts import Part
from ddb_pipeline.spark.arguments import RelevanceArguments
from ddb_pipeline.spark.increment import Increment
from ddb_pipeline.spark.manifest import Manifest
from ddb_pipeline_tests.support.planted_logs import FIRST_HOUR, SCHEMA, Row, hour_folder, write_hour

EVENTS = pa.schema(
    [
        *SCHEMA,
        ("ddb_event_id", pa.string()),
        ("ddb_event_name", pa.string()),
        ("ddb_sequence_number", pa.string()),
        ("ddb_expired", pa.bool_()),
    ]
)
_SEQUENCE = count(10**22)
PART = "part-0000.parquet"


def event(log: str, document: int, *, name: str = "INSERT", **changed: Any) -> Row:
    """Make an event of a log that shows one document; by default the document was clicked."""
    sequence = next(_SEQUENCE)
    removed = name == "REMOVE"
    return {
        "log_id": log,
        "user": None if removed else f"user of {log}",
        "query": None if removed else "chess set",
        "searched_at": 3_600_000 * FIRST_HOUR,
        "results": None if removed else [{"document": document, "position": 1}],
        "clicks": [] if removed else [{"document": document, "position": 1, "dwell_ms": 40_000}],
        "ddb_event_id": f"event {sequence}",
        "ddb_event_name": name,
        "ddb_sequence_number": str(sequence),
        "ddb_expired": False,
        **changed,
    }


class Lake:
    """A folder with the stream's Parquet, and one job's output from it."""

    def __init__(self, session: Any, folder: Path) -> None:
        self.session = session
        self.folder = folder
        self.manifest = Manifest()
        self._versions = (f"v{number}" for number in count())

    def deliver(self, hour: int, rows: list[Row], name: str, schema: pa.Schema = EVENTS) -> None:
        stream = self.folder / "stream"
        write_hour(stream, FIRST_HOUR + hour, rows, name=name, schema=schema)

    def compact(self, hour: int, rows: list[Row], number: int) -> Path:
        """Write a generation of an hour, and one beside it that was never committed."""
        folder = hour_folder(self.folder / "stream-compacted", FIRST_HOUR + hour)
        for name in (f"{number:06d}-current", f"{number:06d}-killed"):
            (folder / name).mkdir(parents=True)
            table = pa.Table.from_pylist(rows, EVENTS)
            pq.write_table(table.slice(0, 1) if "killed" in name else table, folder / name / PART)
        generation = Generation(
            number, f"{number:06d}-current", (Part(PART, len(rows), 1),), (), frozenset(), 0, 0.0
        )
        (folder / CURRENT).write_bytes(generation.render())
        return hour_folder(self.folder / "stream", FIRST_HOUR + hour)

    def arguments(self, output: str, **changed: Any) -> RelevanceArguments:
        compacted = self.folder / "stream-compacted"
        return RelevanceArguments(
            str(self.folder / "stream"), str(self.folder / output), str(compacted), **changed
        )

    def update(self, **changed: Any) -> list[str]:
        """Update the statistics and return the hours that were computed."""
        version = next(self._versions)
        increment = Increment(
            self.session, self.arguments("output", **changed), version, lambda _: None
        )
        self.manifest = increment.update(self.manifest)
        return [h[-2:] for h, e in self.manifest.hours.items() if version in (e.pairs, e.keys)]

    def statistics(self) -> list[Any]:
        increment = Increment(self.session, self.arguments("output"), "", lambda _: None)
        return sorted(map(str, increment.pairs(self.manifest).collect()))

    def from_scratch(self, **changed: Any) -> list[Any]:
        """Compute the statistics of all hours at once."""
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        increment = Increment(
            self.session, self.arguments("scratch", **changed), "all", lambda _: None
        )
        return sorted(map(str, increment.pairs(increment.update(Manifest())).collect()))

    def shown(self) -> dict[int, int]:
        """Count each document's impressions."""
        increment = Increment(self.session, self.arguments("output"), "", lambda _: None)
        found: dict[int, int] = {}
        for row in increment.pairs(self.manifest).collect():
            impressions = sum(cell["impressions"] for cell in row["cells"])
            document = int(row["document"])
            found[document] = found.get(document, 0) + impressions
        return found


@pytest.fixture
def lake(session: Any, tmp_path: Path) -> Lake:
    return Lake(session, tmp_path)


def test_a_new_hour_computes_only_itself(lake: Lake) -> None:
    lake.deliver(0, [event("a", 1), event("b", 1)], "x")
    assert len(lake.update()) == 1
    lake.deliver(1, [event("c", 2)], "x")
    assert len(lake.update()) == 1
    assert lake.shown() == {1: 2, 2: 1}
    assert lake.update() == []


def test_a_compacted_hour_is_read_without_its_raw_files(lake: Lake) -> None:
    repeated = event("a", 1)
    rows = {0: [repeated, event("b", 2)], 1: [event("c", 3), event("a", 4)]}
    lake.deliver(0, [*rows[0], repeated], "part-0")
    lake.deliver(1, rows[1], "part-0")
    lake.update()
    expected = lake.statistics()
    shutil.rmtree(lake.compact(0, rows[0], 1))
    assert lake.update() == [f"{FIRST_HOUR % 24:02}"]
    assert lake.statistics() == expected == lake.from_scratch()
    # A late event, in the next generation; raw files of a compacted hour are not read.
    late = event("d", 5)
    lake.deliver(0, [event("x", 9)], "uncovered")
    lake.compact(0, [*rows[0], late], 2)
    assert lake.update() == [f"{FIRST_HOUR % 24:02}"]
    assert lake.shown() == {2: 1, 3: 1, 4: 1, 5: 1}
    assert lake.update() == []


def test_a_log_counts_in_the_hour_of_its_last_event(lake: Lake) -> None:
    """Repeated deliveries, later clicks and removals, in the same hour and in another."""
    first = [event(log, 1) for log in "abcdef"]
    lake.deliver(0, [*first, first[0], event("g", 9), event("g", 1, name="MODIFY")], "x")
    lake.deliver(0, [first[1]], "delivered-again")
    lake.update()
    assert lake.shown() == {1: 7}
    late = [
        first[2],
        event("d", 2, name="MODIFY"),
        event("e", 0, name="REMOVE"),
        event("h", 3),
    ]
    lake.deliver(1, late, "x")
    assert len(lake.update()) == 2
    assert lake.shown() == {1: 5, 2: 1, 3: 1}
    lake.deliver(2, [event("d", 0, name="REMOVE"), event("e", 4)], "x")
    lake.update()
    assert lake.shown() == {1: 5, 3: 1, 4: 1}
    assert lake.statistics() == lake.from_scratch()


def test_an_hour_may_be_delivered_late_or_removed(lake: Lake) -> None:
    before = event("a", 1)
    lake.deliver(1, [event("a", 2, name="MODIFY"), event("b", 2)], "x")
    lake.update()
    lake.deliver(0, [before, event("c", 1)], "x")
    assert len(lake.update()) == 1
    assert lake.shown() == {1: 1, 2: 2}
    lake.deliver(1, [event("d", 3)], "more")
    assert len(lake.update()) == 1
    assert lake.shown() == {1: 1, 2: 2, 3: 1}
    shutil.rmtree(hour_folder(lake.folder / "stream", FIRST_HOUR + 1))
    assert len(lake.update()) == 1
    assert lake.shown() == {1: 2}


def test_logs_removed_by_time_to_live_count_unless_drop_expired_is_set(lake: Lake) -> None:
    lake.deliver(0, [event("a", 1), event("b", 1)], "x")
    lake.deliver(1, [event("a", 0, name="REMOVE", ddb_expired=True)], "x")
    lake.update()
    assert lake.shown() == {1: 2}
    lake.manifest = Manifest()
    lake.update(drop_expired=True)
    assert lake.shown() == {1: 1}


def test_without_event_columns_the_last_file_name_decides(lake: Lake) -> None:
    plain = SCHEMA
    lake.deliver(0, [event("a", 1), event("b", 1), event("b", 1)], "stream-1-2026-00", plain)
    lake.deliver(0, [event("a", 2)], "stream-1-2026-01", plain)
    lake.deliver(1, [event("b", 3)], "stream-1-2026-02", plain)
    lake.update()
    assert lake.shown() == {2: 1, 3: 1}


def test_logs_of_the_history_count_until_the_stream_has_an_event_of_them(lake: Lake) -> None:
    history = lake.folder / "history"
    rows = [event("a", 1, searched_at=3_600_000 * (FIRST_HOUR - 30)), event("b", 1)]
    write_hour(history, FIRST_HOUR, [*rows, event("c", 1, searched_at=None)], schema=SCHEMA)
    file = next(history.rglob("*.parquet")).rename(history / "snapshot.parquet")
    lake.deliver(0, [event("b", 2, name="MODIFY")], "x")
    lake.update(history=str(history))
    assert lake.shown() == {1: 1, 2: 1}
    assert lake.manifest.hours["history"].counts["no_search_time"] == 1
    lake.deliver(1, [event("a", 0, name="REMOVE")], "x")
    lake.update(history=str(history))
    assert lake.shown() == {2: 1}
    assert lake.statistics() == lake.from_scratch(history=str(history))
    assert file.exists()


def test_hours_before_the_window_do_not_count(lake: Lake) -> None:
    lake.deliver(0, [event("a", 1)], "x")
    lake.deliver(30, [event("b", 2)], "x")
    lake.update(window_days=1)
    assert lake.shown() == {2: 1}


def test_statistics_have_no_more_hashes_of_users_than_the_threshold(lake: Lake) -> None:
    lake.deliver(0, [event(f"log {number}", 1) for number in range(9)], "x")
    lake.update(min_users=3)
    (row,) = (
        Increment(lake.session, lake.arguments("output"), "", print).pairs(lake.manifest).collect()
    )
    assert len(row["users"]) == 3
    assert not any("user of" in str(value) for value in row)


def full_disk(*_: object) -> None:
    raise OSError("the disk is full")


def test_a_failed_run_changes_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver(0, [event("a", 1)], "x")
    lake.update()
    lake.deliver(1, [event("a", 2, name="MODIFY")], "x")
    with monkeypatch.context() as patched:
        patched.setattr(Increment, "compute", full_disk)
        with pytest.raises(OSError, match="disk is full"):
            lake.update()
    assert lake.shown() == {1: 1}
    lake.update()
    assert lake.shown() == {2: 1}
