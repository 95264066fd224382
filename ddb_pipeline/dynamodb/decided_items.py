"""Items with each value in the form of its column, where a user has decided about its types.

The decisions are those of ``hive.type_decisions``. The result is an item again, in DynamoDB's typed
form: whatever writes or reads items does the same with it, on every path into the lake.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ddb_pipeline.dynamodb.scalars import binary_text, boolean_text, kind_of, number_text
from ddb_pipeline.dynamodb.values import ARRAYS, TOO_DEEP, AttributeValue, Item, json_text
from ddb_pipeline.hive.fitting import SET_ELEMENTS, check_fits
from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.type_decisions import (
    VALUES,
    Decided,
    Decision,
    TypeDecisions,
    split_names,
)
from ddb_pipeline.hive.types import (
    STRING,
    ArrayType,
    CharType,
    Column,
    HiveType,
    HiveTypeError,
    MapType,
    StructType,
    VarcharType,
    parse_type,
)
from ddb_pipeline.hive.undecodable import UndecodableValueError

Kinds = Mapping[str, HiveType]
"""Types by column or field; what is missing has no column yet."""

_UNKNOWN: Final[Kinds] = {}


class RefusedValueError(UndecodableValueError):
    """A value that a user's decision keeps out of its column."""

    def within(self, step: str) -> "RefusedValueError":
        """As ``UndecodableValueError.within``."""
        outer = super().within(step)
        return RefusedValueError(outer.reason, outer.path)


class DecidedItems:
    """Gives items the form of one table's columns."""

    def __init__(self, decisions: TypeDecisions, columns: Sequence[Column | tuple[str, str]]):
        """
        Args:
            columns: the table's columns; decisions about others apply as far as they can without.
        """
        self._tree = decisions.tree
        names = set(self._tree.inside) | {
            part
            for name, inner in self._tree.inside.items()
            if inner.decision is Decision.SPLIT
            for part in split_names(name)
        }
        found = {name: _parsed(text) for name, text in columns if name in names}
        self._kinds = {name: kind for name, kind in found.items() if kind is not None}

    def item(self, item: Item) -> Item:
        """The item with decided values in the form of their columns.

        Raises:
            RefusedValueError: a decision refuses a value; the error names its path.
            UndecodableValueError: a decided value is not one of DynamoDB's.
        """
        try:
            return _members(item, self._tree, self._kinds)
        except RecursionError:
            raise UndecodableValueError(TOO_DEEP) from None


def text_of(value: AttributeValue) -> str:
    """A value as a column of text holds it: numbers with their digits, containers as JSON.

    Raises:
        UndecodableValueError: it is not one of DynamoDB's.
    """
    if isinstance(value, Mapping) and len(value) == 1:
        [(tag, content)] = value.items()
        if tag == "S" and isinstance(content, str):
            return content
        if tag == "N":
            return number_text(content)
        if tag == "B":
            return binary_text(content)[1:-1]
        if tag == "BOOL":
            return boolean_text(content)
    return json_text(value)


def _parsed(text: str) -> HiveType | None:
    try:
        return parse_type(text)
    except HiveTypeError:
        return None


def _members(members: Item, decided: Decided, kinds: Kinds) -> Item:
    if not isinstance(members, Mapping):
        raise UndecodableValueError("expected an object")
    columns = column_names(members)
    inside = decided.inside
    if inside.keys().isdisjoint(columns.values()):
        return members
    made: dict[str, AttributeValue] = {}
    for attribute, value in members.items():
        column = columns[attribute]
        inner = decided.at(column)
        try:
            if inner.decision is Decision.SPLIT:
                _check_free(split_names(column), columns, members)
                made.update(_split(value, split_names(column), kinds))
            elif not inner:
                made[attribute] = value
            else:
                made[attribute] = _value(value, inner, kinds.get(column))
        except UndecodableValueError as error:
            raise error.within(attribute) from None
    return made


