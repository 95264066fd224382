"""Stream records of a DynamoDB table as change documents: one JSON object for each change.

Reads the records of a Lambda event (DynamoDB Streams, or Kinesis Data Streams for DynamoDB) and
those that boto3's ``get_records`` returns.
"""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import quoted
from ddb_pipeline.dynamodb.targets import ANY
from ddb_pipeline.dynamodb.values import Item, Writing, item_json
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.undecodable import UndecodableValueError

OLD_IMAGE_COLUMN = "ddb_old_image"
"""The item before the change, as an object, where a document has both images. No attribute gets a
column that begins with ``ddb_`` (``ddb_pipeline.hive.names``)."""

TTL_PRINCIPAL = "dynamodb.amazonaws.com"
EVENT_NAMES = frozenset(("INSERT", "MODIFY", "REMOVE"))

_SEQUENCE_NUMBER = re.compile(r"[0-9]{1,129}").fullmatch
"""DynamoDB's sequence numbers have 21 to 40 digits, those of Kinesis up to 129 (API references)."""
_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,255}").fullmatch
_ISO_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_YEAR_10000 = 253_402_300_800
"""Epoch seconds at which the years that datetime and Hive have end."""

_METADATA = ",".join(f'"{name}":%s' for name in DELIVERY_NAMES)
_METADATA_NAMES = frozenset(DELIVERY_NAMES)


class Images(Enum):
    """Which image of the item a change document carries."""

    NEW = "new"
    OLD = "old"
    BOTH = "both"


class UndecodableRecordError(ValueError):
    """A stream record from which no change document can be made.

    Attributes:
        event_id: the record's ``eventID``, empty where it has none.
        path: attribute path of the offending value, empty where the record itself is malformed.
        reason: what is wrong, without any value of the item.
    """

    def __init__(self, event_id: str, reason: str, path: str = "") -> None:
        super().__init__(event_id, reason, path)
        self.event_id = event_id
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        where = f", attribute {self.path!r}" if self.path else ""
        return f"Stream record {self.event_id or '(no eventID)'}{where}: {self.reason}."


@dataclass(frozen=True, slots=True)
class DocumentOptions:
    """What goes into change documents.

    Attributes:
        images: the image that becomes the document's own members.
        metadata: whether the metadata columns are written, and deletes with them. Without it a
            document is a plain image, and a change without that image (a delete, for new images)
            has no document.
    """

    images: Images = Images.NEW
    metadata: bool = True


class StreamRecord(NamedTuple):
    """One change of one item.

    ``event_time`` is epoch seconds, or epoch milliseconds where the stream is that precise (see
    ``hive.epoch``); None where the record has no creation time, which the API does not promise.
    ``sequence_number`` orders the changes of an item as an integer; empty where a change does not
    come from a stream. ``table`` is empty where the record does not name it.
    """

    event_id: str
    event_name: str
    sequence_number: str
    event_time: int | None
    table: str
    expired: bool
    keys: Item
    new_image: Item | None
    old_image: Item | None


def read_record(record: Mapping[str, Any], *, table: str = "") -> StreamRecord:
    """A record of a DynamoDB stream, from a Lambda event or from ``get_records``.

    ``table`` names the source where the record does not (``get_records``).

    Raises:
        UndecodableRecordError: it is not a stream record.
    """
    try:
        event_id = record["eventID"]
        event_name = record["eventName"]
        change = record["dynamodb"]
        number = change["SequenceNumber"]
        keys = change["Keys"]
        identity = record.get("userIdentity")
        arn = record.get("eventSourceARN")
        stream_record = StreamRecord(
            event_id,
            event_name,
            number,
            _creation_time(change.get("ApproximateCreationDateTime")),
            table_of(arn) if arn and isinstance(arn, str) else table,
            False if identity is None else is_ttl_delete(identity),
            keys,
            change.get("NewImage"),
            change.get("OldImage"),
        )
        if not (
            type(event_id) is str
            and event_id
            and type(event_name) is str
            and is_sequence_number(number)
            and (type(keys) is dict or isinstance(keys, Mapping))
            and keys
        ):
            raise TypeError("eventID, eventName, SequenceNumber or Keys is of another type")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UndecodableRecordError(event_id_of(record), _malformed(error)) from None
    if event_name not in EVENT_NAMES:
        raise UndecodableRecordError(event_id, f"its event name is none of {sorted(EVENT_NAMES)}")
    return stream_record


