"""The quick writer of items: functions made for each shape of a map, several times as fast.

A shape is the names of a map's attributes and the type tag of each. Items of a table have few, so
a function is generated for each that recurs, in which nothing is left to decide for a value. The
generated source holds numbered identifiers only; names and labels are handed to it as objects.

A writer gives up (``GIVE_UP``) on whatever is not exactly what its shape says, and leaves it to
``values`` to say what is wrong. Number texts are collected for one check of all.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import binary_text, boolean_text, null_text, quoted
from ddb_pipeline.hive.names import column_names

Members = Mapping[str, Mapping[str, Any]]


class Writer(NamedTuple):
    """A shape's two functions: for one map, and for the maps of a list (``{"M": ...}`` each).

    They answer with the maps' members as JSON text and add the texts of their numbers, unchecked.
    """

    one: Callable[[Members, list[str]], str]
    many: Callable[[Sequence[Members], list[str]], list[str]]


ContentWriter = Callable[[Any, list[str]], str]

ARRAYS = (list, tuple, set, frozenset)
ANY_TAG = ""
"""Stands in a shape for an attribute whose type tag varies, such as one that is NULL at times."""
MAX_SHAPES = 512
MAX_MEMBERS = 200
SIGHTINGS = 8
"""Making a writer takes as long as writing some twenty items: not for what does not recur."""


class UnusualError(Exception):
    """A value is not what it looks like."""


GIVE_UP = (UnusualError, KeyError, ValueError, TypeError, AttributeError, RecursionError)


class Shapes:
    """The writers made so far, by the names of a map's attributes."""

    def __init__(self) -> None:
        self._writers: dict[tuple[str, ...], Writer] = {}
        self._tags: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._sightings: dict[tuple[str, ...], int] = {}
        self._contents: Mapping[str, ContentWriter] = {
            **_CONTENTS,
            "L": self._list,
            "M": self._map,
        }

    def members(self, item: Members, numbers: list[str]) -> str:
        """A map's members as JSON text, without the braces.

        Raises:
            One of ``GIVE_UP``; ``numbers`` is then of no use.
        """
        names = tuple(item)
        writer = self._writers.get(names)
        if writer is None:
            return self._unmade(names, item, numbers)
        collected = len(numbers)
        try:
            return writer.one(item, numbers)
        except KeyError:
            del numbers[collected:]
            return self._generalised(names, item).one(item, numbers)

    def _any_elements(self, elements: Sequence[Mapping[str, Any]], numbers: list[str]) -> str:
        return "[" + ",".join([self.value(element, numbers) for element in elements]) + "]"

    def _unmade(self, names: tuple[str, ...], item: Members, numbers: list[str]) -> str:
        sightings = self._sightings.get(names, 0) + 1
        if not 0 < len(names) <= MAX_MEMBERS or sightings < SIGHTINGS:
            if len(self._sightings) >= MAX_SHAPES:
                self._sightings.clear()
            self._sightings[names] = sightings
            return self._unshaped(names, item, numbers)
        if len(self._writers) >= MAX_SHAPES:
            # As many as come with a map whose keys are data: what was made first stays.
            return self._unshaped(names, item, numbers)
        return self._make(names, _tags(item)).one(item, numbers)

    def _unshaped(self, names: tuple[str, ...], item: Members, numbers: list[str]) -> str:
        _tags(item)
        texts = (self.value(value, numbers) for value in item.values())
        labels = _cached_labels(names) if len(names) <= MAX_MEMBERS else column_labels(names)
        return "".join(chain.from_iterable(zip(labels, texts, strict=True)))

    def _generalised(self, names: tuple[str, ...], item: Members) -> Writer:
        """The shape's writer, made again for an item that has other type tags."""
        known = self._tags[names]
        pairs = zip(known, _tags(item), strict=True)
        tags = tuple([tag if tag == found else ANY_TAG for tag, found in pairs])
        if tags == known:
            raise UnusualError
        return self._make(names, tags)

    def _make(self, names: tuple[str, ...], tags: tuple[str, ...]) -> Writer:
        writer = make_writer(names, tags, self)
        self._tags[names] = tags
        self._writers[names] = writer
        return writer

    def value(self, value: Mapping[str, Any], numbers: list[str]) -> str:
        """Any attribute value as JSON text."""
        [(tag, content)] = value.items()
        return self._contents[tag](content, numbers)

    def content(self, tag: str) -> ContentWriter:
        """What writes the content under a type tag."""
        return self._contents[tag]

    def _map(self, content: Members, numbers: list[str]) -> str:
        return "{" + self.members(content, numbers) + "}"

    def _list(self, elements: Sequence[Mapping[str, Any]], numbers: list[str]) -> str:
        if not isinstance(elements, ARRAYS):
            raise UnusualError
        if not elements:
            return "[]"
        first = elements[0]
        if "M" in first:
            # Its elements probably have one shape.
            writer = self._writers.get(tuple(first["M"]))
            if writer is not None:
                collected = len(numbers)
                try:
                    return "[{" + "},{".join(writer.many(elements, numbers)) + "}]"
                except (KeyError, UnusualError):
                    del numbers[collected:]
            return self._any_elements(elements, numbers)
        if "S" in first and sum(map(len, elements)) == len(elements):
            with suppress(KeyError):
                return "[" + ",".join([quoted(element["S"]) for element in elements]) + "]"
        if "N" in first and sum(map(len, elements)) == len(elements):
            with suppress(KeyError):
                texts = [element["N"] for element in elements]
                numbers += texts
                return f"[{','.join(texts)}]"
        return self._any_elements(elements, numbers)