def _check_free(
    parts: tuple[str, str], columns: Mapping[str, str], members: Mapping[str, Any]
) -> None:
    for attribute, column in columns.items():
        value = members[attribute]
        if column in parts and isinstance(value, Mapping) and "NULL" not in value:
            raise RefusedValueError(
                f"it cannot be split, because there is an attribute {attribute!r}, too; decide "
                "otherwise about one of them"
            )


def _split(
    value: AttributeValue, parts: tuple[str, str], kinds: Kinds
) -> Iterator[tuple[str, AttributeValue]]:
    tag, content = _tagged(value)
    numbers, texts = parts
    if tag == "N" and _fits(kinds.get(numbers), tag, content):
        yield numbers, value
    elif tag != "NULL":
        yield texts, {"S": text_of(value)}


def _value(value: AttributeValue, decided: Decided, kind: HiveType | None) -> AttributeValue:
    tag, content = _tagged(value)
    if tag == "NULL":
        return value
    if decided.inside:
        value = _inside(tag, content, decided, kind) or value
        tag, content = _tagged(value)
    decision = decided.decision
    if decision is Decision.TEXT and (kind is None or _is_text(kind)):
        return {"S": text_of(value)}
    if decision is Decision.WIDER and tag != "N":
        raise RefusedValueError(f"a value of type {tag} is no number (decided: wider)")
    if decision is None or kind is None or (decision is Decision.WIDER and _is_text(kind)):
        return value
    try:
        check_fits(kind, tag, content)
    except UndecodableValueError as error:
        raise RefusedValueError(f"{error.reason} (decided: {decision.value})", error.path) from None
    return value


def _inside(
    tag: str, content: Any, decided: Decided, kind: HiveType | None
) -> AttributeValue | None:
    """A container with its decided contents; None if nothing in it is decided."""
    if tag == "M":
        return _map(content, decided, kind)
    if not (kind is None or isinstance(kind, ArrayType)):
        return None
    elements, inner = decided.elements, None if kind is None else kind.element
    if tag == "L" and elements:
        return {"L": list(_elements(content, elements, inner))}
    if tag in SET_ELEMENTS and elements.decision is not None:
        typed = [{SET_ELEMENTS[tag]: element} for element in content]
        return {"L": list(_elements(typed, elements, inner))}
    return None


def _map(content: Any, decided: Decided, kind: HiveType | None) -> AttributeValue | None:
    while isinstance(kind, ArrayType):
        # An object in place of an array is the array's one element.
        decided, kind = decided.elements, kind.element
    values = decided.at(VALUES)
    if isinstance(kind, MapType) or (kind is None and values):
        inner = kind.value if isinstance(kind, MapType) else None
        return {"M": {name: _step(name, each, values, inner) for name, each in content.items()}}
    if kind is None:
        return {"M": _members(content, decided, _UNKNOWN)}
    if isinstance(kind, StructType):
        return {"M": _members(content, decided, dict(kind.fields))}
    return None


def _elements(content: Any, decided: Decided, kind: HiveType | None) -> Iterator[AttributeValue]:
    for position, element in enumerate(content):
        yield _step(f"[{position}]", element, decided, kind)


def _step(
    step: str, value: AttributeValue, decided: Decided, kind: HiveType | None
) -> AttributeValue:
    try:
        return _value(value, decided, kind)
    except UndecodableValueError as error:
        raise error.within(step) from None


def _tagged(value: AttributeValue) -> tuple[str, Any]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise UndecodableValueError("expected an object with one type tag")
    [(tag, content)] = value.items()
    if tag == "M" and not isinstance(content, Mapping):
        raise UndecodableValueError(f"M holds {kind_of(content)}, not an object")
    if (tag == "L" or tag in SET_ELEMENTS) and not isinstance(content, ARRAYS):
        raise UndecodableValueError(f"{tag} holds {kind_of(content)}, not a list")
    return tag, content


def _is_text(kind: HiveType) -> bool:
    return kind == STRING or isinstance(kind, CharType | VarcharType)


def _fits(kind: HiveType | None, tag: str, content: Any) -> bool:
    if kind is None:
        return True
    try:
        check_fits(kind, tag, content)
    except UndecodableValueError:
        return False
    return True
