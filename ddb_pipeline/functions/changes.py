"""An event's records, each with the document to deliver and where, or why there is none."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import UndecodableValueError
from ddb_pipeline.dynamodb.stream import (
    Images,
    StreamRecord,
    UndecodableRecordError,
    change_document,
    event_id_of,
    read_kinesis_record,
    read_record,
)
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
    def fixed_stream(self) -> str:
        """Where every change goes, whatever is in it; empty where that is looked at."""
        settings, routing = self.settings, self.settings.routing
        looked_at = settings.attribute_filter or routing.attribute or routing.tables
        return "" if looked_at else routing.default

    @cached_property
    def plain(self) -> bool:
        """Whether a document is one image in the shape in which it came."""
        return self.transformer is None and self.settings.options.images is Images.NEW


class Change(NamedTuple):
    """One record of the event, decided.

    Exactly one of these holds: it has a ``document`` and a ``stream``; it has a ``problem``;
    it has neither, for it is filtered out. ``read`` is None where the record is malformed.
    ``image`` is the one that the document was written from, None where it is not one as it came.
    """

    record: Mapping[str, Any]
    sequence_number: str
    read: StreamRecord | None
    stream: str = ""
    document: bytes | None = None
    problem: Problem | None = None
    image: Item | None = None

    @property
    def filtered(self) -> bool:
        """Whether the settings want nothing of this change."""
        return self.document is None and self.problem is None

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


def read_changes(records: Iterable[Mapping[str, Any]], rules: Rules) -> list[Change]:
    """Decide every record of an event, in its order.

    Raises:
        SettingsError: the settings do not fit the records (no route, a key attribute dropped).
    """
    return [read_change(record, rules) for record in records]


def read_change(record: Mapping[str, Any], rules: Rules) -> Change:
    """Decide one record.

    Raises:
        SettingsError: the settings do not fit it.
    """
    read = None
    try:
        kinesis = isinstance(record, dict) and "kinesis" in record
        read = read_kinesis_record(record) if kinesis else read_record(record)
        return _decided(record, read, rules)
    except UndecodableRecordError as error:
        problem = Problem("undecodable", str(error))
        return Change(record, sequence_number_of(record), read, problem=problem)


def _decided(record: Mapping[str, Any], read: StreamRecord, rules: Rules) -> Change:
    settings = rules.settings
    if rules.fixed_stream and read.event_name in settings.event_names:
        stream = rules.fixed_stream
    else:
        stream = destination(read, settings)
    if not stream:
        return Change(record, read.sequence_number, read)
    wanted = prepared(read, rules) if rules.edits else read
    document = None if wanted is None else change_document(wanted, settings.options)
    image = read.keys if read.new_image is None else read.new_image
    written = image if rules.plain else None
    return Change(record, read.sequence_number, read, stream, document, None, written)


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
    for path in redaction.dropped:
        if len(path) == 1 and path[0] in record.keys:
            raise SettingsError(
                f"DROP_ATTRIBUTES names {path[0]!r}, a key of table {record.table!r}: without its "
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