def make_writer(names: Sequence[str], tags: Sequence[str], shapes: Shapes) -> Writer:
    """Generate a shape's writer.

    For ``id`` (S) and ``n`` (N) the source for one map is::

        def one(item, numbers):
            v0 = item[k0]
            v1 = item[k1]
            n1 = v1['N']
            if len(item) != 2 or len(v0) + len(v1) != 2: raise UnusualError
            numbers += (n1,)
            return f"{l0}{w0(v0['S'])}{l1}{n1}"

    and for the maps of a list the same in a loop. A number that is no string is found with the
    others that are no numbers.
    """
    space: dict[str, Any] = {"members": shapes.members, "UnusualError": UnusualError}
    values, numbers, texts = [], [], []
    for i, (name, tag, label) in enumerate(
        zip(names, tags, column_labels(tuple(names)), strict=True)
    ):
        space[f"k{i}"], space[f"l{i}"] = name, label
        values.append(f"v{i} = item[k{i}]")
        if tag == "N":
            values.append(f"n{i} = v{i}['N']")
            numbers.append(f"n{i}")
            text = f"{{n{i}}}"
        elif tag == "M":
            text = f"{{{{{{members(v{i}['M'], numbers)}}}}}}"
        elif tag in _PLAIN:
            space[f"w{i}"] = _PLAIN[tag]
            text = f"{{w{i}(v{i}['{tag}'])}}"
        elif tag == ANY_TAG:
            space[f"w{i}"] = shapes.value
            text = f"{{w{i}(v{i}, numbers)}}"
        else:
            space[f"w{i}"] = shapes.content(tag)
            text = f"{{w{i}(v{i}['{tag}'], numbers)}}"
        texts.append(f"{{l{i}}}{text}")
    lengths = " + ".join(f"len(v{i})" for i in range(len(names))) or "0"
    count = len(names)
    collect = [f"numbers += ({', '.join(numbers)},)"] if numbers else []
    text = f'f"{"".join(texts)}"'
    one = [
        "def one(item, numbers):",
        *values,
        f"if len(item) != {count} or {lengths} != {count}: raise UnusualError",
        *collect,
        f"return {text}",
    ]
    loop = [
        "for element in elements:",
        " item = element['M']",
        *(f" {line}" for line in values),
        f" if len(element) + len(item) + {lengths} != {2 * count + 1}: raise UnusualError",
        *(f" {line}" for line in collect),
        f" texts.append({text})",
    ]
    many = ["def many(elements, numbers):", "texts = []", *loop, "return texts"]
    for source in (one, many):
        exec("\n ".join(source), space)
    return Writer(space["one"], space["many"])


def column_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each attribute name of one level as the JSON text before its value, comma included."""
    columns = column_names(names)
    labels = [f",{quoted(columns[name])}:" for name in names]
    return (labels[0][1:], *labels[1:]) if labels else ()


_cached_labels = lru_cache(maxsize=1024)(column_labels)


def _tags(item: Members) -> tuple[str, ...]:
    values = item.values()
    tags = tuple(chain.from_iterable(values))
    if len(tags) != len(item) or sum(map(len, values)) != len(item):
        raise UnusualError
    return tags


def _strings(content: Any) -> str:
    if not isinstance(content, ARRAYS):
        raise UnusualError
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
