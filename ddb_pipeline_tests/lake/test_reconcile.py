"""Where the changes of the stream are: each is looked for once, and none is lost unnoticed."""

import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.dynamodb.stream import StreamRecord
from ddb_pipeline.firehose.error_objects import FailedRecord, write_error_object
from ddb_pipeline.lake import identity_partitions
from ddb_pipeline.lake.change_identity import identity
from ddb_pipeline.lake.identity_partitions import Expected, Matches, Rows, match
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.reconcile import Reconciliation, Source, reconcile
from ddb_pipeline.lake.reconciliation_state import STATE_KEY, ReconciliationState, read_state
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket
from ddb_pipeline_tests.support.memory_stream import ARN, MemoryShard, MemoryStream, change

START = datetime(2026, 5, 28, 12, tzinfo=timezone.utc).timestamp()
SETTLE = 120.0
HOUR = 3600.0
FATES = ("row", "late", "twice", "failed", "dead", "lost")
FATE_WEIGHTS = (80, 5, 5, 5, 3, 2)


def expected(text: str) -> list[Expected]:
    return [Expected(letter, 1000.0 + n, f"{letter}{n}") for n, letter in enumerate(text)]


def found(text: str) -> list[Rows]:
    return [Rows(letter, 2000.0) for letter in text]


@pytest.mark.parametrize(
    ("case", "changes", "rows", "failed", "dead", "sums"),
    [
        ("no change", "", "", "", "", (0, 0, 0, 0, 0)),
        ("all delivered", "abc", "abc", "", "", (3, 0, 0, 0, 0)),
        ("one failed", "abc", "ab", "c", "", (2, 1, 0, 0, 0)),
        ("one is lost", "abc", "ab", "", "", (2, 0, 0, 1, 0)),
        ("one is a dead letter", "abc", "ab", "", "c2", (2, 0, 1, 0, 0)),
        ("a dead letter that is a failed record too", "a", "", "a", "a0", (0, 1, 0, 0, 0)),
        ("a dead letter that became a row", "a", "a", "", "a0", (1, 0, 0, 0, 0)),
        ("changed twice, delivered once", "aa", "a", "", "", (1, 0, 0, 1, 0)),
        ("delivered twice", "a", "aa", "", "", (1, 0, 0, 0, 1)),
        ("a row that is a failed record too", "a", "a", "a", "", (1, 0, 0, 0, 0)),
        ("others that the stream no longer holds", "a", "abcd", "ef", "g9", (1, 0, 0, 0, 0)),
    ],
)
def test_match(
    case: str, changes: str, rows: str, failed: str, dead: str, sums: tuple[int, ...]
) -> None:
    matches = Matches()
    match(expected(changes), found(rows), found(failed), {dead}, matches)
    assert (
        matches.rows,
        matches.failed,
        matches.dead_lettered,
        matches.lost,
        matches.repeated,
    ) == sums, case
    assert matches.expected == len(changes)
    assert len(matches.missing) == matches.lost


@pytest.mark.parametrize(
    "values",
    [(15, Decimal("15.0"), 15.0), (Decimal("1E+2"), 100), (Decimal("0.10"), 0.1), (0, -0.0)],
)
def test_equal_numbers_have_one_identity(values: tuple[Any, ...]) -> None:
    assert len({identity([value]) for value in values}) == 1


