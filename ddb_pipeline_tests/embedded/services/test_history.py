"""The history of changes: net changes equal a model's, across kills at any place."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.embedded.journal import Journal
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline_tests.support.table_history import TableHistory

SCOPE = ("000000000000", "eu-west-1", "orders")
TABLE = {"TableId": "t1", "TableName": "orders", "ItemCount": 0}
HOUR = 3_600_000_000


class Clock:
    """Seconds of the epoch; each look at it takes some time."""

    def __init__(self, rng: random.Random, start: float = 1_790_000_000.0) -> None:
        self._rng = rng
        self.now = start

    def __call__(self) -> float:
        self.now += self._rng.random() * 600
        return self.now


def save(history: ChangeHistory, journal: Journal) -> None:
    history.write()
    journal.append(history.changes())


def reopened(folder: Path, clock: Clock) -> tuple[ChangeHistory, Journal]:
    journal = Journal(folder)
    history = ChangeHistory(folder / "history", clock)
    history.restore(journal.read())
    return history, journal


@pytest.mark.parametrize("seed", range(30))
def test_net_changes_are_the_models(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock(rng)
    history, journal = reopened(tmp_path, clock)
    history.begin(TABLE)
    save(history, journal)
    model = TableHistory(("id",))
    items: dict[str, Any] = {}
    for _ in range(rng.randrange(20, 300)):
        key = f"k{rng.randrange(8)}"
        old = items.get(key)
        new = {"id": {"S": key}, "n": {"N": str(rng.randrange(3))}} if rng.random() < 0.6 else None
        history.note(SCOPE, "other", (key, ""), None, {"id": {"S": "not this table's"}})
        history.note(SCOPE, "t1", (key, ""), old, new)
        micros = int(clock.now * 1e6)
        if rng.random() < 0.1:
            # A kill before anything of it is acknowledged.
            if rng.random() < 0.5:
                history.write()
            history, journal = reopened(tmp_path, clock)
            continue
        save(history, journal)
        if old == new:
            continue
        if new is None:
            del items[key]
            model.delete(micros, {"id": {"S": key}})
        else:
            items[key] = new
            model.put(micros, new)
    times = [micros for micros, _, _ in model.writes]
    for _ in range(20):
        start = rng.randrange(times[0] - HOUR, times[-1] + 1)
        end = start + rng.randrange(1, 24 * HOUR)
        found = history.net_changes("t1", ["id"], start, end)
        expected = list(model.changes(start, end))
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert history.since("t1") == 0
    assert history.since("t2") is None


def lines(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "history").glob("*.jsonl")):
        yield from path.read_text().splitlines()


def test_a_half_line_and_what_was_not_acknowledged_is_removed(tmp_path: Path) -> None:
    clock = Clock(random.Random(1))
    history, journal = reopened(tmp_path, clock)
    for number in range(3):
        history.note(SCOPE, "t1", (f"k{number}", ""), None, {"id": {"S": f"k{number}"}})
        save(history, journal)
    history.note(SCOPE, "t1", ("lost", ""), None, {"id": {"S": "lost"}})
    history.write()
    newest = max((tmp_path / "history").glob("*.jsonl"))
    newest.write_bytes(newest.read_bytes() + b'[4,5,"half')
    history, _ = reopened(tmp_path, clock)
    assert len(list(lines(tmp_path))) == 3
    found = history.net_changes("t1", ["id"], 0, history.now())
    assert [change.keys["id"]["S"] for change in found] == ["k0", "k1", "k2"]


def test_days_past_the_recovery_period_are_removed(tmp_path: Path) -> None:
    clock = Clock(random.Random(1))
    history, journal = reopened(tmp_path, clock)
    for day in range(40):
        history.note(SCOPE, "t1", ("k", ""), None, {"id": {"S": str(day)}})
        save(history, journal)
        clock.now += 86_400
        history.forget_old()
    assert len(list(lines(tmp_path))) in (36, 37)


def test_a_table_with_items_has_no_history_of_the_time_before(tmp_path: Path) -> None:
    history, journal = reopened(tmp_path, Clock(random.Random(1)))
    history.begin({**TABLE, "ItemCount": 5})
    since = history.since("t1")
    assert since
    save(history, journal)
    history, journal = reopened(tmp_path, Clock(random.Random(2)))
    assert history.since("t1") == since
    history.end(TABLE)
    save(history, journal)
    assert reopened(tmp_path, Clock(random.Random(3)))[0].since("t1") is None
