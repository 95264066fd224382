"""The quick writer of items: functions made for each shape of a map, several times as fast.

A shape is the names of a map's attributes and the type tag of each. Items of a table have few, so
a function is generated (``shape_source``) for each that recurs.

A writer gives up (``GIVE_UP``) on whatever is not exactly what its shape says, and leaves it to
``values`` to say what is wrong. Number texts are collected for one check of all.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from ddb_pipeline.dynamodb.scalars import binary_text, boolean_text, null_text, quoted
from ddb_pipeline.dynamodb.shape_source import (
    ANY_TAG,
    Contents,
    ContentWriter,
    ListWriter,
    MapWriter,
    Members,
    Shape,
    UnusualError,
    cached_column_labels,
    column_labels,
    list_writer,
    map_writer,
)

ARRAYS = (list, tuple, set, frozenset)
MAX_SHAPES = 512
MAX_MEMBERS = 200
MAX_LEVELS = 8
"""A writer sees to the maps within its map, so many levels deep."""
SIGHTINGS = 8
"""Making a writer takes as long as writing some twenty items: not for what does not recur."""

GIVE_UP = (UnusualError, KeyError, ValueError, TypeError, AttributeError, RecursionError)


class Shapes:
    """The writers made so far, by the names of a map's attributes."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._map_writers: dict[tuple[str, ...], MapWriter] = {}
        self._list_writers: dict[tuple[str, ...], ListWriter] = {}
        self._sightings: dict[tuple[str, ...], int] = {}
        others: Mapping[str, ContentWriter] = {**_CONTENTS, "L": self._list, "M": self._map}
        self._contents = Contents(_PLAIN, others, self.value)

    def members(self, item: Members, numbers: list[str]) -> str:
        """A map's members as JSON text, without the braces.

        Raises:
            One of ``GIVE_UP``; ``numbers`` is then of no use.
        """
        names = tuple(item)
        writer = self._map_writers.get(names)
        if writer is None:
            return self._unmade(names, item, numbers)
        collected = len(numbers)
        try:
            return writer(item, numbers)
        except (KeyError, UnusualError):
            del numbers[collected:]
            return self._generalised(names, item)(item, numbers)

    def value(self, value: Mapping[str, Any], numbers: list[str]) -> str:
        """Any attribute value as JSON text."""
        [(tag, content)] = value.items()
        return self._contents.others[tag](content, numbers)

    def _unmade(self, names: tuple[str, ...], item: Members, numbers: list[str]) -> str:
        sightings = self._sightings.get(names, 0) + 1
        if not 0 < len(names) <= MAX_MEMBERS or sightings < SIGHTINGS:
            if len(self._sightings) >= MAX_SHAPES:
                self._sightings.clear()
            self._sightings[names] = sightings
            return self._unshaped(names, item, numbers)
        if len(self._shapes) >= MAX_SHAPES:
            # As many as come with a map whose keys are data: what was made first stays.
            return self._unshaped(names, item, numbers)
        return self._make(names, _shape(item))(item, numbers)

    def _unshaped(self, names: tuple[str, ...], item: Members, numbers: list[str]) -> str:
        _tags(item)
        texts = (self.value(value, numbers) for value in item.values())
        few = len(names) <= MAX_MEMBERS
        labels = cached_column_labels(names) if few else column_labels(names)
        return "".join(chain.from_iterable(zip(labels, texts, strict=True)))

    def _generalised(self, names: tuple[str, ...], item: Members) -> MapWriter:
        """The shape's writer, made again for an item that has other type tags."""
        known = self._shapes[names]
        shape = _merged(known, _shape(item))
        if shape == known:
            raise UnusualError
        return self._make(names, shape)

    def _make(self, names: tuple[str, ...], shape: Shape) -> MapWriter:
        writer = map_writer(shape, self._contents)
        self._shapes[names] = shape
        self._map_writers[names] = writer
        self._list_writers.pop(names, None)
        return writer

    def _list_writer(self, names: tuple[str, ...]) -> ListWriter | None:
        """What writes a list of such maps, None where they are not known yet."""
        writer = self._list_writers.get(names)
        if writer is None and names in self._shapes:
            writer = self._list_writers[names] = list_writer(self._shapes[names], self._contents)
        return writer

    def _map(self, content: Members, numbers: list[str]) -> str:
        return "{" + self.members(content, numbers) + "}"

    def _any_elements(self, elements: Sequence[Mapping[str, Any]], numbers: list[str]) -> str:
        return "[" + ",".join([self.value(element, numbers) for element in elements]) + "]"

    def _list(self, elements: Sequence[Mapping[str, Any]], numbers: list[str]) -> str:
        if not isinstance(elements, ARRAYS):
            raise UnusualError
        if not elements:
            return "[]"
        first = elements[0]
        if "M" in first:
            # Its elements probably have one shape.
            writer = self._list_writer(tuple(first["M"]))
            if writer is not None:
                collected = len(numbers)
                try:
                    return "[{" + "},{".join(writer(elements, numbers)) + "}]"
                except (KeyError, UnusualError):
                    del numbers[collected:]
            return self._any_elements(elements, numbers)
        if "S" in first and sum(map(len, elements)) == len(elements):
            with suppress(KeyError):
                return _strings([element["S"] for element in elements])
        if "N" in first and sum(map(len, elements)) == len(elements):
            with suppress(KeyError):
                texts = [element["N"] for element in elements]
                numbers += texts
                return f"[{','.join(texts)}]"
        return self._any_elements(elements, numbers)


