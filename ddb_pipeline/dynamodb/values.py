"""DynamoDB attribute values as JSON text, exactly.

Text is written directly instead of through Python numbers: an ``N`` has up to 38 significant
digits, more than a float or ``json.dumps`` preserves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
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
from ddb_pipeline.dynamodb.targets import ANY, Target
from ddb_pipeline.hive.undecodable import UndecodableValueError

AttributeValue = Mapping[str, Any]
"""One value in DynamoDB's typed form: a mapping of exactly one type tag, ``{"S": "a"}``."""
Item = Mapping[str, AttributeValue]
"""One item in DynamoDB's typed form, ``{"id": {"S": "a"}, ...}``."""


@dataclass(slots=True)
class Writing:
    """What is known of the items being written, and what was found in them.

    Attributes:
        columns: the table's columns. The keys of a map in a column of type ``map`` are data, and
            stay as they are.
        numbers: the texts of the numbers written so far, which were not checked. What was written
            is valid only if ``scalars.all_json_numbers`` holds for them, which checks the numbers
            of many items at once in a fraction of the time. None checks each number.
        lacks_column: whether an attribute other than NULL was written that no column holds; it may
            be empty, and then needs none (``hive.coverage.attributes_without_column``).
    """

    columns: Target = ANY
    numbers: list[str] | None = None
    lacks_column: bool = False

    def column(self, name: str) -> Target:
        """The column of this name."""
        found = ANY if self.columns.fields is None else self.columns.fields.get(name)
        self.lacks_column = self.lacks_column or found is None
        return found or ANY


Writer = Callable[[Any, Writing, Target], str]
"""Writes the content under a type tag as JSON text."""

ARRAYS = (list, tuple, set, frozenset)
_UNWRITABLE = (AttributeError, KeyError, TypeError, ValueError)
"""Errors of a value that is not one of DynamoDB's; ``UndecodableValueError`` is a ValueError."""

TOO_DEEP = "nested deeper than DynamoDB allows (32 levels)"
"""The reason to refuse a value that exhausts the stack."""


def json_text(value: AttributeValue) -> str:
    """An attribute value as JSON text.

    Numbers keep their digits and change only where JSON's grammar demands it (``+5`` → ``5``,
    ``.5`` → ``0.5``); sets and lists become arrays in the order given; binary becomes base64;
    member names of maps become column names (``ddb_pipeline.hive.names``), so that a record
    matches the catalog's struct fields.

    Raises:
        UndecodableValueError: not exactly one known type tag, or its content is of another type.
    """
    return _bounded(_value, value, Writing(), ANY)


def item_json(item: Item, writing: Writing | None = None, target: Target | None = None) -> str:
    """An item as JSON text, attribute names turned into column names.

    Args:
        item: attributes by name.
        writing: the table's columns; collects what is found. Without it any attribute is accepted.
        target: where the item goes, unless it is a row of the table.

    Raises:
        UndecodableValueError: a value is not one of DynamoDB's; the error names its path.
    """
    writing = writing or Writing()
    return _bounded(_map, item, writing, target or writing.columns)


def _bounded(write: Writer, value: Any, writing: Writing, target: Target) -> str:
    try:
        return write(value, writing, target)
    except RecursionError:
        raise UndecodableValueError(TOO_DEEP) from None


def _map(item: Any, writing: Writing, target: Target) -> str:
    # The test of an abstract class alone takes a tenth of the time of writing a map.
    if type(item) is not dict and not isinstance(item, Mapping):
        raise UndecodableValueError(f"expected an object, not {kind_of(item)}")
    names = tuple(item)
    target = target.as_map
    layout = target.layouts.get(names) or target.layout(names)
    targets, numbers = layout.targets, writing.numbers
    texts: list[str] = []
    value: Any = None
    try:
        for value in item.values():
            [tag] = value
            if tag == "N" and numbers is not None:
                number = value["N"]
                texts.append(number)
                numbers.append(number)
            elif tag == "S":
                texts.append(quoted(value["S"]))
            else:
                texts.append(_WRITERS[tag](value[tag], writing, targets[len(texts)]))
    except _UNWRITABLE as error:
        raise _undecodable(error, value).within(names[len(texts)]) from None
    if layout.without_column and not writing.lacks_column:
        writing.lacks_column = any("NULL" not in item[name] for name in layout.without_column)
    return layout.template % tuple(texts)


def _value(value: Any, writing: Writing, target: Target) -> str:
    try:
        [tag] = value
        return _WRITERS[tag](value[tag], writing, target)
    except _UNWRITABLE as error:
        raise _undecodable(error, value) from None


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
        _WRITERS[tag](content, Writing(), ANY)
    except UndecodableValueError as exact:
        return exact
    raise error


def _list(content: Any, writing: Writing, target: Target) -> str:
    elements = _array("L", content)
    inner = target.elements
    texts: list[str] = []
    element: Any = None
    try:
        for element in elements:
            [tag] = element
            texts.append(_WRITERS[tag](element[tag], writing, inner))
    except _UNWRITABLE as error:
        raise _undecodable(error, element).within(f"[{len(texts)}]") from None
    return "[" + ",".join(texts) + "]"


def _number(content: Any, writing: Writing, target: Target) -> str:
    if writing.numbers is None or not isinstance(content, str):
        return number_text(content)
    writing.numbers.append(content)
    return content


def _number_set(content: Any, writing: Writing, target: Target) -> str:
    if writing.numbers is None:
        return _checked_number_set(content, writing, target)
    writing.numbers += _array("NS", content)
    return "[" + ",".join(content) + "]"


def _set(tag: str, write: Callable[[Any], str], valid: Callable[[Any], str]) -> Writer:
    """A set's writer; ``valid`` writes valid elements as ``write`` does, and may be faster."""

    def write_set(content: Any, writing: Writing, target: Target) -> str:
        elements = _array(tag, content)
        try:
            return "[" + ",".join(map(valid, elements)) + "]"
        except (UndecodableValueError, TypeError):
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
    return lambda content, writing, target: write(content)


_checked_number_set = _set("NS", number_text, number_text)

_WRITERS: Mapping[str, Writer] = {
    "S": _scalar(string_text),
    "N": _number,
    "B": _scalar(binary_text),
    "BOOL": _scalar(boolean_text),
    "NULL": _scalar(null_text),
    "SS": _set("SS", string_text, quoted),
    "NS": _number_set,
    "BS": _set("BS", binary_text, binary_text),
    "L": _list,
    "M": _map,
}