def read_kinesis_record(record: Mapping[str, Any]) -> StreamRecord:
    """A record of Kinesis Data Streams for DynamoDB, from a Lambda event.

    Its sequence number is Kinesis' own; ``event_id`` identifies a change that arrives twice, and
    the finer ``event_time`` orders changes that arrive out of order (Amazon DynamoDB developer
    guide, "Using Kinesis Data Streams to capture changes").

    Raises:
        UndecodableRecordError: it is not such a record.
    """
    try:
        kinesis = record["kinesis"]
        body = json.loads(b64decode(kinesis["data"], validate=True))
        change = body["dynamodb"]
        change = {**change, "SequenceNumber": kinesis["sequenceNumber"]}
        if change.get("ApproximateCreationDateTimePrecision") == "MICROSECOND":
            moment: Any = change.get("ApproximateCreationDateTime")
            is_number = isinstance(moment, int | float) and not isinstance(moment, bool)
            change["ApproximateCreationDateTime"] = moment // 1000 if is_number else moment
        body = {**body, "dynamodb": change}
    except (KeyError, TypeError, AttributeError, ValueError, Base64Error, RecursionError) as error:
        raise UndecodableRecordError(event_id_of(record), _malformed(error)) from None
    return read_record(body, table=_checked_table_name(body.get("tableName")))


def lambda_record(record: StreamRecord) -> dict[str, Any]:
    """The change as a record of a Lambda event, from which ``read_record`` reads it again.

    It has nothing but what the change has, whatever other members the arrived record had.
    """
    change = {
        "ApproximateCreationDateTime": record.event_time,
        "Keys": record.keys,
        "SequenceNumber": record.sequence_number,
        "NewImage": record.new_image,
        "OldImage": record.old_image,
    }
    found: dict[str, Any] = {
        "eventID": record.event_id,
        "eventName": record.event_name,
        "dynamodb": {name: value for name, value in change.items() if value is not None},
    }
    if record.table:
        found["eventSourceARN"] = f"arn:aws:dynamodb:::table/{record.table}"
    if record.expired:
        found["userIdentity"] = {"type": "Service", "principalId": TTL_PRINCIPAL}
    return found


def change_document(
    record: StreamRecord,
    options: DocumentOptions = DocumentOptions(),
    writing: Writing | None = None,
) -> bytes | None:
    """The record as one JSON object in UTF-8.

    The members are those of the new image, or of the keys for a delete. With old images they are
    those of the old image, or of the keys for an insert. With both images, the old image is one
    more member, ``OLD_IMAGE_COLUMN``. Metadata members come first; ``ddb_keys`` is the text of a
    JSON object of the key columns in the order of the attributes' names, equal for equal keys.

    Args:
        record: the change.
        options: which images and metadata the document has.
        writing: the table's columns; collects what is found.

    Returns:
        The document, or None for a change that has none under these options.

    Raises:
        UndecodableRecordError: a value is not DynamoDB's, or the record lacks an image that the
            options need.
    """
    primary = _primary_image(record, options)
    if primary is None:
        return None
    writing = writing or Writing()
    try:
        members = [_metadata_members(record, writing)] if options.metadata else []
        members.append(item_json(primary, writing)[1:-1])
        if options.images is Images.BOTH:
            members.append(_old_image_member(record, writing))
    except UndecodableValueError as error:
        raise UndecodableRecordError(record.event_id, error.reason, error.path) from None
    # A lone surrogate has no UTF-8; its backslash escape is JSON's own.
    text = "{" + ",".join(filter(None, members)) + "}"
    return text.encode("utf-8", "backslashreplace")


def _primary_image(record: StreamRecord, options: DocumentOptions) -> Item | None:
    """The image, or the keys in its place, whose members become those of the document."""
    old = options.images is Images.OLD
    image = record.old_image if old else record.new_image
    if image is not None:
        return image
    if record.event_name != ("INSERT" if old else "REMOVE"):
        raise _missing_image(record, "OldImage" if old else "NewImage")
    return record.keys if options.metadata else None


def _metadata_members(record: StreamRecord, writing: Writing) -> str:
    """The metadata columns as members of a JSON object, without braces."""
    fields = writing.columns.fields
    if fields is not None and not fields.keys() >= _METADATA_NAMES:
        writing.lacks_column = True
    keys = record.keys
    if len(keys) > 1:
        keys = dict(sorted(keys.items()))
    return _METADATA % (
        quoted(record.event_id),
        quoted(record.event_name),
        quoted(record.sequence_number) if record.sequence_number else "null",
        "null" if record.event_time is None else record.event_time,
        quoted(item_json(keys, writing, ANY)),
        "true" if record.expired else "false",
    )


