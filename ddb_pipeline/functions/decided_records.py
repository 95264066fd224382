"""Stream records with values in the form of the delivery table's columns, as a user has decided."""

from collections.abc import Sequence

from ddb_pipeline.dynamodb.decided_items import DecidedItems, RefusedValueError
from ddb_pipeline.dynamodb.stream import (
    OLD_IMAGE_COLUMN,
    Images,
    StreamRecord,
    UndecodableRecordError,
)
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.type_decisions import TypeDecisions
from ddb_pipeline.hive.types import Column, HiveTypeError, StructType, parse_type
from ddb_pipeline.hive.undecodable import UndecodableValueError


class RefusedRecordError(UndecodableRecordError):
    """A change with a value that a decision keeps out of its column."""


class DecidedRecords:
    """Gives records the form of one delivery table's columns."""

    def __init__(self, decisions: TypeDecisions, columns: Sequence[Column], images: Images) -> None:
        self._names = frozenset(path[0] for path, _ in decisions.by_path)
        self._items = DecidedItems(decisions, columns)
        self._old_items = DecidedItems(decisions, _fields(columns, OLD_IMAGE_COLUMN))
        self._images = images

    def record(self, record: StreamRecord) -> StreamRecord:
        """The record with decided values in its delivered images.

        Raises:
            RefusedRecordError: a decision refuses a value.
            UndecodableRecordError: a decided value is not one of DynamoDB's.
            SettingsError: a decision is about a key of the table.
        """
        for name in record.keys:
            if column_name(name) in self._names:
                raise SettingsError(
                    f"TYPE_CONFLICTS names {name!r}, a key of table {record.table!r}: all its "
                    "values have one type, and identify the items. Remove its decision."
                )
        try:
            if self._images is Images.OLD:
                old = None if record.old_image is None else self._items.item(record.old_image)
                return record._replace(old_image=old)
            new = None if record.new_image is None else self._items.item(record.new_image)
        except RefusedValueError as error:
            raise RefusedRecordError(record.event_id, error.reason, error.path) from None
        except UndecodableValueError as error:
            raise UndecodableRecordError(record.event_id, error.reason, error.path) from None
        if self._images is Images.BOTH and record.old_image is not None:
            return record._replace(new_image=new, old_image=self._old_image(record.old_image))
        return record._replace(new_image=new)

    def _old_image(self, image: Item) -> Item:
        """The image beside the new one. What it has of refused values does not hold up the change
        that may correct them."""
        try:
            return self._old_items.item(image)
        except UndecodableValueError:
            return image


def _fields(columns: Sequence[Column], name: str) -> tuple[Column, ...]:
    """The fields of a column that is a struct, as columns."""
    for column in columns:
        if column.name == name:
            try:
                kind = parse_type(column.type)
            except HiveTypeError:
                return ()
            if isinstance(kind, StructType):
                return tuple(Column(field.name, str(field.type)) for field in kind.fields)
    return ()