class Lake:
    """A stream and a bucket in memory, and their reconciliation."""

    def __init__(self, folder: Path) -> None:
        self.stream = MemoryStream()
        self.bucket = MemoryBucket(folder / "lake")
        self.columns = ["ddb_event_id"]
        self.delivered: Callable[[StreamRecord], StreamRecord | None] = lambda record: record
        self.now = START
        self.requests: list[str] = []
        self._s3: Any = InterleavedS3(self.bucket, self.requests.append)
        self._filesystem = pyarrow.fs.SubTreeFileSystem(str(folder), pyarrow.fs.LocalFileSystem())
        self._objects = 0

    def change(self, *numbers: int, at: float = 0.0, shard: str = "shard-0", **kind: Any) -> None:
        """Changes that happen ``at`` seconds after the start."""
        records = [change(number, START + at, **kind) for number in numbers]
        self.stream.put(*records, shard=shard)

    def write_rows(self, values: Iterable[Any], at: float) -> str:
        """A Parquet object of Firehose's with these values in the identifying column."""
        self._objects += 1
        key = f"{DeliveryHour.of(START + at).prefix}{self._objects}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({self.columns[0]: list(values)}), sink)
        self.put(key, sink.getvalue().to_pybytes(), at)
        return key

    def rows(self, *numbers: int, at: float) -> str:
        """The rows of these changes, delivered in one Parquet object."""
        return self.write_rows([f"event-{number}" for number in numbers], at)

    def failed(self, *numbers: int, at: float, name: str = "object") -> str:
        """An error object with these changes."""
        records = [
            FailedRecord(
                raw_data=json.dumps({"ddb_event_id": f"event-{number}"}).encode(),
                error_code="c",
                error_message="m",
                arrival_timestamp=int((START + at) * 1000),
            )
            for number in numbers
        ]
        key = f"errors/format-conversion-failed/2026-05-28/{name}"
        self.put(key, write_error_object(records), at)
        return key

    def dead(self, *numbers: int, at: float, day: str = "2026-05-28") -> None:
        """Dead letters of these changes."""
        lines = [json.dumps({"event_id": f"event-{n}", "record": {}}) for n in numbers]
        self.put(f"dead-letters/logs/{day}/x.jsonl", "\n".join(lines).encode(), at)

    def put(self, key: str, body: bytes, at: float) -> None:
        """Write an object at a moment."""
        self.bucket.put(key, body, datetime.fromtimestamp(START + at, tz=timezone.utc))

    def reconcile(self, at: float) -> Reconciliation:
        """Reconcile at a moment; ``requests`` are then its requests."""
        self.now = START + at
        self.requests.clear()
        source = Source(
            self.stream,  # type: ignore[arg-type]
            ARN,
            self._s3,
            self._filesystem,
            LakeRoot("lake"),
            self.columns,
            SETTLE,
            self.delivered,
        )
        return reconcile(source, lambda: self.now)

    @property
    def state(self) -> ReconciliationState:
        """The stored state."""
        return read_state(self._s3, LakeRoot("lake"), ARN)[0]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def sums(result: Reconciliation) -> tuple[int, int, int, int, int]:
    return (result.expected, result.rows, result.failed, result.dead_lettered, result.lost)


def test_each_change_is_in_one_of_the_places(lake: Lake) -> None:
    lake.change(*range(10))
    lake.rows(0, 1, 2, 3, 4, 5, at=60)
    lake.failed(6, 7, at=60)
    lake.dead(8, at=60)
    result = lake.reconcile(at=HOUR)
    assert sums(result) == (10, 6, 2, 1, 1)
    assert result.lost_events == ["event-9"]
    assert not result.balanced


def test_all_of_a_long_stream_is_checked(lake: Lake) -> None:
    lake.change(*range(60_000))
    for start in range(0, 60_000, 20_000):
        lake.rows(*(n for n in range(start, start + 20_000) if n < 50_000), at=60)
    result = lake.reconcile(at=HOUR)
    assert sums(result) == (60_000, 50_000, 0, 0, 10_000)
    assert not result.balanced


def test_each_change_and_each_row_is_read_once(lake: Lake) -> None:
    read: list[int] = []
    lake.reconcile(at=0)
    for number in range(0, 50, 10):
        at = number * 60.0
        lake.change(*range(number, number + 10), at=at)
        lake.rows(*range(number, number + 10), at=at + 30)
        before = lake.stream.records_read
        assert lake.reconcile(at=at + 300).balanced
        read.append(lake.stream.records_read - before)
        assert len(lake.requests) <= 12
    assert read == [10] * 5
    assert len(lake.state.read_objects) <= 1
    assert lake.reconcile(at=50 * 60.0 + HOUR).expected == 0