def is_ttl_delete(identity: Mapping[str, Any]) -> bool:
    """Whether a record's ``userIdentity`` states that time to live deleted the item.

    Lambda events spell the members in lower case, boto3 capitalises them. Records of a replica of
    a global table have no such identity (Amazon DynamoDB developer guide, "DynamoDB Streams and
    TTL").
    """
    kind = identity.get("type", identity.get("Type"))
    principal = identity.get("principalId", identity.get("PrincipalId"))
    return bool(kind == "Service" and principal == TTL_PRINCIPAL)


@lru_cache(maxsize=64)
def table_of(arn: str) -> str:
    """The table's name in a table's or stream's ARN (``arn:...:table/NAME/stream/LABEL``).

    Empty for any other text.
    """
    return _checked_table_name(arn.partition(":table/")[2].partition("/")[0])


def _checked_table_name(name: Any) -> str:
    return name if isinstance(name, str) and _TABLE_NAME(name) else ""


def is_sequence_number(number: Any) -> bool:
    """Whether a value is a sequence number of DynamoDB or Kinesis: the text of an integer."""
    return isinstance(number, str) and _SEQUENCE_NUMBER(number) is not None


def epoch(moment: Any) -> int:
    """Epoch seconds of a record's creation time, or milliseconds where it has a fraction.

    Args:
        moment: a number as in Lambda events, a datetime as in boto3's responses, or ISO 8601 text
            with an offset as the AWS CLI prints it.

    Raises:
        ValueError: it is none of these, or is not in the years 1970 to 9999.
    """
    if isinstance(moment, str):
        moment = _iso_time(moment)
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    if isinstance(moment, float):
        time = int(moment) if moment.is_integer() else round(moment * 1000)
    elif isinstance(moment, int) and not isinstance(moment, bool):
        time = moment
    else:
        raise ValueError("not a time")
    if 0 <= time < _YEAR_10000 or MILLISECONDS_FROM <= time < _YEAR_10000 * 1000:
        return time
    raise ValueError("outside of the years 1970 to 9999")


def _iso_time(text: str) -> datetime:
    match = _ISO_TIME(text)
    if match is None:
        raise ValueError("not an ISO 8601 time with an offset")
    seconds, fraction, offset = match.groups()
    # Python 3.10 reads neither "Z" nor fractions of any length.
    moment = datetime.fromisoformat(seconds + ("+00:00" if offset == "Z" else offset))
    return moment.replace(microsecond=int((fraction or "0").ljust(6, "0")[:6]))


class _CreationTimeError(ValueError):
    """A creation time that cannot be read."""


def _creation_time(moment: Any) -> int | None:
    try:
        return None if moment is None else _cached_epoch(moment)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise _CreationTimeError from error


# Thousands of changes can have the same creation time. `typed`, as True equals 1 and is no time.
_cached_epoch = lru_cache(maxsize=64, typed=True)(epoch)


def event_id_of(record: Any) -> str:
    """The ``eventID`` of a record that may be malformed, else an empty text."""
    found = record.get("eventID") if isinstance(record, Mapping) else None
    return found if isinstance(found, str) else ""


def _old_image_member(record: StreamRecord, writing: Writing) -> str:
    if record.old_image is None:
        if record.event_name != "INSERT":
            raise _missing_image(record, "OldImage")
        return ""
    image = item_json(record.old_image, writing, writing.column(OLD_IMAGE_COLUMN))
    return f'"{OLD_IMAGE_COLUMN}":{image}'


def _missing_image(record: StreamRecord, image: str) -> UndecodableRecordError:
    return UndecodableRecordError(
        record.event_id,
        f"a {record.event_name} without {image}; enable the table's stream with view type "
        "NEW_AND_OLD_IMAGES, or choose another image",
    )


def _malformed(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, _CreationTimeError):
        return (
            "its ApproximateCreationDateTime is neither an epoch time nor an ISO 8601 time with an "
            "offset, from 1970 to 9999"
        )
    if isinstance(error, Base64Error):
        return "its data is not base64"
    if isinstance(error, json.JSONDecodeError):
        return "its data is not JSON"
    return "it is not shaped like a stream record"
