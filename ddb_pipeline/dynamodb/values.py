"""DynamoDB attribute values as JSON text, exactly.

Text is written directly instead of through Python numbers: an ``N`` has up to 38 significant
digits, more than a float or ``json.dumps`` preserves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from ddb_pipeline.dynamodb.scalars import (
    binary_text,
    boolean_text,
    kind_of,
    null_text,
    number_text,
    quoted,
    string_text,
)
from ddb_pipeline.hive.coverage import NAMES_AS_WRITTEN, Elements, Fields, Node, node_of
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.undecodable import UndecodableValueError

AttributeValue = Mapping[str, Any]
"""One value in DynamoDB's typed form: a mapping of exactly one type tag, ``{"S": "a"}``."""
Item = Mapping[str, AttributeValue]
"""One item in DynamoDB's typed form, ``{"id": {"S": "a"}, ...}``."""

Numbers = list[str] | None
"""The texts of numbers that were written unchecked, or None to check each number."""

Writer = Callable[[Any, Numbers], str]
"""Writes the content under a type tag as JSON text."""

ARRAYS = (list, tuple, set, frozenset)
_UNWRITABLE = (AttributeError, KeyError, TypeError, ValueError)
"""Errors of a value that is not one of DynamoDB's; ``UndecodableValueError`` is a ValueError."""

TOO_DEEP = "nested deeper than DynamoDB allows (32 levels)"
"""The reason to refuse a value that exhausts the stack."""

MAX_CACHED_NAMES = 200
"""The template of a map with more names is not cached: its names are probably data."""


def json_text(value: AttributeValue) -> str:
    """An attribute value as JSON text.

    Numbers keep their digits and change only where JSON's grammar demands it (``+5`` → ``5``,
    ``.5`` → ``0.5``); sets and lists become arrays in the order given; binary becomes base64;
    member names of maps become column names (``ddb_pipeline.hive.names``), so that a record
    matches the catalog's struct fields.

    Raises:
        UndecodableValueError: not exactly one known type tag, or its content is of another type.
    """
    return _bounded(_value, value, None)


def item_json(item: Item, numbers: Numbers = None, maps: Node = None) -> str:
    """An item as JSON text, attribute names turned into column names.

    Args:
        item: attributes by name.
        numbers: the texts of the item's numbers are appended, and written unchecked. The text is
            valid only if ``scalars.all_json_numbers`` holds for them, which checks the numbers of
            many items at once in a fraction of the time. Without it each number is checked.
        maps: where the table has columns of type ``map`` (``hive.coverage.map_columns``). The keys
            of a map there are data, and stay as they are. With ``NAMES_AS_WRITTEN`` all names
            below the first level stay.

    Raises:
        UndecodableValueError: a value is not one of DynamoDB's; the error names its path.
    """
    if isinstance(maps, Fields) and not maps.by_name:
        maps = None
    if maps is NAMES_AS_WRITTEN:
        # Of an array, so that the first level is none of the maps.
        maps = Elements(maps, of_map=False)
    if maps is None:
        return _bounded(_map, item, numbers)
    return _bounded(lambda item, numbers: _map_at(item, numbers, maps), item, numbers)


def item_members(item: Item, numbers: Numbers = None, maps: Node = None) -> str:
    """The members of ``item_json`` without the braces, to stand among others in one object."""
    return item_json(item, numbers, maps)[1:-1]


def _bounded(write: Callable[[Any, Numbers], str], value: Any, numbers: Numbers) -> str:
    try:
        return write(value, numbers)
    except RecursionError:
        raise UndecodableValueError(TOO_DEEP) from None


def _map(item: Any, numbers: Numbers) -> str:
    names: tuple[str, ...] = ()
    texts: list[str] = []
    value: Any = None
    try:
        names = tuple(item)
        for value in item.values():
            [tag] = value
            if tag == "N" and numbers is not None:
                number = value["N"]
                texts.append(number)
                numbers.append(number)
            elif tag == "S":
                texts.append(quoted(value["S"]))
            else:
                texts.append(_WRITERS[tag](value[tag], numbers))
    except _UNWRITABLE as error:
        if not isinstance(item, Mapping):
            raise UndecodableValueError(f"expected an object, not {kind_of(item)}") from None
        raise _undecodable(error, value).within(names[len(texts)]) from None
    template = _cached_template(names) if len(names) <= MAX_CACHED_NAMES else _template(names)
    return template % tuple(texts)


def _template(names: tuple[str, ...]) -> str:
    """A JSON object of these attribute names, ``%s`` in place of each value.

    Column names have no character that JSON escapes or ``%`` formatting takes as its own.
    """
    if not all(isinstance(name, str) for name in names):
        raise UndecodableValueError("an attribute's name is not a string")
    columns = column_names(names)
    return "{" + ",".join([f'"{columns[name]}":%s' for name in names]) + "}"