def test_a_change_that_arrives_late_is_missing_until_then(lake: Lake) -> None:
    lake.change(1, 2)
    lake.rows(1, at=60)
    assert lake.reconcile(at=300).lost == 1
    assert lake.reconcile(at=400).lost_events == ["event-2"]
    lake.rows(2, at=500)
    result = lake.reconcile(at=600)
    assert sums(result) == (0, 1, 0, 0, 0)
    assert result.balanced
    assert lake.state.missing == ()


def test_a_row_that_is_read_before_its_change(lake: Lake) -> None:
    lake.change(1)
    lake.change(2, at=200)
    lake.rows(1, 2, at=230)
    assert sums(lake.reconcile(at=240)) == (1, 1, 0, 0, 0)
    early: object = lake.state.early
    assert early != ()
    assert sums(lake.reconcile(at=400)) == (1, 1, 0, 0, 0)
    assert lake.reconcile(at=700).balanced
    assert lake.state.early == ()


def test_a_record_redelivered_while_the_check_runs_is_found(lake: Lake) -> None:
    lake.change(1)
    key = lake.failed(1, at=60)

    def redelivered(request: str) -> None:
        if request == "list errors/" and key in lake.bucket.bodies:
            lake.rows(1, at=200)
            del lake.bucket.bodies[key]

    lake._s3 = InterleavedS3(lake.bucket, redelivered)
    assert sums(lake.reconcile(at=300)) == (1, 1, 0, 0, 0)


def test_error_objects_count_without_limit(lake: Lake) -> None:
    numbers = range(10_500)
    lake.change(*numbers)
    for number in numbers:
        lake.failed(number, at=60, name=f"object-{number:05}")
    assert sums(lake.reconcile(at=300)) == (10_500, 0, 10_500, 0, 0)


def test_a_failed_record_in_a_line_that_cannot_be_read_is_not_lost(lake: Lake) -> None:
    lake.change(1)
    key = lake.failed(1, at=60)
    lake.put(key, lake.bucket.bodies[key].replace(b'"attemptsMade":1', b'"attemptsMade":"--5"'), 60)
    assert sums(lake.reconcile(at=300)) == (1, 0, 1, 0, 0)


def test_records_that_cannot_be_decoded_are_dead_letters(lake: Lake) -> None:
    lake.stream.put({**change(1, START), "eventName": "NEVER HEARD OF"})
    wrong_time = change(2, START)
    wrong_time["dynamodb"]["ApproximateCreationDateTime"] = 10**15
    lake.stream.put(wrong_time)
    lake.change(3)
    lake.dead(1, at=60, day="1970-01-01")
    lake.rows(2, 3, at=60)
    assert sums(lake.reconcile(at=300)) == (3, 2, 0, 1, 0)


def test_changes_that_are_not_delivered_here_are_not_expected(lake: Lake) -> None:
    lake.delivered = lambda record: None
    lake.change(1)
    assert sums(lake.reconcile(at=300)) == (0, 0, 0, 0, 0)


def test_a_window_that_the_stream_has_forgotten_fails(lake: Lake) -> None:
    lake.change(1)
    lake.rows(1, at=60)
    assert lake.reconcile(at=300).balanced
    lake.change(2, 3, at=400)
    lake.stream.shards["shard-0"].trimmed = 2
    lake.rows(3, at=460)
    result = lake.reconcile(at=25 * HOUR)
    assert not result.balanced
    assert result.gaps == [f"shard shard-0 has lost records after {10**22 + 1}"]
    assert (result.expected, result.lost) == (1, 0)
    assert lake.reconcile(at=25.1 * HOUR).balanced