def _tags(item: Members) -> tuple[str, ...]:
    values = item.values()
    tags = tuple(chain.from_iterable(values))
    if len(tags) != len(item) or sum(map(len, values)) != len(item):
        raise UnusualError
    return tags


def _shape(item: Members) -> Shape:
    shape = _nested_shape(item, MAX_LEVELS)
    return shape if shape.values <= MAX_MEMBERS else Shape(shape.names, _tags(item))


def _nested_shape(item: Members, levels: int) -> Shape:
    tags = _tags(item)
    if levels == 1:
        return Shape(tuple(item), tags)
    inner = [
        _nested_shape(value["M"], levels - 1) if tag == "M" else tag
        for tag, value in zip(tags, item.values(), strict=True)
    ]
    return Shape(tuple(item), tuple(inner))


def _merged(known: Shape, found: Shape) -> Shape:
    """The shape that holds for what either holds for; both have the same names."""
    pairs = zip(known.tags, found.tags, strict=True)
    return Shape(known.names, tuple([_merged_tag(one, other) for one, other in pairs]))


def _merged_tag(known: str | Shape, found: str | Shape) -> str | Shape:
    if known == found:
        return known
    if isinstance(known, Shape) and isinstance(found, Shape) and known.names == found.names:
        return _merged(known, found)
    maps = all(tag == "M" or isinstance(tag, Shape) for tag in (known, found))
    return "M" if maps else ANY_TAG


def _strings(content: Any) -> str:
    if not isinstance(content, ARRAYS):
        raise UnusualError
    joined = '","'.join(content)
    if len(quoted(joined)) == len(joined) + 2 * len(content):
        # Nothing was escaped but what stands between the strings.
        return f'["{joined}"]'
    return f"[{','.join(map(quoted, content))}]"


def _binaries(content: Any) -> str:
    if not isinstance(content, ARRAYS):
        raise UnusualError
    return f"[{','.join(map(binary_text, content))}]"


def _number(content: str, numbers: list[str]) -> str:
    numbers.append(content)
    return content


def _number_set(content: Sequence[str], numbers: list[str]) -> str:
    if not isinstance(content, ARRAYS):
        raise UnusualError
    numbers.extend(content)
    return f"[{','.join(content)}]"


def _without_numbers(write: Callable[[Any], str]) -> ContentWriter:
    return lambda content, numbers: write(content)


_PLAIN: Mapping[str, Callable[[Any], str]] = {
    "S": quoted,
    "B": binary_text,
    "BOOL": boolean_text,
    "NULL": null_text,
    "SS": _strings,
    "BS": _binaries,
}
"""What writes content in which there can be no number."""

_CONTENTS: Mapping[str, ContentWriter] = {
    **{tag: _without_numbers(write) for tag, write in _PLAIN.items()},
    "N": _number,
    "NS": _number_set,
}
