"""PutRecordBatch: packs documents into records and sends them, within the limits, with retries.

Limits and error codes: Amazon Data Firehose API reference, ``PutRecordBatch``; billing: Amazon
Data Firehose pricing (each record is rounded up to the next 5 KB).
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from ddb_pipeline.client_errors import CREDENTIAL_CODES, DENIED_CODES
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_firehose.client import FirehoseClient

MAX_RECORDS_PER_CALL = 500
MAX_BYTES_PER_CALL = 4 * 1024 * 1024
MAX_BYTES_PER_RECORD = 1_024_000
"""The size of a record before base64 encoding."""
BILLING_UNIT = 5 * 1024
"""Bytes to a multiple of which the size of each record is rounded up for billing."""
DEFAULT_PACK_BYTES = 64 * 1024
"""At this size, rounding up to billing units adds 4 % on average. Larger records would fail with
more documents at once."""

NEWLINE = b"\n"

PERMISSION = "firehose:PutRecordBatch"
REQUEST_CODES = frozenset(
    (
        "InvalidArgumentException",
        "InvalidKMSResourceException",
        "InvalidSourceException",
        "ResourceNotFoundException",
        "SerializationException",
        "UnknownOperationException",
        "ValidationException",
    )
)
REFUSED_CODES = DENIED_CODES | CREDENTIAL_CODES | REQUEST_CODES
"""Codes that a retry would only get again; every other code is retried."""


class DeliveryRefusedError(DdbPipelineError):
    """The delivery stream refuses records, and a retry would not help.

    Attributes:
        stream: name of the delivery stream.
        code: the service's error code.
    """

    def __init__(self, stream: str, code: str, message: str) -> None:
        super().__init__(stream, code, message)
        self.stream = stream
        self.code = code
        self.message = message

    def __str__(self) -> str:
        advice = ""
        if self.code in DENIED_CODES:
            advice = f" Grant {PERMISSION} on the delivery stream to the caller's role."
        elif self.code in CREDENTIAL_CODES:
            advice = " Check the caller's credentials: the service does not accept them."
        elif self.code == "ResourceNotFoundException":
            advice = " Check its name and region, and that the stack which creates it is deployed."
        return (
            f"Delivery stream {self.stream!r} refused records: {self.code}: {self.message}{advice}"
        )


class Outcome(Enum):
    """The outcome for one document."""

    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"
    NOT_DELIVERED = "not delivered in time"


class PackedRecord(NamedTuple):
    """One Firehose record: its bytes, one document per line, and the documents' positions."""

    data: bytes
    documents: tuple[int, ...]


class Packing(NamedTuple):
    """Records with all documents that fit, and the positions of those too large for a record."""

    records: tuple[PackedRecord, ...]
    oversized: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: retry *n* waits up to ``base * 2**n`` seconds."""

    base_seconds: float = 0.1
    cap_seconds: float = 5.0

    def delay(self, retry: int, jitter: float) -> float:
        """Seconds before retry number ``retry`` (from 0), ``jitter`` in [0, 1)."""
        return jitter * min(self.cap_seconds, self.base_seconds * 2.0 ** min(retry, 30))


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one delivery.

    Attributes:
        outcomes: one for each document, in the order given.
        reasons: why, by position, for every document that was not delivered.
        records: number of records that Firehose accepted.
        billed_units: number of units of 5 KB that these records are billed as.
        calls: number of PutRecordBatch calls.
        retried: number of records sent again after a failure.
        refusal: set if the delivery stream refused for good; later documents were not sent.
    """

    outcomes: tuple[Outcome, ...]
    reasons: Mapping[int, str]
    records: int = 0
    billed_units: int = 0
    calls: int = 0
    retried: int = 0
    refusal: DeliveryRefusedError | None = None

    @property
    def delivered(self) -> int:
        """Number of documents delivered."""
        return self.outcomes.count(Outcome.DELIVERED)


def pack(documents: Sequence[bytes], pack_bytes: int = DEFAULT_PACK_BYTES) -> Packing:
    """Fill records with documents in their order, each followed by a newline.

    A record grows to at most ``pack_bytes``; a larger document gets its own record. A document
    larger than Firehose accepts (1,024,000 bytes) is left out and its position is in ``oversized``.
    """
    limit = min(pack_bytes, MAX_BYTES_PER_RECORD)
    records: list[PackedRecord] = []
    oversized: list[int] = []
    chunk: list[bytes] = []
    positions: list[int] = []
    filled = 0
    for position, document in enumerate(documents):
        size = len(document) + 1
        if size > MAX_BYTES_PER_RECORD + 1:
            oversized.append(position)
            continue
        if filled + size > limit and chunk:
            records.append(_record(chunk, positions))
            chunk, positions, filled = [], [], 0
        chunk.append(document)
        positions.append(position)
        filled += size
    if chunk:
        records.append(_record(chunk, positions))
    return Packing(tuple(records), tuple(oversized))


def _record(chunk: list[bytes], positions: list[int]) -> PackedRecord:
    data = NEWLINE.join(chunk)
    # A document of exactly the limit goes without its newline.
    if len(data) < MAX_BYTES_PER_RECORD:
        data += NEWLINE
    return PackedRecord(data, tuple(positions))


