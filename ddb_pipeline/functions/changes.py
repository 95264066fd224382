"""The changes of an event: each stream record, what is to be delivered of it, and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import all_json_numbers
from ddb_pipeline.dynamodb.stream import (
    DocumentOptions,
    StreamRecord,
    UndecodableRecordError,
    change_document,
    event_id_of,
    is_sequence_number,
    read_kinesis_record,
    read_record,
)
from ddb_pipeline.dynamodb.targets import ANY, Target
from ddb_pipeline.dynamodb.values import Writing
from ddb_pipeline.functions.decided_records import DecidedRecords, RefusedRecordError
from ddb_pipeline.functions.redacted_records import decided_before
from ddb_pipeline.functions.rules import Rules, destination, edited
from ddb_pipeline.hive.epoch import epoch_seconds


class Problem(NamedTuple):
    """Why a change can never be delivered; the reason contains no value of the item."""

    code: str
    reason: str


@dataclass(slots=True)
class Change:
    """One record of an event, from decoding to outcome; each step fills in what it finds.

    A change that has neither a document nor a problem is filtered out by the settings.

    Attributes:
        record: the record as it arrived.
        order: its sequence number. A record without one has the number of the record before it.
        decoded: the decoded record; None where it is malformed.
        problem: why the change can never be delivered: it becomes a dead letter.
        delivery_stream: where the document goes; empty where the settings filter the change out.
        edited: the decoded record after redaction and transformer, from which the document is
            written.
        document: the JSON document to deliver.
        lacks_column: whether the document may have attributes without a column
            (``dynamodb.values.Writing``).
        missing: paths of the document's attributes without a column: the change is held.
        failed: whether the change was neither delivered nor stored, and has to come again.
    """

    record: Any
    order: int
    decoded: StreamRecord | None = None
    problem: Problem | None = None
    delivery_stream: str = ""
    edited: StreamRecord | None = None
    document: bytes | None = None
    lacks_column: bool = False
    missing: Sequence[str] = ()
    failed: bool = False

    @property
    def sequence_number(self) -> str:
        """The sequence number; empty where a malformed record has none."""
        return (
            sequence_number_of(self.record)
            if self.decoded is None
            else self.decoded.sequence_number
        )

    @property
    def event_id(self) -> str:
        """The record's ``eventID``; empty where a malformed record has none."""
        return event_id_of(self.record) if self.decoded is None else self.decoded.event_id

    @property
    def table(self) -> str:
        """The changed table; empty where the record does not name it."""
        return "" if self.decoded is None else self.decoded.table

    @property
    def seconds(self) -> float:
        """When the change happened, in epoch seconds; 0 where the record does not state it."""
        time = None if self.decoded is None else self.decoded.event_time
        return 0.0 if time is None else epoch_seconds(time)

    @property
    def filtered(self) -> bool:
        """Whether the settings filter the change out."""
        return self.document is None and self.problem is None


def decode(records: Sequence[Any]) -> list[Change]:
    """The records of a Lambda event, decoded; a malformed record is a problem."""
    changes: list[Change] = []
    order = -1
    for record in records:
        decoded = problem = None
        try:
            kinesis = isinstance(record, dict) and "kinesis" in record
            decoded = read_kinesis_record(record) if kinesis else read_record(record)
            number = decoded.sequence_number
        except UndecodableRecordError as error:
            problem = Problem("undecodable", str(error))
            number = sequence_number_of(record)
        order = int(number) if number else order
        changes.append(Change(record, order, decoded, problem))
    return changes


def decide(changes: Sequence[Change], rules: Rules, columns: Target = ANY) -> None:
    """Give each change its delivery stream and its document, unless the settings filter it out.

    Args:
        changes: the decoded changes.
        rules: the settings.
        columns: the delivery table's columns.

    Raises:
        SettingsError: the settings do not fit the records (no route, a key attribute dropped).
    """
    for change in changes:
        if change.decoded is not None:
            try:
                before = decided_before(change.record, rules.settings.routing)
                stream = before.delivery_stream or destination(change.decoded, rules.settings)
                if stream:
                    change.delivery_stream = stream
                    change.edited = edited(change.decoded, rules, before.pseudonyms)
            except UndecodableRecordError as error:
                change.problem = Problem("undecodable", str(error))
    write_documents(changes, rules, columns)


def write_documents(changes: Sequence[Change], rules: Rules, columns: Target) -> None:
    """Write the documents of decided changes; arguments as for :func:`decide`."""
    to_write = [
        (change, change.edited)
        for change in changes
        if change.edited is not None and change.problem is None
    ]
    if rules.settings.decisions:
        to_write = _decided(to_write, rules, columns)
    numbers: list[str] = []
    options = rules.settings.options
    _write_documents(to_write, options, Writing(columns, numbers))
    if not all_json_numbers(numbers):
        _write_documents(to_write, options, Writing(columns))


def _decided(
    changes: Sequence[tuple[Change, StreamRecord]], rules: Rules, columns: Target
) -> list[tuple[Change, StreamRecord]]:
    """The changes with values in the form of their columns; one that is refused is a problem."""
    settings = rules.settings
    records = DecidedRecords(settings.decisions, columns.columns, settings.options.images)
    decided = []
    for change, record in changes:
        try:
            decided.append((change, records.record(record)))
        except UndecodableRecordError as error:
            refused = isinstance(error, RefusedRecordError)
            change.document = None
            change.problem = Problem("refused" if refused else "undecodable", str(error))
    return decided


def _write_documents(
    changes: Sequence[tuple[Change, StreamRecord]], options: DocumentOptions, writing: Writing
) -> None:
    for change, record in changes:
        writing.lacks_column = False
        try:
            change.document = change_document(record, options, writing)
            change.lacks_column = writing.lacks_column
        except UndecodableRecordError as error:
            change.document = None
            change.problem = Problem("undecodable", str(error))


def oldest_seconds(changes: Sequence[Change]) -> float:
    """When the first of the changes happened, in epoch seconds; infinite where none states it."""
    return min((change.seconds for change in changes if change.seconds), default=inf)


def sequence_number_of(record: Any) -> str:
    """The sequence number of a record that may be malformed, else an empty text."""
    for member, name in (("kinesis", "sequenceNumber"), ("dynamodb", "SequenceNumber")):
        body = record.get(member) if isinstance(record, Mapping) else None
        found = body.get(name) if isinstance(body, Mapping) else None
        if is_sequence_number(found):
            return str(found)
    return ""
