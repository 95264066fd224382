"""DynamoDB attribute values as JSON text, exactly.

Text is built directly instead of through Python numbers: an ``N`` has up to 38 significant digits,
which neither a float nor ``json.dumps`` keeps (Decimal would need a detour through float), and
copying it is also the fastest way.

There are two writers of the same text. The quick one checks no more than it needs to be sure of
its result and gives up on anything unusual; the careful one then either normalises a number or
names the path of what is wrong.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from json.decoder import JSONDecoder
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


class _UnusualError(Exception):
    """The quick writer gives up; the careful one knows why."""


# What the quick writer meets where an item is not what it looks like.
_GIVE_UP = (_UnusualError, KeyError, ValueError, TypeError, AttributeError, RecursionError)


def json_text(value: AttributeValue) -> str:
    """An attribute value as JSON text.

    Numbers keep their digits, changed only where JSON's grammar demands it (``+5`` → ``5``,
    ``.5`` → ``0.5``); sets and lists become arrays in the order given; binary becomes base64;
    member names of maps become column names (``ddb_pipeline.hive.names``), so that a record
    matches the catalog's struct fields.

    Raises:
        UndecodableValueError: not exactly one known type tag, or its content is of another type.
    """
    return _bounded(_value, value)


def item_json(item: Item) -> str:
    """An item as JSON text, attribute names turned into column names.

    Raises:
        UndecodableValueError: a value is not one of DynamoDB's; the error names its path.
    """
    return "{" + item_members(item) + "}"


def item_members(item: Item) -> str:
    """An item's members without the braces, to stand among others in one JSON object."""
    numbers: list[str] = []
    try:
        text = _quick_members(item, numbers)
        if not numbers or all_json_numbers(numbers):
            return text
    except _GIVE_UP:
        pass  # the careful writer names the reason, or knows better
    return _bounded(_members, item)


def _bounded(write: Callable[[Any], str], value: Any) -> str:
    try:
        return write(value)
    except RecursionError:
        raise UndecodableValueError("nested deeper than DynamoDB allows (32 levels)") from None


def column_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each attribute name of one level as the JSON text before its value, comma included."""
    columns = column_names(names)
    labels = [f",{_quoted(columns[name])}:" for name in names]
    return (labels[0][1:], *labels[1:]) if labels else ()


_cached_labels = lru_cache(maxsize=1024)(column_labels)


def _labels(names: tuple[str, ...]) -> tuple[str, ...]:
    return _cached_labels(names) if len(names) <= CACHED_NAMES else column_labels(names)


def all_json_numbers(texts: Sequence[str]) -> bool:
    """Whether every text is a number in JSON's grammar, as JSON's own scanner finds.

    The scanner hands each number's text to ``len`` instead of converting it. Only numbers and the
    commas between them add up to the whole length.
    """
    joined = ",".join(texts)
    try:
        lengths, _ = _scan_lengths(f"[{joined}]")
        return len(lengths) == len(texts) and sum(lengths) + len(texts) - 1 == len(joined)
    except (ValueError, TypeError):
        return False


_scan_lengths = JSONDecoder(parse_int=len, parse_float=len).raw_decode


def _quick_members(item: Item, numbers: list[str]) -> str:
    """An item's members; the texts of its numbers are added to ``numbers``, unchecked."""
    values = item.values()
    if sum(map(len, values)) != len(item):
        raise _UnusualError
    parts: list[str] = []
    add = parts.append
    for label, value in zip(_labels(tuple(item)), values):  # noqa: B905 - strict= takes time
        add(label)
        if "S" in value:
            add(_quoted(value["S"]))
        elif "N" in value:
            number = value["N"]
            numbers.append(number)
            add(number)
        else:
            [(tag, content)] = value.items()
            add(_QUICK[tag](content, numbers))
    return "".join(parts)


def _quick_list(elements: Sequence[AttributeValue], numbers: list[str]) -> str:
    if sum(map(len, elements)) != len(elements):
        raise _UnusualError
    try:
        return _array([_quoted(element["S"]) for element in elements])
    except KeyError:
        texts = [_QUICK[tag](element[tag], numbers) for element in elements for tag in element]
        return _array(texts)


def _quick_number(content: str, numbers: list[str]) -> str:
    numbers.append(content)
    return content


def _quick_set(content: Any, write: Callable[[Any], str]) -> str:
    if not isinstance(content, _ARRAYS):
        raise _UnusualError
    return _array(map(write, content))


def _members(item: Item) -> str:
    """An item's members, each value checked."""
    if not isinstance(item, Mapping):
        raise UndecodableValueError(f"expected an object, not {_kind(item)}")
    names = tuple(item)
    if not all(isinstance(name, str) for name in names):
        raise UndecodableValueError("an attribute's name is not a string")
    parts: list[str] = []
    for name, label in zip(names, _labels(names), strict=True):
        try:
            parts.append(label + _value(item[name]))
        except UndecodableValueError as error:
            raise error.within(name) from None
    return "".join(parts)


def _value(value: Any) -> str:
    """An attribute value's text, checked."""
    if not isinstance(value, Mapping):
        raise UndecodableValueError(f"expected an object with one type tag, not {_kind(value)}")
    if len(value) != 1:
        raise UndecodableValueError(f"expected one type tag, found {len(value)}")
    [(tag, content)] = value.items()
    if tag not in _WRITERS:
        raise UndecodableValueError(f"its type tag is none of {', '.join(_WRITERS)}")
    return _WRITERS[tag](content)


def _array(elements: Iterable[str]) -> str:
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
    return _elements("L", content, _value)


def _map(content: Any) -> str:
    return "{" + _members(content) + "}"


_ARRAYS = (list, tuple, set, frozenset)


def _elements(tag: str, content: Any, write: Callable[[Any], str]) -> str:
    if not isinstance(content, _ARRAYS):
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


_QUICK: Mapping[str, Callable[[Any, list[str]], str]] = {
    "S": lambda content, numbers: _quoted(content),
    "N": _quick_number,
    "B": lambda content, numbers: _binary(content),
    "BOOL": lambda content, numbers: _boolean(content),
    "NULL": lambda content, numbers: _null(content),
    "SS": lambda content, numbers: _quick_set(content, _quoted),
    "NS": lambda content, numbers: _quick_set(content, lambda text: _quick_number(text, numbers)),
    "BS": lambda content, numbers: _quick_set(content, _binary),
    "L": _quick_list,
    "M": lambda content, numbers: "{" + _quick_members(content, numbers) + "}",
}


def _kind(content: Any) -> str:
    return "nothing" if content is None else f"a value of type {type(content).__name__}"
