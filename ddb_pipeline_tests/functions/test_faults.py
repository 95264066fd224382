"""A shard is read to its end under faults: nothing is lost, duplicates only where unavoidable.

The event source mapping, Firehose and S3 are stubs with seeded faults; time is virtual. A fake
because no emulator throttles, times out or kills a function on demand. FAULT_RECORDS sets the
number of records of the all-at-once case, 100,000 by default; the others have a tenth.
"""

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from ddb_pipeline.firehose.delivery import DeliveryRefusedError, deliver
from ddb_pipeline.functions import batch
from ddb_pipeline_tests.support.stream_events import (
    FIRST,
    OVERSIZED,
    S3,
    UNDECODABLE,
    Function,
    rules_of,
    stream_record,
)

RECORDS = int(os.environ.get("FAULT_RECORDS", "100000"))
BATCH = 500
INVOCATION_SECONDS = 10.0
CALL_SECONDS = 0.05
MAX_INVOCATIONS = 50


class KilledError(BaseException):
    """The process ends without an error, as at the function's time-out."""


@dataclass(frozen=True)
class Faults:
    """Chances, each between 0 and 1.

    Attributes:
        throttled: a call is refused as a whole.
        unavailable: a call fails with ServiceUnavailableException.
        unreachable: the connection breaks before the call.
        entry_failed: an entry of a call fails.
        response_lost: Firehose takes the records, but its response never arrives.
        killed: the process ends after Firehose took the records.
        denied: the delivery stream refuses for good.
        slow: a call takes all of the invocation's remaining time.
        letter_refused: S3 does not take the dead letters.
        undeliverable: a record is oversized or undecodable.
    """

    throttled: float = 0.0
    unavailable: float = 0.0
    unreachable: float = 0.0
    entry_failed: float = 0.0
    response_lost: float = 0.0
    killed: float = 0.0
    denied: float = 0.0
    slow: float = 0.0
    letter_refused: float = 0.0
    undeliverable: float = 0.0


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FaultyFirehose:
    faults: Faults
    draw: random.Random
    clock: Clock
    accepted: list[bytes] = field(default_factory=list)
    calls: int = 0

    def put_record_batch(self, *, DeliveryStreamName: str, Records: Any) -> dict[str, Any]:
        self.calls += 1
        self.clock.now += CALL_SECONDS
        faults = self.faults
        if self._happens(faults.throttled):
            raise _error("ThrottlingException")
        if self._happens(faults.unavailable):
            raise _error("ServiceUnavailableException")
        if self._happens(faults.denied):
            raise _error("AccessDeniedException")
        if self._happens(faults.unreachable):
            raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")
        if self._happens(faults.slow):
            self.clock.now += INVOCATION_SECONDS
        entries = [self._entry(record["Data"]) for record in Records]
        if self._happens(faults.response_lost):
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")
        if self._happens(faults.killed):
            raise KilledError
        return {
            "FailedPutCount": sum("ErrorCode" in entry for entry in entries),
            "RequestResponses": entries,
        }

    def _entry(self, record: bytes) -> dict[str, str]:
        if self._happens(self.faults.entry_failed):
            return {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        self.accepted.append(record)
        return {"RecordId": "r"}

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.draw.random() < chance

    def event_ids(self) -> list[str]:
        """Event ids of all documents that arrived, in the order of their arrival."""
        lines = (line for record in self.accepted for line in record.splitlines())
        start = len(b'{"ddb_event_id":"')
        return [line[start : line.index(b'"', start)].decode() for line in lines]


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutRecordBatch")


def shard_of(count: int, faults: Faults, draw: random.Random) -> list[dict[str, Any]]:
    records = []
    for number in range(count):
        image = None
        if draw.random() < faults.undeliverable:
            image = UNDECODABLE if draw.random() < 0.9 else OVERSIZED
        records.append(stream_record(number, image))
    return records


def read_to_the_end(
    function: Function, records: Sequence[Any], clock: Clock, draw: random.Random
) -> int:
    """Invoke as an event source mapping with ReportBatchItemFailures; returns the invocations.

    A batch whose function ends in an error or not at all is sent again whole, one that names a
    sequence number again from there.
    """
    start = invocations = 0
    while start < len(records):
        invocations += 1
        assert invocations < MAX_INVOCATIONS * (1 + len(records) // BATCH), "no progress"
        chunk = records[start : start + draw.randrange(1, BATCH + 1)]
        try:
            failed = function(chunk, clock.now + INVOCATION_SECONDS)
        except (KilledError, DeliveryRefusedError):
            continue
        start = int(failed) - FIRST if failed else start + len(chunk)
    return invocations


CASES = {
    "nothing fails": Faults(),
    "throttled 30 %": Faults(throttled=0.3),
    "service unavailable 30 %": Faults(unavailable=0.3),
    "unreachable": Faults(unreachable=0.3),
    "entries fail": Faults(entry_failed=0.3),
    "undeliverable records": Faults(undeliverable=0.01),
    "dead letters refused": Faults(undeliverable=0.01, letter_refused=0.5),
    "denied at times": Faults(denied=0.2),
    "time up in the middle": Faults(slow=0.1, entry_failed=0.1),
    "responses lost": Faults(response_lost=0.1),
    "killed between put and return": Faults(killed=0.1),
}
ALL_AT_ONCE = Faults(
    throttled=0.3,
    unavailable=0.05,
    unreachable=0.02,
    entry_failed=0.05,
    response_lost=0.02,
    killed=0.02,
    denied=0.02,
    slow=0.02,
    letter_refused=0.2,
    undeliverable=0.002,
)
NEVER_DUPLICATED = {
    "nothing fails",
    "throttled 30 %",
    "service unavailable 30 %",
    "unreachable",
    "undeliverable records",
}
"""Faults after which the function knows what Firehose took, and has time left."""


def run(
    faults: Faults, count: int, seed: int, monkeypatch: pytest.MonkeyPatch, pack_bytes: int
) -> tuple[Function, FaultyFirehose, list[Any], int]:
    draw, clock = random.Random(seed), Clock()
    timed = partial(deliver, clock=clock, sleep=clock.sleep, jitter=draw.random)
    monkeypatch.setattr(batch, "deliver", timed)
    firehose = FaultyFirehose(faults, draw, clock)
    s3 = S3(refuses=lambda: draw.random() < faults.letter_refused)
    function = Function(firehose, s3, rules_of(PACK_BYTES=str(pack_bytes)))  # type: ignore[arg-type]
    records = shard_of(count, faults, draw)
    return function, firehose, records, read_to_the_end(function, records, clock, draw)


def check_nothing_lost(function: Function, firehose: FaultyFirehose, records: list[Any]) -> int:
    """Check that every record is delivered or a dead letter, not both; returns the duplicates."""
    expected = {record["eventID"] for record in records}
    delivered = Counter(firehose.event_ids())
    letters = {letter["event_id"] for letter in function.s3.letters()}
    assert delivered.keys() | letters == expected
    assert not delivered.keys() & letters
    undeliverable = {r["eventID"] for r in records if len(r["dynamodb"]["NewImage"]) > 1}
    assert letters == undeliverable
    return delivered.total() - len(delivered)


@pytest.mark.parametrize("pack_bytes", [1, 4096])
@pytest.mark.parametrize("case", CASES)
def test_fault(case: str, pack_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = RECORDS // 10 if pack_bytes > 1 else RECORDS // 50
    function, firehose, records, _ = run(CASES[case], count, 7, monkeypatch, pack_bytes)
    duplicates = check_nothing_lost(function, firehose, records)
    if case in NEVER_DUPLICATED:
        assert duplicates == 0


def test_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    function, firehose, records, invocations = run(ALL_AT_ONCE, RECORDS, 11, monkeypatch, 4096)
    duplicates = check_nothing_lost(function, firehose, records)
    assert invocations > RECORDS // BATCH
    # Caused by lost responses, kills and time-outs; equal event ids identify them.
    assert 0 < duplicates < len(records) / 2


def test_calls_are_ordered_without_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    _, firehose, records, _ = run(Faults(), 2000, 3, monkeypatch, 4096)
    assert firehose.event_ids() == [record["eventID"] for record in records]


@pytest.mark.parametrize("seed", range(20))
def test_duplicates_are_those_sent_after_the_checkpoint(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second invocation repeats no record from before the first one's checkpoint."""
    draw, clock = random.Random(seed), Clock()
    faults = Faults(entry_failed=0.4)
    timed = partial(deliver, clock=clock, sleep=clock.sleep, jitter=draw.random)
    monkeypatch.setattr(batch, "deliver", timed)
    firehose = FaultyFirehose(faults, draw, clock)
    function = Function(firehose, S3(), rules_of(PACK_BYTES="1"))  # type: ignore[arg-type]
    records = [stream_record(number) for number in range(300)]
    checkpoint = function(records, clock.now + 0.2)
    first = firehose.event_ids()
    done = int(checkpoint) - FIRST if checkpoint else len(records)
    assert {f"event-{number}" for number in range(done)} <= set(first)
    assert f"event-{done}" not in first
    function(records[done:], clock.now + 1000.0)
    repeated = [event for event, times in Counter(firehose.event_ids()).items() if times > 1]
    assert all(int(event.removeprefix("event-")) > done for event in repeated)
