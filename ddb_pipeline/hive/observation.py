"""What DynamoDB values were seen at one place of a table's items, and at all places inside it.

Observations are merged in any order and grouping with the same result, and their size is bounded by
how many names there are, not by how many items: names of a map that are too many are no longer told
apart.
"""

import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from ddb_pipeline.hive.names import column_names
from ddb_pipeline.hive.numbers import NumberRange, number_range

MAX_LEVELS: Final = 64
"""Deepest nesting that is looked at. DynamoDB itself nests 32 levels (Developer Guide, Quotas)."""

MAX_ATTRIBUTES: Final = 10_000
MAX_MAP_KEYS: Final = 1_000
"""Names told apart among the attributes of the items, and among the keys of one map in them."""

MAX_EXAMPLES: Final = 3
"""Keys of items kept as examples for one type at one place: the first by their text."""


class AttributeValueError(ValueError):
    """A value is none that DynamoDB writes; the message names its path, not the value."""


class Observation:
    """What was seen at one place.

    Attributes:
        counts: values by DynamoDB's type tag.
        examples: keys of items that have a value of the tag.
        numbers: how far the numbers reach; None where there was none.
        elements: what was seen in lists and sets; None where there was nothing in them.
        fields: what was seen in maps, by column name; None where the names were too many.
        values: what was seen in maps under any name, where the names were too many.
        objects: maps with at least one key.
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
        return sum(self.counts.values())

    def count(self, tag: str, number: int, example: str | None) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + number
        if example is not None:
            kept = self.examples.get(tag, ())
            if len(kept) < MAX_EXAMPLES or example < kept[-1]:
                self.examples[tag] = _first((*kept, example))

    def add_numbers(self, reach: NumberRange) -> None:
        self.numbers = reach if self.numbers is None else self.numbers.merged(reach)

    def absorb(self, other: "Observation", level: int = 0) -> None:
        """Take in all that another observation of the same place, ``level`` deep, has seen."""
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
        if self.elements is None:
            self.elements = Observation()
        return self.elements

    def member(self, name: str) -> "Observation":
        """What was seen under a name, or under any where the names are not told apart."""
        if self.fields is None:
            if self.values is None:
                self.values = Observation()
            return self.values
        inside = self.fields.get(name)
        if inside is None:
            inside = self.fields[name] = Observation()
        return inside

    def limit_names(self, names: Collection[str], level: int) -> None:
        """Stop telling names apart if these would be too many beside those that are known."""
        limit = MAX_MAP_KEYS if level else MAX_ATTRIBUTES
        known = self.fields
        if known is None or len(known) + len(names) <= limit:
            return
        if len(known) + sum(name not in known for name in names) > limit:
            self.forget_names(level)

    def forget_names(self, level: int) -> None:
        fields, self.fields = self.fields, None
        for inside in (fields or {}).values():
            self.member("").absorb(inside, level + 1)


def _first(examples: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(examples))[:MAX_EXAMPLES])


def observe_item(seen: Observation, item: Mapping[str, Any], keys: tuple[str, ...] = ()) -> None:
    """Add one item, in DynamoDB's typed form, to what was seen of a table's items.

    With the table's key attributes given, the item's key becomes an example for its types.

    Raises:
        AttributeValueError: a value is none of DynamoDB's; ``seen`` may have part of the item then.
    """
    example = item_key(item, keys) if keys else None
    pending: list[_Container] = [(seen, "M", item, 0, None)]
    while pending:
        container = pending.pop()
        tag = container[1]
        if tag == "M":
            _observe_map(container, example, pending)
        elif tag == "L":
            _observe_list(container, example, pending)
        else:
            _observe_set(container, example)


def item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The key of an item as compact JSON text, in DynamoDB's typed form."""
    found = {name: item[name] for name in keys if name in item}
    return json.dumps(
        found,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda data: b64encode(data).decode(),
    )


_Path: TypeAlias = "tuple[_Path | None, str]"
_Container: TypeAlias = "tuple[Observation, str, Any, int, _Path | None]"
"""Where it was seen, its type tag and content, how deep, and the way there."""


def _observe_map(container: _Container, example: str | None, pending: list[_Container]) -> None:
    node, _, content, level, path = container
    node.count("M", 1, example)
    if not content:
        return
    node.objects += 1
    columns = column_names(content)
    node.limit_names(columns.values(), level)
    for attribute, value in content.items():
        inside = node.member(columns[attribute])
        _observe_value(inside, value, level + 1, (path, f".{attribute}"), example, pending)


def _observe_list(container: _Container, example: str | None, pending: list[_Container]) -> None:
    node, _, content, level, path = container
    node.count("L", 1, example)
    if content:
        inside = node.element()
        for value in content:
            _observe_value(inside, value, level + 1, (path, "[]"), example, pending)


def _observe_set(container: _Container, example: str | None) -> None:
    node, tag, content, _, path = container
    node.count(tag, 1, example)
    if not content:
        return
    inside = node.element()
    inside.count(_ELEMENT_TAGS[tag], len(content), example)
    if tag == "NS":
        for text in content:
            inside.add_numbers(_number(text, path))


def _observe_value(
    node: Observation,
    value: Any,
    level: int,
    path: _Path,
    example: str | None,
    pending: list[_Container],
) -> None:
    try:
        [(tag, content)] = value.items()
    except (AttributeError, TypeError, ValueError):
        raise _error(path, "is not an object with one type tag") from None
    if tag in _SCALARS:
        node.count(tag, 1, example)
        if tag == "N":
            node.add_numbers(_number(content, path))
    elif not isinstance(content, _CONTENTS.get(tag, ())):
        raise _error(path, "has a type tag or content that DynamoDB does not have")
    elif level >= MAX_LEVELS:
        raise _error(path, f"is nested deeper than {MAX_LEVELS} levels")
    else:
        pending.append((node, tag, content, level, path))


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


def _number(text: Any, path: "_Path | None") -> NumberRange:
    try:
        return number_range(text)
    except (TypeError, ValueError, AttributeError):
        raise _error(path, "is tagged as a number and is none") from None


def _error(path: "_Path | None", problem: str) -> AttributeValueError:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    name = "".join(reversed(steps)).removeprefix(".")
    return AttributeValueError(f"Attribute {name!r} {problem}; DynamoDB writes no such value.")
