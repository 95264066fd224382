"""Delivers one batch of stream records: every change has exactly one outcome, or is retried."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.targets import ANY, Target
from ddb_pipeline.firehose.delivery import DeliveryRefusedError, Outcome, deliver
from ddb_pipeline.functions.changes import (
    Change,
    Problem,
    decide,
    decode,
    oldest_seconds,
    write_documents,
)
from ddb_pipeline.functions.dead_letters import DeadLetterError, write_dead_letters
from ddb_pipeline.functions.held import DeliveryTable, write_held_changes
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules

if TYPE_CHECKING:
    from mypy_boto3_firehose.client import FirehoseClient
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Clients:
    """The services that a batch needs.

    Attributes:
        firehose: takes the documents.
        s3: takes dead letters and held changes.
        table: the catalog table that Firehose converts with; None holds no change.
    """

    firehose: "FirehoseClient"
    s3: "S3Client"
    table: DeliveryTable | None = None


def process(
    event: Mapping[str, Any], rules: Rules, clients: Clients, report: Report, deadline: float
) -> str:
    """Deliver an event's records.

    Args:
        event: the Lambda event.
        rules: where changes go, and how they are edited.
        clients: the services to use.
        report: receives counts and errors.
        deadline: when to stop sending, in ``time.monotonic``'s seconds.

    Returns:
        The lowest sequence number that was not delivered, from which to retry; "" for none.
        Everything from there on comes again, so once a change has failed, no change after it is
        sent to another delivery stream or written to S3.

    Raises:
        SettingsError: the settings do not fit the records.
        CatalogError: the delivery table cannot be read.
        DeliveryRefusedError: a delivery stream refuses for good and nothing was delivered, so
            that the error loses no progress.
        DeadLetterError: a record without a sequence number could not be written.
    """
    changes = decode(event.get("Records") or ())
    columns = clients.table.columns() if changes and clients.table else ANY
    decide(changes, rules, columns)
    report.received = len(changes)
    report.filtered = sum(change.filtered for change in changes)
    report.oldest_age_seconds = max(0.0, time.time() - oldest_seconds(changes))
    batch = _Batch(changes, rules, clients, report)
    batch.hold(columns)
    batch.deliver(deadline)
    batch.store_dead_letters()
    batch.store_held()
    return batch.checkpoint()


class _Batch:
    """The decided changes of one event, during delivery."""

    def __init__(
        self, changes: Sequence[Change], rules: Rules, clients: Clients, report: Report
    ) -> None:
        self._changes = changes
        self._rules = rules
        self._clients = clients
        self._report = report
        self._first_failed: Change | None = None

    def hold(self, columns: Target) -> None:
        """Find the changes with attributes that the delivery table has no column for.

        ``columns`` are those that the documents were written with. Where the table has others by
        now, the documents are written again: the keys of a map are data as soon as it has a column.
        """
        table = self._clients.table
        if table is None or not self._changes:
            return
        self._find_missing(table)
        while table.known_columns is not columns:
            columns = table.known_columns
            write_documents(self._changes, self._rules, columns)
            self._find_missing(table)

    def _find_missing(self, table: DeliveryTable) -> None:
        for change in self._changes:
            if change.document is not None:
                lacks = change.lacks_column
                change.missing = table.missing(change.document) if lacks else ()

    def deliver(self, deadline: float) -> None:
        """Send the documents, one delivery stream after another."""
        by_stream: dict[str, list[Change]] = {}
        for change in self._changes:
            if change.document is not None and not change.missing:
                by_stream.setdefault(change.delivery_stream, []).append(change)
        refusal = None
        for stream, changes in by_stream.items():
            refusal = self._send(stream, self._before_failure(changes), deadline) or refusal
        if refusal is not None and not self._report.delivered:
            raise refusal

    def _send(
        self, stream: str, changes: Sequence[Change], deadline: float
    ) -> DeliveryRefusedError | None:
        delivery = deliver(
            self._clients.firehose,
            stream,
            [change.document or b"" for change in changes],
            deadline=deadline,
            pack_bytes=self._rules.settings.pack_bytes,
        )
        failed = []
        for position, reason in delivery.reasons.items():
            if delivery.outcomes[position] is Outcome.UNDELIVERABLE:
                changes[position].problem = Problem("oversized", reason)
            else:
                failed.append((changes[position], reason))
        self._fail([change for change, _ in failed])
        self._report.add_delivery(delivery)
        if delivery.refusal is not None:
            self._report.errors.append(str(delivery.refusal))
        elif failed:
            self._report.errors.append(f"Delivery stream {stream!r}: {failed[0][1]}")
        return delivery.refusal

    def store_dead_letters(self) -> None:
        """Write the changes that can never be delivered to S3."""
        letters = [change for change in self._changes if change.problem is not None]
        self._report.dead_lettered, key = self._store(letters, write_dead_letters)
        self._report.dead_letter_key = key

    def store_held(self) -> None:
        """Write the held changes to S3."""
        held = [change for change in self._changes if change.missing]
        self._report.held, _ = self._store(held, write_held_changes)

    def _store(
        self,
        changes: Sequence[Change],
        write: "Callable[[S3Client, Rules, Sequence[Change]], str]",
    ) -> tuple[int, str]:
        """Write changes as one object; returns their number and its key.

        Changes that cannot be written have failed.
        """
        changes = self._before_failure(changes)
        if not changes:
            return 0, ""
        try:
            return len(changes), write(self._clients.s3, self._rules, changes)
        except DeadLetterError as error:
            if not all(change.sequence_number for change in changes):
                raise
            self._report.errors.append(str(error))
            self._fail(changes)
            return 0, ""

    def _fail(self, changes: Sequence[Change]) -> None:
        for change in changes:
            change.failed = True
            if self._first_failed is None or change.order < self._first_failed.order:
                self._first_failed = change

    def _before_failure(self, changes: Sequence[Change]) -> Sequence[Change]:
        """The changes that come before every failed one."""
        if self._first_failed is None:
            return changes
        limit = self._first_failed.order
        return [change for change in changes if change.order < limit]

    def checkpoint(self) -> str:
        """The lowest sequence number that failed, "" for none."""
        if self._first_failed is None:
            return ""
        self._report.not_delivered = sum(change.failed for change in self._changes)
        self._report.checkpoint = self._first_failed.sequence_number
        return self._report.checkpoint