_cached_template = lru_cache(maxsize=1024)(_template)


def _value(value: Any, numbers: Numbers) -> str:
    try:
        [tag] = value
        return _WRITERS[tag](value[tag], numbers)
    except _UNWRITABLE as error:
        raise _undecodable(error, value) from None


def _map_at(item: Any, numbers: Numbers, node: Node) -> str:
    """Write a map as ``_map`` does, where there are maps with data keys in it, or it is one."""
    if not isinstance(item, Mapping) or not all(isinstance(name, str) for name in item):
        return _map(item, numbers)
    is_data = isinstance(node, Elements) and node.of_map
    names = {name: name for name in item} if is_data else column_names(item)
    members = []
    for name, value in item.items():
        inner = node_of(node, names[name])
        try:
            text = _value(value, numbers) if inner is None else _value_at(value, numbers, inner)
        except UndecodableValueError as error:
            raise error.within(name) from None
        members.append(f"{quoted(names[name])}:{text}")
    return "{" + ",".join(members) + "}"


def _value_at(value: Any, numbers: Numbers, node: Node) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        if "M" in value:
            # An object where the column has an array is the array's one element.
            is_element = isinstance(node, Elements) and not node.of_map
            return _map_at(value["M"], numbers, node_of(node, "") if is_element else node)
        is_list = isinstance(node, Elements) and (not node.of_map or node is NAMES_AS_WRITTEN)
        if "L" in value and is_list:
            texts: list[str] = []
            each = node_of(node, "")
            for element in _array("L", value["L"]):
                try:
                    texts.append(_value_at(element, numbers, each))
                except UndecodableValueError as error:
                    raise error.within(f"[{len(texts)}]") from None
            return "[" + ",".join(texts) + "]"
    return _value(value, numbers)


def _undecodable(error: Exception, value: Any) -> UndecodableValueError:
    """Why a value could not be written, ``error`` being what that raised."""
    if isinstance(error, UndecodableValueError):
        return error
    if not isinstance(value, Mapping):
        return UndecodableValueError(f"expected an object with one type tag, not {kind_of(value)}")
    if len(value) != 1:
        return UndecodableValueError(f"expected one type tag, found {len(value)}")
    [(tag, content)] = value.items()
    if tag not in _WRITERS:
        return UndecodableValueError(f"its type tag is none of {', '.join(_WRITERS)}")
    try:
        _WRITERS[tag](content, None)
    except UndecodableValueError as exact:
        return exact
    raise error


def _list(content: Any, numbers: Numbers) -> str:
    elements = _array("L", content)
    texts: list[str] = []
    element: Any = None
    try:
        for element in elements:
            [tag] = element
            texts.append(_WRITERS[tag](element[tag], numbers))
    except _UNWRITABLE as error:
        raise _undecodable(error, element).within(f"[{len(texts)}]") from None
    return "[" + ",".join(texts) + "]"


def _number(content: Any, numbers: Numbers) -> str:
    if numbers is None or not isinstance(content, str):
        return number_text(content)
    numbers.append(content)
    return content


def _number_set(content: Any, numbers: Numbers) -> str:
    if numbers is None:
        return _checked_number_set(content, None)
    numbers += _array("NS", content)
    return "[" + ",".join(content) + "]"


def _set(tag: str, write: Callable[[Any], str]) -> Writer:
    def write_set(content: Any, numbers: Numbers) -> str:
        elements = _array(tag, content)
        try:
            return "[" + ",".join(map(write, elements)) + "]"
        except UndecodableValueError:
            return "[" + ",".join(_written_individually(elements, write)) + "]"

    return write_set


def _written_individually(elements: Collection[Any], write: Callable[[Any], str]) -> Iterator[str]:
    for index, element in enumerate(elements):
        try:
            yield write(element)
        except UndecodableValueError as error:
            raise error.within(f"[{index}]") from None


def _array(tag: str, content: Any) -> Collection[Any]:
    if not isinstance(content, ARRAYS):
        raise UndecodableValueError(f"{tag} holds {kind_of(content)}, not a list")
    elements: Collection[Any] = content
    return elements


def _scalar(write: Callable[[Any], str]) -> Writer:
    return lambda content, numbers: write(content)


_checked_number_set = _set("NS", number_text)

_WRITERS: Mapping[str, Writer] = {
    "S": _scalar(string_text),
    "N": _number,
    "B": _scalar(binary_text),
    "BOOL": _scalar(boolean_text),
    "NULL": _scalar(null_text),
    "SS": _set("SS", string_text),
    "NS": _number_set,
    "BS": _set("BS", binary_text),
    "L": _list,
    "M": _map,
}
