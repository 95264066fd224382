"""DynamoDB attribute values as JSON text, exactly.

Text is built directly instead of through Python numbers: an ``N`` has up to 38 significant digits,
which neither a float nor ``json.dumps`` keeps (Decimal would need a detour through float), and
copying it is also the fastest way.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from ddb_pipeline.hive.names import column_names

AttributeValue = Mapping[str, Any]
"""One value in DynamoDB's typed form: a mapping of exactly one type tag, ``{"S": "a"}``."""
Item = Mapping[str, AttributeValue]

CACHED_NAMES = 128
"""Levels with more attributes than this are named anew each time: their shapes rarely recur."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_ANY_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?").fullmatch
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch

_quoted = encode_basestring


class UndecodableValueError(ValueError):
    """A value is not one that DynamoDB writes.

    Attributes:
        path: attribute path from the item down, such as ``address.lines[2]``; empty for the item.
        reason: what is wrong, without the value itself, which may be personal data.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        where = f"Attribute {self.path!r}" if self.path else "The item"
        return f"{where} cannot be decoded: {self.reason}."

    def within(self, step: str) -> "UndecodableValueError":
        """The same error seen from one level further up."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return UndecodableValueError(self.reason, f"{step}{joint}{self.path}")


def json_text(value: AttributeValue) -> str:
    """An attribute value as JSON text.

    Numbers keep their digits, changed only where JSON's grammar demands it (``+5`` → ``5``,
    ``.5`` → ``0.5``); sets and lists become arrays in the order given; binary becomes base64;
    member names of maps become column names (``ddb_pipeline.hive.names``), so that a record
    matches the catalog's struct fields.

    Raises:
        UndecodableValueError: not exactly one known type tag, or its content is of another type.
    """
    try:
        [(tag, content)] = value.items()
        write = _WRITERS[tag]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise UndecodableValueError(_tag_problem(value)) from None
    return write(content)


def item_json(item: Item) -> str:
    """An item as JSON text, attribute names turned into column names.

    Raises:
        UndecodableValueError: a value is not one of DynamoDB's; the error names its path.
    """
    return "{" + item_members(item) + "}"


def item_members(item: Item) -> str:
    """An item's members without the braces, to stand among others in one JSON object."""
    try:
        return _members(item)
    except RecursionError:
        raise UndecodableValueError("nested deeper than DynamoDB allows (32 levels)") from None


def column_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each attribute name of one level as the JSON text that goes before its value."""
    columns = column_names(names)
    return tuple([_quoted(columns[name]) + ":" for name in names])


_cached_labels = lru_cache(maxsize=1024)(column_labels)


def _members(item: Item) -> str:
    try:
        names = tuple(item)
        labels = _cached_labels(names) if len(names) <= CACHED_NAMES else column_labels(names)
        values = item.values()
    except (TypeError, AttributeError):
        raise UndecodableValueError(f"expected an object, not {_kind(item)}") from None
    parts = []
    for label, value in zip(labels, values):  # noqa: B905 - strict= costs a tenth of the time
        try:
            [(tag, content)] = value.items()
            if tag == "S":
                parts.append(label + _quoted(content))
            elif tag == "N" and _JSON_NUMBER(content):
                parts.append(label + content)
            else:
                parts.append(label + _WRITERS[tag](content))
        except UndecodableValueError as error:
            raise error.within(names[len(parts)]) from None
        except (KeyError, ValueError, TypeError, AttributeError):
            raise UndecodableValueError(_problem(value), names[len(parts)]) from None
    return ",".join(parts)


def _array(elements: list[str]) -> str:
    return "[" + ",".join(elements) + "]"


def _string(content: Any) -> str:
    if isinstance(content, str):
        return _quoted(content)
    raise UndecodableValueError(f"S holds {_kind(content)}, not a string")


def _number(content: Any) -> str:
    if not isinstance(content, str):
        raise UndecodableValueError(f"N holds {_kind(content)}, not the text of a number")
    if _JSON_NUMBER(content):
        return content
    match = _ANY_NUMBER(content)
    if match is None or not (match[2] or match[3]):
        raise UndecodableValueError("N holds text that is not a number")
    sign = "-" if match[1] == "-" else ""
    whole = match[2].lstrip("0") or "0"
    fraction = f".{match[3]}" if match[3] else ""
    return f"{sign}{whole}{fraction}{match[4] or ''}"


def _binary(content: Any) -> str:
    # boto3 gives bytes, its resource layer a Binary with the bytes in `value`; Lambda events and
    # exports give base64 text.
    if isinstance(content, str):
        if _BASE64(content):
            return f'"{content}"'
        raise UndecodableValueError("B holds text that is not base64")
    data = getattr(content, "value", content)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return f'"{b64encode(data).decode("ascii")}"'
    raise UndecodableValueError(f"B holds {_kind(content)}, neither bytes nor base64 text")


def _boolean(content: Any) -> str:
    if content is True:
        return "true"
    if content is False:
        return "false"
    raise UndecodableValueError(f"BOOL holds {_kind(content)}, not a boolean")


def _null(content: Any) -> str:
    if content is True:
        return "null"
    raise UndecodableValueError("NULL holds something else than true")


def _list(content: Any) -> str:
    return _elements("L", content, json_text)


def _map(content: Any) -> str:
    return "{" + _members(content) + "}"


def _elements(tag: str, content: Any, write: Callable[[Any], str]) -> str:
    if not isinstance(content, (list, tuple, set, frozenset)):
        raise UndecodableValueError(f"{tag} holds {_kind(content)}, not a list")
    parts: list[str] = []
    try:
        for element in content:
            parts.append(write(element))
    except UndecodableValueError as error:
        raise error.within(f"[{len(parts)}]") from None
    return _array(parts)


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "S": _string,
    "N": _number,
    "B": _binary,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": lambda content: _elements("SS", content, _string),
    "NS": lambda content: _elements("NS", content, _number),
    "BS": lambda content: _elements("BS", content, _binary),
    "L": _list,
    "M": _map,
}


def _kind(content: Any) -> str:
    return "nothing" if content is None else f"a value of type {type(content).__name__}"


def _tag_problem(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"expected an object with one type tag, not {_kind(value)}"
    if len(value) != 1:
        return f"expected one type tag, found {len(value)}"
    return f"its type tag is none of {', '.join(_WRITERS)}"


def _problem(value: Any) -> str:
    """Why writing a member failed, when it failed outside of a typed writer."""
    problem = _tag_problem(value)
    if isinstance(value, Mapping) and len(value) == 1:
        [(tag, content)] = value.items()
        if tag in ("S", "N"):
            try:
                _WRITERS[tag](content)
            except UndecodableValueError as error:
                return error.reason
    return problem
