"""One batch of stream records delivered: every change leaves in exactly one way, or comes again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ddb_pipeline.firehose.delivery import Delivery, DeliveryRefusedError, Outcome, deliver
from ddb_pipeline.functions.changes import Decisions, Problem, decide, sequence_number_of
from ddb_pipeline.functions.dead_letters import DeadLetter, DeadLetterError, write_dead_letters
from ddb_pipeline.functions.held import DeliveryTable, HeldChange, write_held
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.hive.names import DELIVERY_NAMES

if TYPE_CHECKING:
    from mypy_boto3_firehose.client import FirehoseClient
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Clients:
    """The services a batch goes to."""

    firehose: "FirehoseClient"
    s3: "S3Client"
    table: DeliveryTable | None = None


def process(
    event: Mapping[str, Any], rules: Rules, clients: Clients, report: Report, deadline: float
) -> str:
    """Deliver an event's records; answers with the sequence number to retry from, or "".

    That is the lowest one not delivered. What comes after it comes again, so nothing more is done
    for it: it is not sent to another delivery stream, nor written to the dead letters.

    Raises:
        SettingsError: the settings do not fit the records.
        DeliveryRefusedError: a delivery stream refuses for good and nothing was delivered, so
            that failing loudly loses no progress.
        DeadLetterError: a record without a sequence number could not be written.
    """
    decisions = decide(event.get("Records") or (), rules)
    batch = _Batch(decisions, rules, clients, report, deadline)
    report.received = len(decisions.records)
    report.filtered = decisions.filtered
    report.oldest_age_seconds = max(0.0, time.time() - decisions.oldest)
    batch.hold_undeclared()
    for stream, positions in decisions.streams.items():
        batch.send(stream, positions)
    batch.raise_fruitless_refusal()
    batch.keep_undeliverable()
    batch.keep_held()
    return batch.checkpoint()


class _Batch:
    """A batch in progress: which positions failed, and which can never be delivered."""

    def __init__(
        self,
        decisions: Decisions,
        rules: Rules,
        clients: Clients,
        report: Report,
        deadline: float,
    ) -> None:
        self._decisions = decisions
        self._rules = rules
        self._clients = clients
        self._report = report
        self._deadline = deadline
        self._failed: set[int] = set()
        self._problems = dict(decisions.problems)
        self._held: dict[int, Sequence[str]] = {}
        self._refusal: DeliveryRefusedError | None = None

    def hold_undeclared(self) -> None:
        """Set apart the changes that the delivery table would cut short."""
        table = self._clients.table
        if table is None:
            return
        columns = DELIVERY_NAMES if self._rules.settings.options.metadata else ()
        for position, document in enumerate(self._decisions.documents):
            if document is None:
                continue
            paths = table.undeclared(document, self._decisions.image(position), columns)
            if paths:
                self._held[position] = paths

    def send(self, stream: str, positions: Sequence[int]) -> None:
        """Deliver the documents at these positions, as far as they come before any failure."""
        sent = self._before_failure([i for i in positions if i not in self._held])
        documents: list[Any] = [self._decisions.documents[i] for i in sent]
        delivery = deliver(
            self._clients.firehose,
            stream,
            documents,
            deadline=self._deadline,
            pack_bytes=self._rules.settings.pack_bytes,
        )
        for index, reason in delivery.reasons.items():
            if delivery.outcomes[index] is Outcome.UNDELIVERABLE:
                self._problems[sent[index]] = Problem("oversized", reason)
            else:
                self._failed.add(sent[index])
        self._note(stream, delivery)

    def raise_fruitless_refusal(self) -> None:
        if self._refusal is not None and not self._report.delivered:
            raise self._refusal

    def keep_undeliverable(self) -> None:
        """Write dead letters; the changes of those that cannot be written have failed."""
        positions = self._before_failure(sorted(self._problems))
        if not positions:
            return
        letters = [DeadLetter(self._decisions.change(i), self._problems[i]) for i in positions]
        settings = self._rules.settings
        try:
            self._report.dead_letter_key = write_dead_letters(
                self._clients.s3, settings.dead_letter_bucket, settings.dead_letter_prefix, letters
            )
        except DeadLetterError as error:
            self._not_kept(positions, error)
        else:
            self._report.dead_lettered = len(letters)

    def keep_held(self) -> None:
        """Write what waits for columns; the changes that cannot be written have failed."""
        positions = self._before_failure(sorted(self._held))
        if not positions:
            return
        waiting = [
            HeldChange(self._decisions.change(i), self._decisions.documents[i] or b"", paths)
            for i, paths in ((i, self._held[i]) for i in positions)
        ]
        settings = self._rules.settings
        try:
            write_held(
                self._clients.s3, settings.dead_letter_bucket, settings.error_prefix, waiting
            )
        except DeadLetterError as error:
            self._not_kept(positions, error)
        else:
            self._report.held = len(waiting)

    def _not_kept(self, positions: Sequence[int], error: DeadLetterError) -> None:
        if not all(sequence_number_of(self._decisions.records[i]) for i in positions):
            raise error
        self._report.errors.append(str(error))
        self._failed.update(positions)

    def checkpoint(self) -> str:
        """The lowest sequence number that failed, or ""."""
        if not self._failed:
            return ""
        first = min(self._failed, key=self._order.__getitem__)
        self._report.not_delivered = len(self._failed)
        self._report.checkpoint = sequence_number_of(self._decisions.records[first])
        return self._report.checkpoint

    @cached_property
    def _order(self) -> list[int]:
        return sequence_order(self._decisions.records)

    def _before_failure(self, positions: Sequence[int]) -> Sequence[int]:
        if not self._failed:
            return positions
        limit = min(self._order[i] for i in self._failed)
        return [i for i in positions if self._order[i] < limit]

    def _note(self, stream: str, delivery: Delivery) -> None:
        report = self._report
        report.delivered += delivery.delivered
        report.packed += delivery.records
        report.billed_units += delivery.billed_units
        report.retried += delivery.retried
        if delivery.refusal is not None:
            self._refusal = delivery.refusal
            report.errors.append(str(delivery.refusal))
        elif Outcome.NOT_DELIVERED in delivery.outcomes:
            first = delivery.outcomes.index(Outcome.NOT_DELIVERED)
            report.errors.append(f"Delivery stream {stream!r}: {delivery.reasons[first]}")


def sequence_order(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Each record's sequence number as an integer; one without a number stands with the one
    before it."""
    order: list[int] = []
    for record in records:
        number = sequence_number_of(record)
        order.append(int(number) if number.isdecimal() else (order[-1] if order else -1))
    return order
