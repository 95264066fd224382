"""The identity of a change, equal in the stream, in a row and in an error object.

It is the change's event id where the lake has that column, and else the item's key as delivered,
which may be a pseudonym.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any

from ddb_pipeline.dynamodb.stream import StreamRecord
from ddb_pipeline.hive.names import EVENT_ID, column_name

Identity = tuple[str, ...]
"""The event id, or the values of the key's columns, as text."""

_EXACT = Context(prec=400)
"""Enough digits for every DynamoDB number and every double."""


def identity(values: Iterable[Any]) -> Identity:
    """The identity of values that come from JSON or from Parquet."""
    return tuple(_text(value) for value in values)


def of_change(record: StreamRecord, columns: Sequence[str]) -> Identity | None:
    """The identity of a change as it is delivered: ``record`` after redaction and transformer.

    Returns None for a delete, if changes are identified by key: only an item's new image becomes a
    row with its key.
    """
    if tuple(columns) == (EVENT_ID,):
        return (record.event_id,)
    if record.new_image is None:
        return None
    keys = {column_name(name): value for name, value in record.keys.items()}
    return tuple(_key_text(keys[column]) for column in columns)


def of_document(document: Any, columns: Sequence[str]) -> Identity | None:
    """The identity of a JSON document; None where it lacks one of the columns."""
    if not isinstance(document, Mapping):
        return None
    values = {name.lower(): value for name, value in document.items()}
    if any(column not in values for column in columns):
        return None
    return identity(values[column] for column in columns)


def digest(found: Identity) -> str:
    """An identity as 32 hexadecimal digits, from which a key cannot be read."""
    return blake2b("\0".join(found).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _key_text(value: Mapping[str, Any]) -> str:
    ((tag, content),) = value.items()
    if tag == "N":
        return _canonical_number(content)
    if isinstance(content, bytes):
        return b64encode(content).decode("ascii")
    return str(content)


def _text(value: Any) -> str:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return _canonical_number(str(value)) if is_number else str(value)


def _canonical_number(text: str) -> str:
    """One text for equal numbers: ``1.5`` for ``1.50`` and ``15E-1``."""
    try:
        number = _EXACT.create_decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    return format(number.normalize(_EXACT), "f") if number else "0"
