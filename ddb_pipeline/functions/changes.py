"""An event's records, each with the document to deliver and where, or why there is none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import UndecodableValueError
from ddb_pipeline.dynamodb.stream import (
    StreamRecord,
    UndecodableRecordError,
    change_document,
    epoch_seconds,
    event_id_of,
    read_kinesis_record,
    read_record,
    table_of,
)
from ddb_pipeline.dynamodb.stream_quick import QuickDocuments, quick_documents
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.rules import Rules, destination, prepared, route
from ddb_pipeline.functions.stream_settings import Routing


class Problem(NamedTuple):
    """Why a change can never be delivered; the reason holds no value of the item."""

    code: str
    reason: str


class Change(NamedTuple):
    """One record of an event; ``read`` is None where it is malformed."""

    record: Mapping[str, Any]
    read: StreamRecord | None

    @property
    def sequence_number(self) -> str:
        """Of a record that may be malformed, empty where it does not tell."""
        return sequence_number_of(self.record) if self.read is None else self.read.sequence_number

    @property
    def event_id(self) -> str:
        return event_id_of(self.record) if self.read is None else self.read.event_id

    @property
    def event_time(self) -> int:
        """As ``StreamRecord.event_time``, 0 where the record does not tell."""
        return 0 if self.read is None else self.read.event_time

    @property
    def table(self) -> str:
        """The changed table, empty where the record does not tell."""
        return "" if self.read is None else self.read.table


class Decision(NamedTuple):
    """What is to become of one record: a document for a stream, a problem, or nothing of it.

    ``image`` is the one that the document was written from, None where it is not one as it came.
    """

    read: StreamRecord | None
    stream: str = ""
    document: bytes | None = None
    problem: Problem | None = None
    image: Item | None = None


@dataclass(frozen=True)
class Decisions:
    """An event's records decided; each has a document, a problem, or neither, for it is filtered.

    Attributes:
        records: the records, in the event's order.
        documents: by position, None where there is none.
        problems: why there never can be a document, by position.
        streams: positions of the documents, by the delivery stream that they are for.
        oldest: when the first of the changes happened, in epoch seconds; infinite for none.
        alone: by position, the records that were decided each on its own.
    """

    records: Sequence[Mapping[str, Any]]
    documents: Sequence[bytes | None]
    problems: Mapping[int, Problem]
    streams: Mapping[str, Sequence[int]]
    oldest: float
    alone: Mapping[int, Decision]

    @property
    def filtered(self) -> int:
        """How many records the settings want nothing of."""
        return self.documents.count(None) - len(self.problems)

    def change(self, position: int) -> Change:
        record = self.records[position]
        if position in self.alone:
            return Change(record, self.alone[position].read)
        return Change(record, _read(record))

    def image(self, position: int) -> Item | None:
        """The image that a document was written from, None where it is not one as it came."""
        if position in self.alone:
            return self.alone[position].image
        image: Item = self.records[position]["dynamodb"]["NewImage"]
        return image


def decide(records: Sequence[Mapping[str, Any]], rules: Rules) -> Decisions:
    """Decide every record of an event.

    Raises:
        SettingsError: the settings do not fit the records (no route, a key attribute dropped).
    """
    documents, oldest = _quick_documents(records, rules)
    alone = {i: decided(records[i], rules) for i, d in enumerate(documents) if d is None}
    streams = _streams(records, documents, rules.settings.routing)
    for position, decision in alone.items():
        documents[position] = decision.document
        if decision.document is not None:
            streams.setdefault(decision.stream, []).append(position)
    return Decisions(
        records=records,
        documents=documents,
        problems={i: d.problem for i, d in alone.items() if d.problem is not None},
        streams={stream: sorted(positions) for stream, positions in streams.items()},
        oldest=min([oldest, *_times(alone.values())]),
        alone=alone,
    )


def _quick_documents(records: Sequence[Mapping[str, Any]], rules: Rules) -> QuickDocuments:
    """The documents that are written many at once, where the rules look into no image."""
    if not (rules.plain and rules.by_table):
        return QuickDocuments([None] * len(records), inf)
    settings, redaction = rules.settings, rules.redaction
    redacted = [_redacted_record(record, redaction) for record in records] if redaction else records
    return quick_documents(redacted, settings.event_names, metadata=settings.options.metadata)


def _redacted_record(record: Mapping[str, Any], redaction: Redaction) -> Mapping[str, Any] | None:
    """The record with its keys and new image redacted, None where it is to be decided alone."""
    try:
        change = record["dynamodb"]
        keys, image = redaction.keys(change["Keys"]), redaction.image(change["NewImage"])
        if redaction.drops(keys):
            return None
        return {**record, "dynamodb": {**change, "Keys": keys, "NewImage": image}}
    except (KeyError, TypeError, UndecodableValueError):
        return None


def _streams(
    records: Sequence[Mapping[str, Any]], documents: Sequence[bytes | None], routing: Routing
) -> dict[str, list[int]]:
    """Positions of documents by delivery stream, where the record's table tells it."""
    streams: dict[str, list[int]] = {}
    written = [i for i, document in enumerate(documents) if document is not None]
    if not routing.tables:
        return {routing.default: written} if written else {}
    for position in written:
        arn = records[position].get("eventSourceARN")
        table = table_of(arn) if isinstance(arn, str) else ""
        streams.setdefault(route(routing, table, {}), []).append(position)
    return streams


def _read(record: Mapping[str, Any]) -> StreamRecord | None:
    try:
        return read_record(record)
    except UndecodableRecordError:
        return None


def _times(decisions: Iterable[Decision]) -> Iterator[float]:
    return (epoch_seconds(d.read.event_time) for d in decisions if d.read is not None)


def decided(record: Mapping[str, Any], rules: Rules) -> Decision:
    """Decide one record.

    Raises:
        SettingsError: the settings do not fit it.
    """
    read = None
    try:
        kinesis = isinstance(record, dict) and "kinesis" in record
        read = read_kinesis_record(record) if kinesis else read_record(record)
        return _decided(read, rules)
    except UndecodableRecordError as error:
        return Decision(read, problem=Problem("undecodable", str(error)))


def _decided(read: StreamRecord, rules: Rules) -> Decision:
    settings = rules.settings
    stream = destination(read, settings)
    if not stream:
        return Decision(read)
    wanted = prepared(read, rules) if rules.edits else read
    document = None if wanted is None else change_document(wanted, settings.options)
    image = read.keys if read.new_image is None else read.new_image
    return Decision(read, stream, document, image=image if rules.plain else None)


def sequence_number_of(record: Any) -> str:
    """The sequence number of a record that may be malformed, else an empty text."""
    for member, name in (("kinesis", "sequenceNumber"), ("dynamodb", "SequenceNumber")):
        body = record.get(member) if isinstance(record, Mapping) else None
        found = body.get(name) if isinstance(body, Mapping) else None
        if isinstance(found, str):
            return found
    return ""
