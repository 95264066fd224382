"""PutRecordBatch: packing, limits and retries."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.firehose.delivery import (
    MAX_BYTES_PER_CALL,
    MAX_BYTES_PER_RECORD,
    MAX_RECORDS_PER_CALL,
    Delivery,
    Outcome,
    PackedRecord,
    RetryPolicy,
    batches,
    billed_units,
    deliver,
    pack,
)

Answer = Callable[[Sequence[bytes]], Any]


def accepted(records: Sequence[bytes]) -> dict[str, Any]:
    return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"} for _ in records]}


def failed_at(*positions: int, code: str = "ServiceUnavailableException") -> Answer:
    def answer(records: Sequence[bytes]) -> dict[str, Any]:
        entries = [
            {"ErrorCode": code, "ErrorMessage": "Slow down."}
            if i in positions
            else {"RecordId": "r"}
            for i in range(len(records))
        ]
        return {"FailedPutCount": len(positions), "RequestResponses": entries}

    return answer


def raising(error: Exception) -> Answer:
    def answer(records: Sequence[bytes]) -> Any:
        raise error

    return answer


def refusing(code: str, message: str = "no") -> Answer:
    return raising(ClientError({"Error": {"Code": code, "Message": message}}, "PutRecordBatch"))


@dataclass
class Firehose:
    """Responds from a list, call after call, then accepts; stores accepted records."""

    answers: list[Answer] = field(default_factory=list)
    calls: list[list[bytes]] = field(default_factory=list)
    accepted: list[bytes] = field(default_factory=list)

    def put_record_batch(self, *, DeliveryStreamName: str, Records: Any) -> Any:
        assert DeliveryStreamName == "stream"
        records = [record["Data"] for record in Records]
        self.calls.append(records)
        answer = self.answers.pop(0) if self.answers else accepted
        result = answer(records)
        for record, entry in zip(records, result["RequestResponses"], strict=True):
            if "ErrorCode" not in entry:
                self.accepted.append(record)
        return result

    def documents(self) -> list[bytes]:
        return [line for record in self.accepted for line in record.splitlines()]


@dataclass
class Clock:
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def send(
    firehose: Firehose,
    documents: Sequence[bytes],
    *,
    clock: Clock | None = None,
    deadline: float = 60.0,
    pack_bytes: int = 1,
) -> Delivery:
    clock = clock or Clock()
    return deliver(
        firehose,  # type: ignore[arg-type]
        "stream",
        documents,
        deadline=deadline,
        pack_bytes=pack_bytes,
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 1.0,
    )


def documents_of(count: int, size: int = 10) -> list[bytes]:
    return [f"{i:0{size}d}".encode() for i in range(count)]


# Packing


def test_small_documents_share_a_record() -> None:
    packing = pack([b"a", b"bb", b"ccc"], 100)
    assert packing.records == (PackedRecord(b"a\nbb\nccc\n", (0, 1, 2)),)


def test_a_record_is_filled_to_the_byte() -> None:
    assert [r.data for r in pack([b"aaaa", b"bbbb", b"c"], 10).records] == [b"aaaa\nbbbb\n", b"c\n"]


@pytest.mark.parametrize(
    ("size", "records", "oversized"),
    [
        (MAX_BYTES_PER_RECORD - 1, [MAX_BYTES_PER_RECORD], ()),
        (MAX_BYTES_PER_RECORD, [MAX_BYTES_PER_RECORD], ()),
        (MAX_BYTES_PER_RECORD + 1, [], (0,)),
    ],
)
def test_largest_document(size: int, records: list[int], oversized: tuple[int, ...]) -> None:
    packing = pack([b"x" * size])
    assert [len(record.data) for record in packing.records] == records
    assert packing.oversized == oversized


def test_oversized_document_does_not_split_its_neighbours() -> None:
    packing = pack([b"a", b"x" * (MAX_BYTES_PER_RECORD + 1), b"b"], 100)
    assert packing.records == (PackedRecord(b"a\nb\n", (0, 2)),)
    assert packing.oversized == (1,)


@given(
    st.lists(st.integers(0, 400).map(lambda size: b"x" * size), max_size=60),
    st.integers(1, 1000),
)
@settings(max_examples=100)
def test_packing_loses_nothing_and_keeps_order(documents: list[bytes], pack_bytes: int) -> None:
    packing = pack(documents, pack_bytes)
    positions = [position for record in packing.records for position in record.documents]
    assert positions == list(range(len(documents)))
    for record in packing.records:
        lines = b"".join(documents[position] + b"\n" for position in record.documents)
        assert record.data == lines
        assert len(record.data) <= max(pack_bytes, len(documents[record.documents[0]]) + 1)
    for left, right in zip(packing.records, packing.records[1:], strict=False):
        first = documents[right.documents[0]]
        assert len(left.data) + len(first) + 1 > pack_bytes


@given(st.lists(st.integers(1, MAX_BYTES_PER_RECORD), max_size=20))
@settings(max_examples=25, deadline=None)
def test_batches_keep_the_limits(sizes: list[int]) -> None:
    records = [PackedRecord(b"x" * size, (i,)) for i, size in enumerate(sizes)]
    cut = list(batches(records))
    assert [record for batch in cut for record in batch] == records
    assert all(sum(len(r.data) for r in batch) <= MAX_BYTES_PER_CALL for batch in cut)


def test_batches_of_500() -> None:
    records = [PackedRecord(b"x", (i,)) for i in range(1001)]
    assert [len(batch) for batch in batches(records)] == [MAX_RECORDS_PER_CALL] * 2 + [1]


@pytest.mark.parametrize(
    ("sizes", "units"), [([], 0), ([1], 1), ([5120], 1), ([5121], 2), ([10, 10], 2)]
)
def test_billed_units(sizes: list[int], units: int) -> None:
    assert billed_units(sizes) == units


def test_packing_saves_units() -> None:
    documents = documents_of(1000, size=600)
    packed = [len(record.data) for record in pack(documents).records]
    assert billed_units([len(document) for document in documents]) == 1000
    assert billed_units(packed) < 130


# Delivery


def test_nothing_to_deliver() -> None:
    firehose = Firehose()
    assert send(firehose, []) == Delivery((), {})
    assert firehose.calls == []


def test_all_delivered_in_order() -> None:
    firehose = Firehose()
    documents = documents_of(1200)
    delivery = send(firehose, documents)
    assert delivery.delivered == 1200
    assert delivery.reasons == {}
    assert (delivery.calls, delivery.records, delivery.retried) == (3, 1200, 0)
    assert delivery.billed_units == 1200
    assert firehose.documents() == documents


def test_only_failed_entries_are_sent_again() -> None:
    firehose = Firehose([failed_at(1, 3)])
    delivery = send(firehose, [b"a", b"b", b"c", b"d"])
    assert firehose.calls == [[b"a\n", b"b\n", b"c\n", b"d\n"], [b"b\n", b"d\n"]]
    assert delivery.delivered == 4
    assert delivery.retried == 2


@pytest.mark.parametrize("code", ["InternalFailure", "ThrottlingException", "Anything"])
def test_every_code_of_an_entry_is_retried(code: str) -> None:
    firehose = Firehose([failed_at(0, code=code)])
    assert send(firehose, [b"a"]).delivered == 1


@pytest.mark.parametrize(
    "answer",
    [
        refusing("ServiceUnavailableException"),
        refusing("LimitExceededException"),
        refusing("ThrottlingException"),
        refusing("InternalFailure"),
        refusing("500"),
        raising(EndpointConnectionError(endpoint_url="http://127.0.0.1")),
        raising(ReadTimeoutError(endpoint_url="http://127.0.0.1")),
    ],
)
def test_calls_that_are_retried(answer: Answer) -> None:
    firehose = Firehose([answer, answer])
    clock = Clock()
    delivery = send(firehose, [b"a", b"b"], clock=clock)
    assert delivery.delivered == 2
    assert delivery.retried == 4
    assert clock.slept == [0.1, 0.2]


@pytest.mark.parametrize(
    ("answer", "code", "advice"),
    [
        (refusing("ResourceNotFoundException"), "ResourceNotFoundException", "name and region"),
        (refusing("InvalidArgumentException"), "InvalidArgumentException", ""),
        (refusing("AccessDeniedException"), "AccessDeniedException", "firehose:PutRecordBatch"),
        (refusing("UnrecognizedClientException"), "UnrecognizedClientException", "credentials"),
        (refusing("ExpiredTokenException"), "ExpiredTokenException", "credentials"),
        (refusing("InvalidKMSResourceException"), "InvalidKMSResourceException", ""),
        (raising(NoCredentialsError()), "NoCredentialsError", "locate credentials"),
    ],
)
def test_refused_for_good(answer: Answer, code: str, advice: str) -> None:
    firehose = Firehose([answer])
    delivery = send(firehose, documents_of(600))
    assert len(firehose.calls) == 1
    assert set(delivery.outcomes) == {Outcome.NOT_DELIVERED}
    assert delivery.refusal is not None
    assert delivery.refusal.code == code
    assert "'stream'" in str(delivery.refusal)
    assert advice in str(delivery.refusal)
    assert all(code in reason for reason in delivery.reasons.values())


def test_refused_after_a_delivered_batch() -> None:
    firehose = Firehose([accepted, refusing("AccessDeniedException")])
    delivery = send(firehose, documents_of(700))
    assert delivery.delivered == 500
    assert delivery.outcomes[500:] == (Outcome.NOT_DELIVERED,) * 200
    assert delivery.refusal is not None


def test_oversized_document_is_never_sent() -> None:
    firehose = Firehose()
    delivery = send(firehose, [b"a", b"x" * (MAX_BYTES_PER_RECORD + 1), b"b"])
    assert delivery.outcomes == (Outcome.DELIVERED, Outcome.UNDELIVERABLE, Outcome.DELIVERED)
    assert "1024001 bytes" in delivery.reasons[1]
    assert firehose.documents() == [b"a", b"b"]


def test_packed_documents_fail_together() -> None:
    firehose = Firehose([failed_at(0)] * 100)
    delivery = send(firehose, [b"a", b"b", b"cccccc"], pack_bytes=5, deadline=0.25)
    assert delivery.outcomes == (
        Outcome.NOT_DELIVERED,
        Outcome.NOT_DELIVERED,
        Outcome.DELIVERED,
    )
    assert delivery.reasons[1] == "ServiceUnavailableException: Slow down."


def test_time_up_before_the_first_call() -> None:
    firehose = Firehose()
    delivery = send(firehose, [b"a"], deadline=0.0)
    assert delivery.outcomes == (Outcome.NOT_DELIVERED,)
    assert delivery.reasons == {0: "no time left"}
    assert firehose.calls == []


def test_gives_up_rather_than_sleep_past_the_deadline() -> None:
    firehose = Firehose([failed_at(0)] * 100)
    clock = Clock()
    delivery = send(firehose, [b"a"], clock=clock, deadline=1.0)
    assert delivery.delivered == 0
    assert clock.slept == [0.1, 0.2, 0.4]
    assert clock.now < 1.0


def test_later_batches_are_not_tried_once_time_is_up() -> None:
    firehose = Firehose([failed_at(7)] + [failed_at(0)] * 100)
    delivery = send(firehose, documents_of(600), deadline=0.5)
    assert delivery.outcomes[7] is Outcome.NOT_DELIVERED
    assert delivery.outcomes[8] is Outcome.DELIVERED
    assert set(delivery.outcomes[500:]) == {Outcome.NOT_DELIVERED}


def test_progress_starts_the_backoff_again() -> None:
    firehose = Firehose([failed_at(0, 1, 2), failed_at(0, 1, 2), failed_at(0, 1), failed_at(0, 1)])
    clock = Clock()
    assert send(firehose, [b"a", b"b", b"c"], clock=clock).delivered == 3
    assert clock.slept == [0.1, 0.2, 0.1, 0.2]


def test_backoff_is_jittered_and_capped() -> None:
    policy = RetryPolicy(base_seconds=0.1, cap_seconds=5.0)
    assert policy.delay(0, 0.0) == 0.0
    assert policy.delay(3, 0.5) == pytest.approx(0.4)
    assert policy.delay(1000, 1.0) == 5.0


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_each_document_has_an_outcome_whichever_calls_fail(seed: int) -> None:
    draw = random.Random(seed)

    def moody(records: Sequence[bytes]) -> Any:
        if draw.random() < 0.3:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "PutRecordBatch")
        failing = [i for i in range(len(records)) if draw.random() < 0.3]
        return failed_at(*failing)(records)

    firehose = Firehose([moody] * 1000)
    documents = [f"{i}".encode() for i in range(draw.randrange(1, 1500))]
    delivery = send(firehose, documents, pack_bytes=64, deadline=draw.uniform(0.0, 2.0))
    delivered = [
        d for d, o in zip(documents, delivery.outcomes, strict=True) if o is Outcome.DELIVERED
    ]
    assert sorted(firehose.documents()) == sorted(delivered)
    assert set(delivery.reasons) == {
        i for i, outcome in enumerate(delivery.outcomes) if outcome is not Outcome.DELIVERED
    }
