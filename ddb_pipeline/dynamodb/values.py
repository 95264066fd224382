"""DynamoDB attribute values as JSON text, exactly.

Text is built directly instead of through Python numbers: an ``N`` has up to 38 significant digits,
which neither a float nor ``json.dumps`` keeps (Decimal would need a detour through float), and
copying it is also the fastest way.

There are two writers of the same text. The quick one (``shapes``) checks no more than it needs to
be sure of its result and gives up on anything unusual; the careful one here then either
normalises a number or names the path of what is wrong.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ddb_pipeline.dynamodb.scalars import (
    UndecodableValueError,
    all_json_numbers,
    binary_text,
    boolean_text,
    kind_of,
    null_text,
    number_text,
    string_text,
)
from ddb_pipeline.dynamodb.shape_source import column_labels
from ddb_pipeline.dynamodb.shapes import ARRAYS, GIVE_UP, Shapes

AttributeValue = Mapping[str, Any]
"""One value in DynamoDB's typed form: a mapping of exactly one type tag, ``{"S": "a"}``."""
Item = Mapping[str, AttributeValue]

SHAPES = Shapes()


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
    """An item's members without the braces, to stand among others in one JSON object.

    Raises:
        UndecodableValueError: as ``item_json``.
    """
    numbers: list[str] = []
    try:
        text = SHAPES.members(item, numbers)
        if not numbers or all_json_numbers(numbers):
            return text
    except GIVE_UP:
        pass  # the careful writer names the reason, or knows better
    return careful_members(item)


def careful_members(item: Item) -> str:
    """As ``item_members``, each value checked on its own."""
    return _bounded(_members, item)


def _bounded(write: Callable[[Any], str], value: Any) -> str:
    try:
        return write(value)
    except RecursionError:
        raise UndecodableValueError("nested deeper than DynamoDB allows (32 levels)") from None


def _members(item: Any) -> str:
    if not isinstance(item, Mapping):
        raise UndecodableValueError(f"expected an object, not {kind_of(item)}")
    names = tuple(item)
    if not all(isinstance(name, str) for name in names):
        raise UndecodableValueError("an attribute's name is not a string")
    parts: list[str] = []
    for name, label in zip(names, column_labels(names), strict=True):
        try:
            parts.append(label + _value(item[name]))
        except UndecodableValueError as error:
            raise error.within(name) from None
    return "".join(parts)


def _value(value: Any) -> str:
    if not isinstance(value, Mapping):
        raise UndecodableValueError(f"expected an object with one type tag, not {kind_of(value)}")
    if len(value) != 1:
        raise UndecodableValueError(f"expected one type tag, found {len(value)}")
    [(tag, content)] = value.items()
    if tag not in _WRITERS:
        raise UndecodableValueError(f"its type tag is none of {', '.join(_WRITERS)}")
    return _WRITERS[tag](content)


def _elements(tag: str, content: Any, write: Callable[[Any], str]) -> str:
    if not isinstance(content, ARRAYS):
        raise UndecodableValueError(f"{tag} holds {kind_of(content)}, not a list")
    parts: list[str] = []
    try:
        for element in content:
            parts.append(write(element))
    except UndecodableValueError as error:
        raise error.within(f"[{len(parts)}]") from None
    return "[" + ",".join(parts) + "]"


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "S": string_text,
    "N": number_text,
    "B": binary_text,
    "BOOL": boolean_text,
    "NULL": null_text,
    "SS": lambda content: _elements("SS", content, string_text),
    "NS": lambda content: _elements("NS", content, number_text),
    "BS": lambda content: _elements("BS", content, binary_text),
    "L": lambda content: _elements("L", content, _value),
    "M": lambda content: "{" + _members(content) + "}",
}
