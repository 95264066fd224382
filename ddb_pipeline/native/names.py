"""The table of names for a walk: which name leads from which owner to what."""

import ctypes

import numpy as np

from ddb_pipeline.native.library import SLOT, Library, Names

FREE = -1


class NameTable:
    """A growing hash table, at most half full. ``state`` is what the C side reads."""

    def __init__(self, library: Library, state: Names) -> None:
        self._library = library
        self._state = state
        self._entries: list[tuple[int, int, int, int]] = []
        self._bytes = np.zeros(4096, np.uint8)
        self._used = 0
        self._slots = np.empty(0, SLOT)
        self._rebuild(64)

    def add(self, owner: int, name: bytes, child: int) -> None:
        """Add a name, which the owner does not have yet."""
        at = self.store(name)
        entry = (owner, child, at, len(name))
        self._entries.append(entry)
        if 2 * len(self._entries) > len(self._slots):
            self._rebuild(2 * len(self._slots))
        else:
            self._library.add_name(ctypes.byref(self._state), *entry)

    def store(self, text: bytes) -> int:
        """Store a text beside the names and return where it begins."""
        at, self._used = self._used, self._used + len(text)
        if self._used > len(self._bytes):
            self._bytes = np.resize(self._bytes, 2 * self._used)
            self._state.bytes = self._bytes.ctypes.data
        self._bytes[at : self._used] = np.frombuffer(text, np.uint8)
        return at

    def _rebuild(self, size: int) -> None:
        self._slots = np.full(size, np.array((0, FREE, 0, 0), SLOT), SLOT)
        self._state.slots, self._state.mask = self._slots.ctypes.data, size - 1
        self._state.bytes = self._bytes.ctypes.data
        for entry in self._entries:
            self._library.add_name(ctypes.byref(self._state), *entry)
