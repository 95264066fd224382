"""Applies the settings to a record: where it goes, and how it is edited."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from ddb_pipeline.dynamodb.stream import StreamRecord, UndecodableRecordError
from ddb_pipeline.dynamodb.values import TOO_DEEP, Item
from ddb_pipeline.functions.attributes import (
    AttributeFilter,
    Redaction,
    matches,
    scalar_at,
)
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.stream_settings import Routing, StreamSettings
from ddb_pipeline.hive.attribute_paths import AttributePath
from ddb_pipeline.hive.undecodable import UndecodableValueError

Transformer = Callable[[Item, StreamRecord], Item | None]
"""Takes an image in DynamoDB's typed form and its record, and returns the image to deliver. If it
returns None for the new image, or for the old image of a delete, the change is not delivered."""

NO_REDACTION = Redaction()


@dataclass(frozen=True)
class Rules:
    """The settings, and the objects that they name."""

    settings: StreamSettings
    redaction: Redaction = NO_REDACTION
    transformer: Transformer | None = None

    @cached_property
    def edits(self) -> bool:
        """Whether images are edited."""
        return self.transformer is not None or bool(self.redaction)


def destination(record: StreamRecord, settings: StreamSettings) -> str:
    """The delivery stream for a change; empty where the settings filter it out.

    Raises:
        SettingsError: no route matches and there is no default.
        UndecodableRecordError: the same, for a record that names no table.
    """
    if record.event_name not in settings.event_names:
        return ""
    if settings.attribute_filter and not matches_filter(settings.attribute_filter, record):
        return ""
    image = record.new_image or record.old_image or record.keys
    stream = route(settings.routing, record.table, image)
    if stream:
        return stream
    if not record.table:
        raise UndecodableRecordError(
            record.event_id, "it names no table, and there is no default delivery stream"
        )
    raise SettingsError(
        f"No route for a change of table {record.table!r}: add it to TABLE_ROUTES, or set "
        "DELIVERY_STREAM as the default."
    )


def matches_filter(attribute_filter: AttributeFilter, record: StreamRecord) -> bool:
    """Whether a change matches the filter: its image before or after the change does.

    A change after which the item no longer matches is delivered, and so is a delete of which only
    the keys are known: otherwise the lake would keep the item's last matching state.
    """
    images = [image for image in (record.new_image, record.old_image) if image is not None]
    return not images or any(matches(image, attribute_filter) for image in images)


def route(routing: Routing, table: str, image: Item) -> str:
    """The delivery stream for an image of a table; empty where no route matches."""
    if routing.attribute:
        value = scalar_at(image, routing.attribute)
        if value is not None and value in routing.attribute_values:
            return routing.attribute_values[value]
    return routing.tables.get(table, routing.default)


def edited(
    record: StreamRecord, rules: Rules, pseudonyms: Collection[AttributePath] = ()
) -> StreamRecord | None:
    """The record after redaction and transformer; None where the transformer drops the change.

    Args:
        record: the record.
        rules: how to edit it.
        pseudonyms: paths of values that are pseudonyms already.

    Raises:
        UndecodableRecordError: a value cannot be redacted, or the transformer failed.
        SettingsError: a key attribute is dropped.
    """
    if not rules.edits:
        return record
    record = redacted(record, rules.redaction.except_pseudonyms(pseudonyms))
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
    # A dropped old image beside a new image becomes an empty one: the change is still delivered.
    old_image = {} if old is None and record.old_image is not None else old
    return record._replace(new_image=new, old_image=old_image)


def redacted(record: StreamRecord, redaction: Redaction) -> StreamRecord:
    """The record without dropped attributes and with pseudonyms, in its keys too.

    Raises:
        UndecodableRecordError: a value cannot be redacted.
        SettingsError: a key attribute is dropped.
    """
    name = redaction.drops(record.keys)
    if name:
        raise SettingsError(
            f"DROP_ATTRIBUTES names {name!r}, a key of table {record.table!r}: without its "
            "key a changed item cannot be identified. Pseudonymise it instead."
        )
    try:
        return record._replace(
            keys=redaction.keys(record.keys),
            new_image=None if record.new_image is None else redaction.image(record.new_image),
            old_image=None if record.old_image is None else redaction.image(record.old_image),
        )
    except UndecodableValueError as error:
        raise UndecodableRecordError(record.event_id, error.reason, error.path) from None
    except RecursionError:
        raise UndecodableRecordError(record.event_id, TOO_DEEP) from None


def _transformed(image: Item, record: StreamRecord, transformer: Transformer) -> Item | None:
    try:
        return transformer(image, record)
    except Exception as error:
        # A user's function may raise any error: the record becomes a dead letter, and the others
        # are delivered. The error's text may contain values of the item, so it is left out.
        reason = f"the transformer raised {type(error).__name__}"
        raise UndecodableRecordError(record.event_id, reason) from error
