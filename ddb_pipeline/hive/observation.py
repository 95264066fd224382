"""Statistics of DynamoDB values by their path in an item: what the types are inferred from.

Observations merge in any order and grouping with the same result. Their size depends on the number
of attribute names and not of items; of a map with too many keys, only the values are observed, all
of them together. Their depth is that of a column type.
"""

import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any, Final

from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.numbers import NumberRange, number_range
from ddb_pipeline.hive.types import MAX_TYPE_DEPTH
from ddb_pipeline.hive.undecodable import UndecodableValueError

MAX_ATTRIBUTES: Final = 10_000
MAX_MAP_KEYS: Final = 1_000
"""Names observed individually: of the attributes of the items, and of the keys of one map."""

MAX_EXAMPLES: Final = 3
"""Item keys stored as examples of one type at one path: the first ones in text order."""


class Observation:
    """The values at one path.

    Attributes:
        counts: number of values by DynamoDB's type tag.
        examples: by type tag, keys of items that have a value with the tag.
        numbers: the range of the numbers; None if there were none.
        elements: the elements of lists and sets; None if there were none.
        fields: the members of maps, by column name; None if there were too many names.
        values: the members of maps of any name, if there were too many names.
        objects: number of maps with at least one key.
    """

    __slots__ = ("counts", "elements", "examples", "fields", "numbers", "objects", "values")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, tuple[str, ...]] = {}
        self.numbers: NumberRange | None = None
        self.elements: Observation | None = None
        self.fields: dict[str, Observation] | None = {}
        self.values: Observation | None = None
        self.objects = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Observation):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    @property
    def total(self) -> int:
        """Number of values of any type."""
        return sum(self.counts.values())

    def count(self, tag: str, number: int, example: str | None) -> None:
        """Add a number of values with a type tag, and the key of an item that has one."""
        self.counts[tag] = self.counts.get(tag, 0) + number
        if example is not None:
            found = self.examples.get(tag, ())
            if len(found) < MAX_EXAMPLES or example < found[-1]:
                self.examples[tag] = _first((*found, example))

    def add_numbers(self, numbers: NumberRange) -> None:
        """Add the range of further numbers."""
        self.numbers = numbers if self.numbers is None else self.numbers.merged(numbers)

    def absorb(self, other: "Observation", level: int = 0) -> None:
        """Add another observation of the same path, ``level`` levels deep."""
        for tag, number in other.counts.items():
            self.counts[tag] = self.counts.get(tag, 0) + number
        for tag, examples in other.examples.items():
            self.examples[tag] = _first((*self.examples.get(tag, ()), *examples))
        if other.numbers is not None:
            self.add_numbers(other.numbers)
        self.objects += other.objects
        if other.elements is not None:
            self.element().absorb(other.elements, level + 1)
        if other.fields is None:
            self.forget_names(level)
        else:
            self.limit_names(other.fields.keys(), level)
            for name, inside in other.fields.items():
                self.member(name).absorb(inside, level + 1)
        if other.values is not None:
            self.member("").absorb(other.values, level + 1)

    def element(self) -> "Observation":
        """The observation of the elements of lists and sets."""
        if self.elements is None:
            self.elements = Observation()
        return self.elements

    def member(self, name: str) -> "Observation":
        """The observation of a map's members of this name, or of any if there are too many."""
        if self.fields is None:
            if self.values is None:
                self.values = Observation()
            return self.values
        inside = self.fields.get(name)
        if inside is None:
            inside = self.fields[name] = Observation()
        return inside

    def limit_names(self, names: Collection[str], level: int) -> None:
        """Forget all names of a map's members if these would make them too many."""
        limit = MAX_MAP_KEYS if level else MAX_ATTRIBUTES
        known = self.fields
        if known is None or len(known) + len(names) <= limit:
            return
        if len(known) + sum(name not in known for name in names) > limit:
            self.forget_names(level)

    def forget_names(self, level: int) -> None:
        """Merge the observations of a map's members into one of them all."""
        fields, self.fields = self.fields, None
        for inside in (fields or {}).values():
            self.member("").absorb(inside, level + 1)


def _first(examples: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(examples))[:MAX_EXAMPLES])


def observe_item(seen: Observation, item: Mapping[str, Any], keys: tuple[str, ...] = ()) -> None:
    """Add one item, in DynamoDB's typed form, to the observation of a table's items.

    Args:
        seen: the observation of the items.
        item: the item.
        keys: the table's key attributes; with them, the item's key becomes an example.

    Raises:
        UndecodableValueError: a value that DynamoDB never writes, one nested too deep included;
            ``seen`` then has a part of the item.
    """
    _observe_map(seen, item, 0, _item_key(item, keys) if keys else None)


def _item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The key of an item as compact JSON text, in DynamoDB's typed form."""
    found = {name: item[name] for name in keys if name in item}
    return json.dumps(
        found,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda data: b64encode(data).decode(),
    )


def _observe_map(node: Observation, content: Any, level: int, example: str | None) -> None:
    node.count("M", 1, example)
    if not content:
        return
    node.objects += 1
    columns = column_names(content)
    node.limit_names(columns.values(), level)
    for attribute, value in content.items():
        try:
            _observe_value(node.member(columns[attribute]), value, level + 1, example)
        except UndecodableValueError as error:
            raise error.within(attribute) from None


def _observe_list(node: Observation, content: Any, level: int, example: str | None) -> None:
    node.count("L", 1, example)
    for value in content:
        try:
            _observe_value(node.element(), value, level + 1, example)
        except UndecodableValueError as error:
            raise error.within("[]") from None


def _observe_set(node: Observation, tag: str, content: Any, example: str | None) -> None:
    node.count(tag, 1, example)
    if not content:
        return
    inside = node.element()
    inside.count(_ELEMENT_TAGS[tag], len(content), example)
    if tag == "NS":
        for text in content:
            inside.add_numbers(_number(text))


def _observe_value(node: Observation, value: Any, level: int, example: str | None) -> None:
    try:
        [(tag, content)] = value.items()
    except (AttributeError, TypeError, ValueError):
        raise UndecodableValueError("expected an object with one type tag") from None
    if tag in _SCALARS:
        node.count(tag, 1, example)
        if tag == "N":
            node.add_numbers(_number(content))
    elif not isinstance(content, _CONTENTS.get(tag, ())):
        raise UndecodableValueError("its type tag or content is none of DynamoDB's")
    elif level >= MAX_TYPE_DEPTH:
        # The types inside would be too deep for a column. DynamoDB itself nests 32 levels.
        raise UndecodableValueError(f"nested deeper than {MAX_TYPE_DEPTH} levels")
    elif tag == "M":
        _observe_map(node, content, level, example)
    elif tag == "L":
        _observe_list(node, content, level, example)
    else:
        _observe_set(node, tag, content, example)


_SCALARS: Final = frozenset({"S", "N", "B", "BOOL", "NULL"})
_ELEMENT_TAGS: Final = {"SS": "S", "NS": "N", "BS": "B"}
_LISTS: Final = (list, tuple, set, frozenset)
_CONTENTS: Final[dict[Any, tuple[type, ...]]] = {
    "M": (Mapping,),
    "L": _LISTS,
    "SS": _LISTS,
    "NS": _LISTS,
    "BS": _LISTS,
}


def _number(text: Any) -> NumberRange:
    try:
        return number_range(text)
    except (TypeError, ValueError, AttributeError):
        raise UndecodableValueError("N holds text that is not a number") from None
