"""Data files of exports in Amazon Ion, as lines of DynamoDB JSON.

Types in Ion (Amazon DynamoDB developer guide, "DynamoDB table export output format"): sets are
lists with the annotation ``$dynamodb_SS``, ``$dynamodb_NS`` or ``$dynamodb_BS``, numbers are
decimals.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

SETS = {"$dynamodb_SS": "SS", "$dynamodb_NS": "NS", "$dynamodb_BS": "BS"}


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class IonValueError(ValueError):
    """The file is not Ion, or has a value that DynamoDB does not write."""


def ion_lines(source: Readable) -> Iterator[bytes]:
    """Each top-level value of an Ion stream, text or binary, as a line of DynamoDB JSON.

    Raises:
        IonValueError: the stream is not Ion, or DynamoDB does not write such a value.
    """
    # Slow to import, and rarely needed.
    from amazon.ion.exceptions import IonException
    from amazon.ion.simpleion import load

    try:
        # Reads the file value by value, not at once.
        for value in load(source, single_value=False, parse_eagerly=False):
            if not isinstance(value, Mapping):
                raise IonValueError(f"it has a {type(value).__name__} in place of an item")
            yield json.dumps(_document(value), ensure_ascii=False).encode() + b"\n"
    except IonException as error:
        raise IonValueError(f"it is not Ion: {error}") from error


def _document(members: Mapping[str, Any]) -> dict[str, Any]:
    """A line's members: ``Item``, or those of an incremental export, null if there is no image."""
    document = {}
    for name, value in members.items():
        tag, content = _typed(value)
        if tag not in ("M", "NULL"):
            raise IonValueError(f"{name} is not a struct")
        document[name] = content if tag == "M" else None
    return document


def _typed(value: Any) -> tuple[str, Any]:
    from amazon.ion.core import IonType

    kind = value.ion_type
    if kind is IonType.NULL:
        return "NULL", True
    if kind is IonType.STRING:
        return "S", str(value)
    if kind is IonType.BOOL:
        return "BOOL", bool(value)
    if kind in (IonType.DECIMAL, IonType.INT):
        return "N", str(Decimal(value))
    if kind is IonType.BLOB:
        return "B", b64encode(value).decode("ascii")
    if kind is IonType.STRUCT:
        return "M", {name: dict([_typed(member)]) for name, member in value.items()}
    if kind is IonType.LIST:
        return _list(value)
    raise IonValueError(f"DynamoDB has no values of the Ion type {kind.name}")


def _list(value: Any) -> tuple[str, Any]:
    annotations = [annotation.text for annotation in value.ion_annotations]
    elements = [_typed(element) for element in value]
    if not annotations:
        return "L", [dict([element]) for element in elements]
    tag = SETS.get(annotations[0]) if len(annotations) == 1 else None
    if tag is None or any(inside != tag[0] for inside, _ in elements):
        raise IonValueError(f"{annotations} is not a set of DynamoDB")
    return tag, [content for _, content in elements]