def batches(records: Sequence[PackedRecord]) -> Iterator[list[PackedRecord]]:
    """Split records into PutRecordBatch calls, in order and within the call's limits."""
    batch: list[PackedRecord] = []
    filled = 0
    for record in records:
        size = len(record.data)
        if batch and (len(batch) == MAX_RECORDS_PER_CALL or filled + size > MAX_BYTES_PER_CALL):
            yield batch
            batch, filled = [], 0
        batch.append(record)
        filled += size
    if batch:
        yield batch


def billed_units(sizes: Sequence[int]) -> int:
    """Units of 5 KB that records of these sizes in bytes are billed as."""
    return sum(-(-size // BILLING_UNIT) for size in sizes)


def deliver(
    firehose: "FirehoseClient",
    stream: str,
    documents: Sequence[bytes],
    *,
    deadline: float,
    pack_bytes: int = DEFAULT_PACK_BYTES,
    retry: RetryPolicy = RetryPolicy(),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Delivery:
    """Send documents to a delivery stream until all are accepted or the time is up.

    Only entries that Firehose reports as failed are sent again; the next batch starts after the
    one before has ended. No call starts after ``deadline`` (in ``clock``'s seconds). Throttling,
    5xx and broken connections are retried; a connection that broke after the service took the
    batch leads to duplicates, which have the same event id.

    Never raises for an error of the service: see ``Delivery.refusal``.
    """
    sender = _Sender(
        firehose=firehose,
        stream=stream,
        deadline=deadline,
        retry=retry,
        clock=clock,
        sleep=sleep,
        jitter=jitter,
    )
    return sender.deliver(documents, pack(documents, pack_bytes))


@dataclass(slots=True)
class _Sender:
    """One delivery in progress."""

    firehose: "FirehoseClient"
    stream: str
    deadline: float
    retry: RetryPolicy
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    accepted: list[int] = field(default_factory=list)
    calls: int = 0
    retried: int = 0
    reason: str = ""
    refusal: DeliveryRefusedError | None = None

    def deliver(self, documents: Sequence[bytes], packing: Packing) -> Delivery:
        """Send packed documents."""
        reasons = {
            position: f"{len(documents[position])} bytes, over Firehose's limit of "
            f"{MAX_BYTES_PER_RECORD} bytes a record"
            for position in packing.oversized
        }
        outcomes = [Outcome.DELIVERED] * len(documents)
        for position in packing.oversized:
            outcomes[position] = Outcome.UNDELIVERABLE
        for position in self._undelivered(packing.records):
            outcomes[position] = Outcome.NOT_DELIVERED
            reasons[position] = self.reason
        return Delivery(
            outcomes=tuple(outcomes),
            reasons=reasons,
            records=len(self.accepted),
            billed_units=billed_units(self.accepted),
            calls=self.calls,
            retried=self.retried,
            refusal=self.refusal,
        )

    def _undelivered(self, records: Sequence[PackedRecord]) -> Iterator[int]:
        """Send records; yields the positions of the documents that were not delivered."""
        pending: list[PackedRecord] = []
        for batch in batches(records):
            pending = batch if pending else self._send(batch)
            yield from chain.from_iterable(record.documents for record in pending)

    def _send(self, batch: list[PackedRecord]) -> list[PackedRecord]:
        """Send a batch; returns the records that could not be sent, in order."""
        pending = batch
        retries = 0
        self.reason = "no time left"
        while pending and self.clock() < self.deadline:
            if retries:
                self.retried += len(pending)
            failed = self._put(pending)
            if self.refusal is not None or not failed:
                return failed
            # After progress the delivery stream has capacity again: restart with short waits.
            retries = 1 if len(failed) < len(pending) else retries + 1
            pending = failed
            if not self._wait(retries - 1):
                break
        return pending

    def _put(self, records: list[PackedRecord]) -> list[PackedRecord]:
        self.calls += 1
        try:
            response = self.firehose.put_record_batch(
                DeliveryStreamName=self.stream, Records=[{"Data": r.data} for r in records]
            )
        except ClientError as error:
            return self._failed_call(error.response, records)
        except (ConnectionError, HTTPClientError) as error:
            self.reason = f"{type(error).__name__}: {error}"
            return records
        except BotoCoreError as error:
            self._refuse(type(error).__name__, str(error))
            return records
        return self._failed_entries(records, response)

    def _failed_call(
        self, response: Mapping[str, Any], records: list[PackedRecord]
    ) -> list[PackedRecord]:
        error = response.get("Error", {})
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        self.reason = f"{code}: {message}"
        if code in REFUSED_CODES:
            self._refuse(code, message)
        return records

    def _failed_entries(
        self, records: list[PackedRecord], response: Mapping[str, Any]
    ) -> list[PackedRecord]:
        if not response.get("FailedPutCount"):
            self.accepted.extend(len(record.data) for record in records)
            return []
        failed = []
        for record, entry in zip(records, response["RequestResponses"], strict=True):
            code = entry.get("ErrorCode")
            if code:
                failed.append(record)
                self.reason = f"{code}: {entry.get('ErrorMessage', '')}"
            else:
                self.accepted.append(len(record.data))
        return failed

    def _refuse(self, code: str, message: str) -> None:
        self.reason = f"{code}: {message}"
        self.refusal = DeliveryRefusedError(self.stream, code, message)

    def _wait(self, retry: int) -> bool:
        """Sleep before a retry; False, at once, if the deadline comes before its end."""
        delay = self.retry.delay(retry, self.jitter())
        if self.clock() + delay >= self.deadline:
            return False
        self.sleep(delay)
        return True
