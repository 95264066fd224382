"""Observes types in blocks of lines: counts of type tags and ranges of numbers, by place.

A place is a path in the items. Place 0 is the item itself; below it are members by column name,
elements of lists, and members of any name where the keys are data.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ddb_pipeline.native.library import (
    DEFERRED,
    EVENT,
    KEY,
    LINE,
    PLACE,
    Library,
    Observation,
    Status,
)
from ddb_pipeline.native.names import NameTable
from ddb_pipeline.native.scanner import FIRST_CAPACITY, FirstCapacity, enlarged

LISTS: Final = ("events", "irregular", "deferred", "keys")
"""The lists of an observer, in the order of their numbers when they are full."""

CAPACITIES: Final = ("event_capacity", "irregular_capacity", "deferred_capacity", "key_capacity")

MAX_NAMES: Final = 200_000
"""Names and places that are learned. Lines with more are irregular."""

MAX_LEVELS: Final = 49


class Observed(NamedTuple):
    """What a block leaves to the caller.

    Attributes:
        deferred: numbers whose range is not counted: place (``node``), ``start`` and ``length``.
        irregular: the lines that were not observed.
    """

    deferred: npt.NDArray[Any]
    irregular: npt.NDArray[Any]


class Observer:
    """Observes blocks of lines. Not thread-safe.

    Attributes:
        members: by place, the places of its members by column name.
        places: what was counted, by place; see ``Place`` in ``observe.c``.
    """

    def __init__(
        self,
        library: Library,
        member: bytes,
        column_name: Callable[[str], str],
        is_too_many: Callable[[int, int], bool],
        longest_line: int,
        first: FirstCapacity = FIRST_CAPACITY,
    ) -> None:
        """
        Args:
            member: the member of each line that has the item.
            is_too_many: whether a place with so many members has keys that are data.
        """
        self._library = library
        self._column_name = column_name
        self._is_too_many = is_too_many
        self._state = Observation(longest_line=longest_line, max_level=MAX_LEVELS)
        self._member = np.frombuffer(member, np.uint8)
        self._state.member, self._state.member_length = self._member.ctypes.data, len(member)
        self._names = NameTable(library, self._state.names)
        self._name_count = 0
        self.members: list[dict[str, int]] = []
        self.places = np.zeros(0, PLACE)
        self._add_place()
        self._events = np.empty(first.entries, EVENT)
        self._irregular = np.empty(first.entries, LINE)
        self._deferred = np.empty(first.entries, DEFERRED)
        self._keys = np.empty(first.entries, KEY)
        self._set_lists()

    @property
    def items(self) -> int:
        """Number of items that were observed."""
        return int(self._state.items)

    def observe(self, block: bytes) -> Observed:
        """Observe a block of whole lines in UTF-8; the last line may lack its newline."""
        state = self._state
        state.deferred_count = state.irregular_count = state.line_count = 0
        address = ctypes.cast(ctypes.c_char_p(block), ctypes.c_void_p).value or 0
        state.block, state.end = address, address + len(block)
        at = 0
        while True:
            at = self._library.observe_lines(ctypes.byref(state), at)
            if state.status == Status.AT_END:
                break
            if state.status == Status.FULL_LIST:
                self._enlarge_list(LISTS[state.needed])
            elif not self._learn(int(state.place), block):
                at = self._skip_line(block, at)
        return Observed(
            self._deferred[: state.deferred_count], self._irregular[: state.irregular_count]
        )

    def _skip_line(self, block: bytes, start: int) -> int:
        state = self._state
        end = block.find(b"\n", start)
        end = len(block) if end < 0 else end
        self._irregular[state.irregular_count] = (start, end, state.line_count)
        state.irregular_count += 1
        state.line_count += 1
        return min(end + 1, len(block))

    def _learn(self, place: int, block: bytes) -> bool:
        """Learn the name, or the place of elements, at which the walk stopped."""
        state = self._state
        if len(self.members) >= MAX_NAMES or self._name_count >= MAX_NAMES:
            return False
        if state.name_length < 0:
            self._set("element", place, self._add_place())
            return True
        members = self.members[place]
        if self._is_too_many(place, len(members)) and self._is_too_many(place, self._used(place)):
            self._set("any_member", place, self._add_place())
            return True
        name = block[state.name_at : state.name_at + state.name_length]
        column = self._column_name(name.decode())
        if column not in members:
            members[column] = self._add_place()
        self._name_count += 1
        self._names.add(place, name, members[column])
        return True

    def _used(self, place: int) -> int:
        """Members that regular lines have. The names of other lines are learned, too."""
        numbers = list(self.members[place].values())
        return int(np.count_nonzero(self.places["counts"][numbers].any(axis=1)))

    def _add_place(self) -> int:
        number = len(self.members)
        self.members.append({})
        if number >= len(self.places):
            self.places = enlarged(self.places, number + 64)
            self._state.places = self.places.ctypes.data
        self.places[number] = np.zeros((), PLACE)
        self._set("element", number, -1)
        self._set("any_member", number, -1)
        return number

    def _set(self, name: str, place: int, value: int) -> None:
        self.places[name][place] = value

    def _enlarge_list(self, name: str) -> None:
        full: npt.NDArray[Any] = getattr(self, f"_{name}")
        setattr(self, f"_{name}", enlarged(full, len(full) + 1))
        self._set_lists()

    def _set_lists(self) -> None:
        for name, capacity in zip(LISTS, CAPACITIES, strict=True):
            array = getattr(self, f"_{name}")
            setattr(self._state, name, array.ctypes.data)
            setattr(self._state, capacity, len(array))
        self._key_order = np.empty(4 * len(self._keys) + 4, np.int32)
        self._state.key_order = self._key_order.ctypes.data