def test_a_shard_that_is_gone_before_its_end_was_read_fails(lake: Lake) -> None:
    lake.change(1)
    lake.rows(1, at=60)
    assert lake.reconcile(at=300).balanced
    lake.stream.shards = {"shard-1": MemoryShard(parent="shard-0")}
    result = lake.reconcile(at=30 * HOUR)
    assert result.gaps == ["shard shard-0 is gone, of which the end was not read"]
    assert lake.reconcile(at=31 * HOUR).balanced
    assert list(lake.state.shards) == ["shard-1"]


def test_a_stream_without_changes_is_no_gap(lake: Lake) -> None:
    lake.change(1)
    lake.rows(1, at=60)
    assert lake.reconcile(at=300).balanced
    assert lake.reconcile(at=72 * HOUR).balanced


def test_a_check_three_times_a_day_finds_no_gap_in_an_idle_stream(lake: Lake) -> None:
    lake.change(1)
    lake.rows(1, at=60)
    assert lake.reconcile(at=300).balanced
    lake.stream.shards["shard-1"] = MemoryShard()
    for hour in range(8, 80, 8):
        lake.stream.shards["shard-0"].trimmed = int(hour >= 24)
        result = lake.reconcile(at=hour * HOUR)
        assert (result.gaps, result.lost) == ([], 0), hour
        writes = [request for request in lake.requests if request.startswith("put")]
        assert len(writes) <= 2
        assert set(writes) == {f"put {STATE_KEY}"}
    lake.change(2, at=80 * HOUR)
    lake.rows(2, at=80 * HOUR + 60)
    assert sums(lake.reconcile(at=81 * HOUR)) == (1, 1, 0, 0, 0)


def test_shards_that_end_and_their_children(lake: Lake) -> None:
    lake.change(1)
    lake.stream.shards["shard-0"].closed = True
    lake.stream.shards["shard-1"] = MemoryShard(parent="shard-0")
    lake.change(2, shard="shard-1")
    lake.rows(1, 2, at=60)
    assert sums(lake.reconcile(at=300)) == (2, 2, 0, 0, 0)
    del lake.stream.shards["shard-0"]
    lake.change(3, at=400, shard="shard-1")
    assert sums(lake.reconcile(at=700)) == (1, 0, 0, 0, 1)
    assert set(lake.state.shards) == {"shard-1"}


def test_a_day_of_changes_is_reconciled_window_by_window(lake: Lake) -> None:
    for hour in range(20):
        lake.change(hour, at=hour * HOUR)
        if hour != 7:
            lake.rows(hour, at=hour * HOUR + 50)
    result = lake.reconcile(at=20 * HOUR)
    assert sums(result) == (20, 19, 0, 0, 1)
    assert result.lost_events == ["event-7"]


def test_a_change_is_lost_for_good_when_the_stream_forgets_it(lake: Lake) -> None:
    lake.change(1)
    assert lake.reconcile(at=300).lost == 1
    assert lake.reconcile(at=23 * HOUR).lost == 1
    result = lake.reconcile(at=25 * HOUR)
    assert (result.lost, result.forgotten) == (1, 1)
    result = lake.reconcile(at=26 * HOUR)
    assert (result.lost, result.forgotten) == (0, 1)


def test_the_state_of_another_run_is_not_overwritten(lake: Lake) -> None:
    lake.change(1)
    states: list[bytes] = []

    def other_run(request: str) -> None:
        if request == f"put {STATE_KEY}" and not states:
            states.append(ReconciliationState(ARN, until=START + 1).render())
            lake.put(STATE_KEY, states[0], 300)

    lake._s3 = InterleavedS3(lake.bucket, other_run)
    lake.reconcile(at=300)
    assert lake.bucket.bodies[STATE_KEY] == states[0]


def test_a_state_that_cannot_be_read_or_is_another_streams_begins_anew(lake: Lake) -> None:
    for body in (b"{", b"[]", b'{"streamArn":5}', ReconciliationState("other", until=9e9).render()):
        lake.put(STATE_KEY, body, 0)
        lake.stream = MemoryStream()
        lake.change(1)
        assert lake.reconcile(at=300).expected == 1


