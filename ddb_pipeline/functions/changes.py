"""An event's records, each with the document to deliver and where, or why there is none."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import UndecodableValueError
from ddb_pipeline.dynamodb.stream import (
    Images,
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
from ddb_pipeline.functions.attributes import AttributeFilter, Redaction, matches, scalar_at
from ddb_pipeline.functions.stream_settings import Routing, SettingsError, StreamSettings

Transformer = Callable[[Item, StreamRecord], Item | None]
"""Takes an image in DynamoDB's typed form and its record; answers with the image to deliver. None
for the new image, or for the old one of a delete, delivers nothing of the change."""


class Problem(NamedTuple):
    """Why a change can never be delivered; the reason holds no value of the item."""

    code: str
    reason: str


NO_REDACTION = Redaction()


@dataclass(frozen=True)
class Rules:
    """The settings with everything looked up that they name."""

    settings: StreamSettings
    redaction: Redaction = NO_REDACTION
    transformer: Transformer | None = None

    @cached_property
    def edits(self) -> bool:
        """Whether images are changed on the way."""
        return self.transformer is not None or bool(self.redaction)

    @cached_property
    def by_table(self) -> bool:
        """Whether a change's table alone tells where it goes."""
        return not (self.settings.attribute_filter or self.settings.routing.attribute)

    @cached_property
    def plain(self) -> bool:
        """Whether a document is one image in the shape in which it came."""
        return self.transformer is None and self.settings.options.images is Images.NEW


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


def destination(read: StreamRecord, settings: StreamSettings) -> str:
    """The delivery stream for a change, empty where the settings filter it out.

    Raises:
        SettingsError: no route claims it and there is no default.
    """
    if read.event_name not in settings.event_names:
        return ""
    if settings.attribute_filter and not wanted_by(settings.attribute_filter, read):
        return ""
    return route(settings.routing, read.table, read.new_image or read.old_image or read.keys)


def wanted_by(attribute_filter: AttributeFilter, read: StreamRecord) -> bool:
    """Whether an image of a change matches the filter, before or after the change.

    An item that ceases to match is delivered once more, and so is a delete of which only the keys
    are known: else what was delivered of the item would stand for ever.
    """
    images = [image for image in (read.new_image, read.old_image) if image is not None]
    return not images or any(matches(image, attribute_filter) for image in images)


def sequence_number_of(record: Any) -> str:
    """The sequence number of a record that may be malformed, else an empty text."""
    for member, name in (("kinesis", "sequenceNumber"), ("dynamodb", "SequenceNumber")):
        body = record.get(member) if isinstance(record, Mapping) else None
        found = body.get(name) if isinstance(body, Mapping) else None
        if isinstance(found, str):
            return found
    return ""


def route(routing: Routing, table: str, image: Item) -> str:
    """The delivery stream for an image of a table.

    Raises:
        SettingsError: no route claims it and there is no default.
    """
    if routing.attribute:
        value = scalar_at(image, routing.attribute)
        if value is not None and value in routing.attribute_values:
            return routing.attribute_values[value]
    stream = routing.tables.get(table, routing.default)
    if not stream:
        raise SettingsError(
            f"No route for a change of table {table!r}: add it to TABLE_ROUTES, or set "
            "DELIVERY_STREAM as the default."
        )
    return stream


def prepared(record: StreamRecord, rules: Rules) -> StreamRecord | None:
    """The record with redaction and transformer applied, None where the latter drops it.

    Raises:
        UndecodableRecordError: a value cannot be pseudonymised, or the transformer failed.
        SettingsError: a key attribute is dropped.
    """
    try:
        record = _redacted(record, rules.redaction)
    except UndecodableValueError as error:
        raise UndecodableRecordError(record.event_id, error.reason, error.path) from None
    if rules.transformer is None:
        return record
    new, old = (
        None if image is None else _transformed(image, record, rules.transformer)
        for image in (record.new_image, record.old_image)
    )
    if record.new_image is not None and new is None:
        return None
    if record.new_image is None and record.old_image is not None and old is None:
        return None
    # An old image that alone is dropped leaves an empty one: the change itself is wanted.
    kept_old = {} if old is None and record.old_image is not None else old
    return record._replace(new_image=new, old_image=kept_old)


def _redacted(record: StreamRecord, redaction: Redaction) -> StreamRecord:
    name = redaction.drops(record.keys)
    if name:
        raise SettingsError(
            f"DROP_ATTRIBUTES names {name!r}, a key of table {record.table!r}: without its "
            "keys a change cannot be told from others. Pseudonymise it instead."
        )
    return record._replace(
        keys=redaction.keys(record.keys),
        new_image=None if record.new_image is None else redaction.image(record.new_image),
        old_image=None if record.old_image is None else redaction.image(record.old_image),
    )


def _transformed(image: Item, record: StreamRecord, transformer: Transformer) -> Item | None:
    try:
        return transformer(image, record)
    except Exception as error:
        # Whatever a user's function raises: its record goes to the dead letters, whole, and the
        # others go on. The text may hold values of the item, so only the type is told.
        reason = f"the transformer raised {type(error).__name__}"
        raise UndecodableRecordError(record.event_id, reason) from error
