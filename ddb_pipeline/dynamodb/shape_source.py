"""The source of a shape's writer: functions in which nothing is left to decide for a value.

The generated source holds numbered identifiers only; names, labels and the functions that write
contents are handed to it as objects.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, Union

from ddb_pipeline.dynamodb.scalars import quoted
from ddb_pipeline.hive.names import column_names

Members = Mapping[str, Mapping[str, Any]]
ContentWriter = Callable[[Any, list[str]], str]
"""Writes the content under a type tag and adds the texts of its numbers, unchecked."""
MapWriter = Callable[[Members, list[str]], str]
"""Writes a map's members and adds the texts of their numbers, unchecked."""
ListWriter = Callable[[Sequence[Members], list[str]], list[str]]
"""Writes the members of each map of a list (``{"M": ...}``), as ``MapWriter`` does of one."""

ANY_TAG = ""
"""Stands in a shape for an attribute whose type tag varies, such as one that is NULL at times."""


class UnusualError(Exception):
    """A value is not what it looks like."""


class Shape(NamedTuple):
    """The names of a map's attributes and the type tag of each.

    For a map within it stands its own shape in the tag's place, where that is always the same.
    """

    names: tuple[str, ...]
    tags: tuple[Union[str, "Shape"], ...]

    @property
    def values(self) -> int:
        """How many values it has, those of the maps within it among them."""
        return sum(1 + (tag.values if isinstance(tag, Shape) else 0) for tag in self.tags)


class Contents(NamedTuple):
    """What writes the parts of a value.

    Attributes:
        plain: by type tag, content in which there can be no number.
        others: by type tag, all other content.
        any_value: a value of any type tag.
    """

    plain: Mapping[str, Callable[[Any], str]]
    others: Mapping[str, ContentWriter]
    any_value: ContentWriter


def map_writer(shape: Shape, contents: Contents) -> MapWriter:
    """Generate the writer of one map, which has the shape's names in the shape's order.

    For ``id`` (S), ``n`` (N) and a map ``m`` of ``x`` (N) the source is, but for the numbers in
    its identifiers::

        def write(item, numbers):
            add = numbers.append
            v0, v1, v2, = item.values()
            n1 = v1['N']
            m2 = v2['M']
            u3 = m2[k3]
            n3 = u3['N']
            if len(item) + len(v0) + len(v1) + len(v2) + len(m2) + len(u3) != 8: raise UnusualError
            add(n1)
            add(n3)
            return f"{l0}{w0(v0['S'])}{l1}{n1}{l2}{{{l3}{n3}}}"

    No length can be less than it should be, so that the sum of all tells of each. A number that is
    no string is found with the others that are no numbers.
    """
    source = _Source(contents)
    values = [f"v{i}" for i in range(len(shape.names))]
    text = source.members(shape, "item", values)
    body = [f"{', '.join(values)}, = item.values()", *source.checked(), f'return f"{text}"']
    writer: MapWriter = source.compiled("item", body)
    return writer


def list_writer(shape: Shape, contents: Contents) -> ListWriter:
    """Generate the writer of a list's maps, which have the shape's names in any order."""
    source = _Source(contents)
    source.measure("element", 1)
    text = source.members(shape, "item")
    loop = ["item = element['M']", *source.checked(), f'texts.append(f"{text}")']
    body = ["texts = []", "for element in elements:", *_indented(loop), "return texts"]
    writer: ListWriter = source.compiled("elements", body)
    return writer


class _Source:
    """A function's source as far as it is written."""

    def __init__(self, contents: Contents) -> None:
        self._space: dict[str, Any] = {"UnusualError": UnusualError}
        self._contents = contents
        self._ids = count()
        self._lines: list[str] = []
        self._numbers: list[str] = []
        self._lengths: list[str] = []
        self._length = 0

    def compiled(self, argument: str, body: Iterable[str]) -> Any:
        lines = [f"def write({argument}, numbers):", " add = numbers.append", *_indented(body)]
        exec("\n".join(lines), self._space)
        return self._space["write"]

    def checked(self) -> list[str]:
        """All values' lines, the check of their lengths, and what keeps their numbers."""
        check = f"if {' + '.join(self._lengths)} != {self._length}: raise UnusualError"
        return [*self._lines, check, *(f"add({number})" for number in self._numbers)]

    def members(self, shape: Shape, variable: str, values: Sequence[str] = ()) -> str:
        """A map's members as the inside of an f-string."""
        self.measure(variable, len(shape.names))
        labels = column_labels(shape.names)
        texts = []
        for position, (name, tag) in enumerate(zip(shape.names, shape.tags, strict=True)):
            value = values[position] if values else self._looked_up(name, variable)
            texts.append(f"{{{self._named('l', labels[position])}}}{self._value(tag, value)}")
        return "".join(texts)

    def _looked_up(self, name: str, variable: str) -> str:
        value = f"u{next(self._ids)}"
        self._lines.append(f"{value} = {variable}[{self._named('k', name)}]")
        return value

    def _value(self, tag: "str | Shape", value: str) -> str:
        self.measure(value, 1)
        contents = self._contents
        if isinstance(tag, Shape):
            inner = f"m{next(self._ids)}"
            self._lines.append(f"{inner} = {value}['M']")
            return f"{{{{{self.members(tag, inner)}}}}}"
        if tag == "N":
            number = f"n{next(self._ids)}"
            self._lines.append(f"{number} = {value}['N']")
            self._numbers.append(number)
            return f"{{{number}}}"
        if tag == ANY_TAG:
            return f"{{{self._named('w', contents.any_value)}({value}, numbers)}}"
        if tag in contents.plain:
            return f"{{{self._named('w', contents.plain[tag])}({value}['{tag}'])}}"
        return f"{{{self._named('w', contents.others[tag])}({value}['{tag}'], numbers)}}"

    def measure(self, variable: str, length: int) -> None:
        self._lengths.append(f"len({variable})")
        self._length += length

    def _named(self, prefix: str, thing: Any) -> str:
        name = f"{prefix}{next(self._ids)}"
        self._space[name] = thing
        return name


def _indented(lines: Iterable[str]) -> list[str]:
    return [f" {line}" for line in lines]


def column_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each attribute name of one level as the JSON text before its value, comma included."""
    columns = column_names(names)
    labels = [f",{quoted(columns[name])}:" for name in names]
    return (labels[0][1:], *labels[1:]) if labels else ()


cached_column_labels = lru_cache(maxsize=1024)(column_labels)
