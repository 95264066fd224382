"""Types observed by the walk in C, as the observation that ``hive.observation`` would make."""

from typing import Final

import pyarrow as pa

from ddb_pipeline.export.lines import MAX_MARKS
from ddb_pipeline.export.rows.native_reader import gathered
from ddb_pipeline.export.rows.number_ranges import range_of_numbers
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.numbers import NumberRange
from ddb_pipeline.hive.observation import MAX_ATTRIBUTES, MAX_MAP_KEYS, Observation
from ddb_pipeline.native.library import TAGS, Library
from ddb_pipeline.native.observer import Observer

ITEM_PLACE: Final = 0


class NativeInference:
    """Observes blocks of lines. Not thread-safe."""

    def __init__(self, library: Library, image: str) -> None:
        self._library = library
        self._observer = Observer(library, image.encode(), column_name, _is_too_many, MAX_MARKS)
        self._ranges: dict[int, NumberRange] = {}

    @property
    def items(self) -> int:
        """Number of items that were observed."""
        return self._observer.items

    def add(self, block: bytes) -> list[bytes] | None:
        """Observe a block and return the lines that were not observed; None if it is not UTF-8."""
        if not self._library.is_utf8(block, len(block)):
            return None
        deferred, irregular = self._observer.observe(block)
        if len(deferred):
            places = deferred["node"]
            for place in set(places.tolist()):
                mine = deferred[places == place]
                self._add_numbers(place, gathered(block, mine["start"], mine["length"]))
        spans = zip(irregular["start"].tolist(), irregular["end"].tolist(), strict=True)
        return [block[start:end] for start, end in spans]

    def seen(self) -> Observation:
        """The observation of all items so far."""
        return self._at(ITEM_PLACE, 0) or Observation()

    def _add_numbers(self, place: int, texts: pa.Array) -> None:
        found = range_of_numbers(texts)
        known = self._ranges.get(place)
        self._ranges[place] = found if known is None else known.merged(found)

    def _at(self, number: int, level: int) -> Observation | None:
        """The observation of a place; None if no regular line has it."""
        place = self._observer.places[number]
        objects, *counts = place["counts"].tolist()
        if not any(counts):
            return None
        seen = Observation()
        seen.counts = {tag: count for tag, count in zip(TAGS, counts, strict=True) if count}
        seen.objects = objects
        if place["numbers"]:
            whole, scale = int(place["whole_digits"]), int(place["scale"])
            bigint, double = not place["not_bigint"], not place["not_double"]
            seen.add_numbers(NumberRange(whole, scale, bigint, double))
        if number in self._ranges:
            seen.add_numbers(self._ranges[number])
        seen.elements = self._inside(int(place["element"]), level)
        fields = {
            name: inside
            for name, child in self._observer.members[number].items()
            if (inside := self._at(child, level + 1)) is not None
        }
        seen.fields = fields
        anything = self._inside(int(place["any_member"]), level)
        if anything is not None or _is_too_many(number, len(fields)):
            seen.forget_names(level)
        if anything is not None:
            seen.member("").absorb(anything, level + 1)
        return seen

    def _inside(self, number: int, level: int) -> Observation | None:
        return self._at(number, level + 1) if number >= 0 else None


def _is_too_many(place: int, names: int) -> bool:
    return names > (MAX_MAP_KEYS if place != ITEM_PLACE else MAX_ATTRIBUTES)
