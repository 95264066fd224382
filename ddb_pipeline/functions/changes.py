"""An event's records, each with the document to deliver and where, or why there is none."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.stream import (
    StreamRecord,
    UndecodableRecordError,
    age_seconds,
    change_document,
    event_id_of,
    read_kinesis_record,
    read_record,
)
from ddb_pipeline.dynamodb.values import Item, UndecodableValueError
from ddb_pipeline.functions.attributes import Redaction, matches, scalar_at
from ddb_pipeline.functions.stream_settings import Routing, SettingsError, StreamSettings

Transformer = Callable[[Item, StreamRecord], Item | None]
"""Takes an image in DynamoDB's typed form and its record; answers with the image to deliver, or
None to deliver nothing of this change."""


class Problem(NamedTuple):
    """Why a change can never be delivered; the reason holds no value of the item."""

    code: str
    reason: str


NO_REDACTION = Redaction()


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings with everything looked up that they name."""

    settings: StreamSettings
    redaction: Redaction = NO_REDACTION
    transformer: Transformer | None = None


class Change(NamedTuple):
    """One record of the event, decided.

    Exactly one of these holds: it has a ``document`` and a ``stream``; it has a ``problem``;
    it has neither, for it is filtered out.
    """

    record: Mapping[str, Any]
    sequence_number: str
    event_id: str
    table: str
    event_time: int
    age: float
    stream: str = ""
    document: bytes | None = None
    problem: Problem | None = None

    @property
    def filtered(self) -> bool:
        """Whether the settings want nothing of this change."""
        return self.document is None and self.problem is None


def read_changes(
    records: Iterable[Mapping[str, Any]], rules: Rules, now: float
) -> Iterator[Change]:
    """Decide every record of an event, in its order.

    Raises:
        SettingsError: the settings do not fit the records (no route, a key attribute dropped).
    """
    for record in records:
        kinesis = isinstance(record, Mapping) and "kinesis" in record
        sequence_number = _sequence_number(record, "kinesis" if kinesis else "dynamodb")
        try:
            read = read_kinesis_record(record) if kinesis else read_record(record)
        except UndecodableRecordError as error:
            problem = Problem("undecodable", str(error))
            yield Change(record, sequence_number, event_id_of(record), "", 0, 0.0, problem=problem)
            continue
        change = Change(
            record,
            sequence_number,
            read.event_id,
            read.table,
            read.event_time,
            age_seconds(read, now),
        )
        yield _decided(change, read, rules)


def _decided(change: Change, read: StreamRecord, rules: Rules) -> Change:
    settings = rules.settings
    if read.event_name not in settings.event_names:
        return change
    try:
        image = read.new_image or read.old_image or read.keys
        if settings.attribute_filter and not matches(image, settings.attribute_filter):
            return change
        stream = route(settings.routing, read.table, image)
        wanted = prepared(read, rules)
        document = None if wanted is None else change_document(wanted, settings.options)
    except UndecodableRecordError as error:
        return change._replace(problem=Problem("undecodable", str(error)))
    return change._replace(stream=stream, document=document)


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
    if not rules.redaction and rules.transformer is None:
        return record
    try:
        record = _redacted(record, rules.redaction)
    except UndecodableValueError as error:
        raise UndecodableRecordError(record.event_id, error.reason, error.path) from None
    if rules.transformer is None:
        return record
    images = [
        None if image is None else _transformed(image, record, rules.transformer)
        for image in (record.new_image, record.old_image)
    ]
    dropped = [before is not None for before in (record.new_image, record.old_image)]
    if any(was and image is None for was, image in zip(dropped, images, strict=True)):
        return None
    return record._replace(new_image=images[0], old_image=images[1])


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


def _sequence_number(record: Any, member: str) -> str:
    body = record.get(member) if isinstance(record, Mapping) else None
    name = "sequenceNumber" if member == "kinesis" else "SequenceNumber"
    found = body.get(name) if isinstance(body, Mapping) else None
    return found if isinstance(found, str) else ""