def pseudonym(record: StreamRecord) -> StreamRecord:
    keys = {"id": {"S": "pseudonym-of-" + record.keys["id"]["S"]}}
    return record._replace(keys=keys, new_image=keys)


def test_changes_identified_by_pseudonymised_keys(lake: Lake) -> None:
    lake.columns = ["id"]
    lake.delivered = pseudonym
    lake.change(1, key="secret-1")
    lake.change(2, key="secret-2")
    lake.write_rows(["pseudonym-of-secret-1"], at=60)
    result = lake.reconcile(at=300)
    assert sums(result) == (2, 1, 0, 0, 1)
    assert result.lost_events == ["event-2"]
    assert b"secret" not in lake.bucket.bodies[STATE_KEY]


def test_a_row_of_an_earlier_change_does_not_stand_for_a_later_one(lake: Lake) -> None:
    lake.columns = ["id"]
    lake.change(1, key="k")
    lake.write_rows(["k"], at=60)
    lake.failed(3, at=10)
    assert lake.reconcile(at=300).balanced
    lake.change(2, key="k", at=400)
    result = lake.reconcile(at=700)
    assert result.lost_events == ["event-2"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_of_arrivals_and_checks_the_lost_changes_are_found(
    lake: Lake, seed: int
) -> None:
    """Changes of some hours arrive early, late, twice, as failed records, or never."""
    choices = random.Random(seed)
    lost: set[str] = set()
    arrivals: list[tuple[float, int, str]] = []
    moments = sorted(choices.uniform(0, 3 * HOUR) for _ in range(200))
    for number, at in enumerate(moments):
        fate = choices.choices(
            ("row", "late", "twice", "failed", "dead", "lost"), (80, 5, 5, 5, 3, 2)
        )
        if fate == ["lost"]:
            lost.add(f"event-{number}")
            continue
        delay = choices.uniform(0, HOUR) if fate == ["late"] else choices.uniform(1, SETTLE - 5)
        place = {"failed": "failed", "dead": "dead"}.get(fate[0], "row")
        arrivals.append((at + delay, number, place))
        if fate == ["twice"]:
            arrivals.append((at + delay + choices.uniform(0, HOUR), number, "row"))
    checks = sorted(choices.uniform(0, 4 * HOUR) for _ in range(30))
    steps: list[tuple[float, str, Any]] = [(at, "change", n) for n, at in enumerate(moments)]
    steps += [(at, place, number) for at, number, place in arrivals]
    steps += [(at, "check", None) for at in checks]
    expected_changes = 0
    for at, step, number in sorted(steps, key=lambda each: each[0]):
        if step == "check":
            expected_changes += lake.reconcile(at=at).expected
        elif step == "change":
            lake.change(number, at=at)
        elif step == "row":
            lake.rows(number, at=at)
        elif step == "failed":
            lake.failed(number, at=at, name=f"{number}")
        else:
            lake.put(
                f"dead-letters/logs/2026-05-28/{number}.jsonl",
                json.dumps({"event_id": f"event-{number}", "record": {}}).encode(),
                at,
            )
    result = lake.reconcile(at=6 * HOUR)
    assert {each.event_id for each in result.missing} == lost
    assert expected_changes + result.expected == len(moments)


def peak_bytes(lake: Lake, numbers: Sequence[int]) -> int:
    """The peak of memory in use while these changes are reconciled."""
    lake.change(*numbers)
    for start in range(0, len(numbers), 1000):
        lake.rows(*numbers[start : start + 1000], at=60)
    tracemalloc.start()
    try:
        assert lake.reconcile(at=300).balanced
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_change_takes_less_memory_than_its_identity(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_partitions, "BUFFERED_LINES", 1000)
    assert peak_bytes(lake, range(32_000)) < 32_000 * sys.getsizeof("0" * 32)
