"""The compiled library: found, checked and loaded once.

``python -m ddb_pipeline.native.build`` compiles it beside this module, as the installation does. In
an archive of Python modules (Spark's), where no library can be, it is in the folder
``ddb_pipeline_native`` on the path.
"""

import ctypes
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from ddb_pipeline.native.build import FOLDER, library_name, source_digest

Pointer = ctypes.c_void_p
Number = ctypes.c_int64

LIBRARIES_PACKAGE: Final = "ddb_pipeline_native"
"""The folder, on Python's path, with libraries for an archive of this package's modules."""

_log = logging.getLogger(__name__)

Kind = IntEnum(
    "Kind",
    "STRING INTEGER DOUBLE FLOAT DECIMAL BOOLEAN BINARY DATE TIMESTAMP LIST MAP STRUCT NOTHING "
    "EXACT_ONLY ONLY_TEXT SPLIT LEFT",
    start=0,
)
"""Kinds of nodes, as ``scan.c`` numbers them."""

Status = IntEnum(
    "Status", "AT_END IRREGULAR UNKNOWN_NAME FULL_PLACES FULL_BYTES FULL_LIST", start=0
)
"""Why a walk stopped."""

LISTS: Final = ("row_lines", "irregular", "deferred", "keys")
"""The lists of a scan, in the order of their numbers when they are full."""

CAPACITIES: Final = ("row_capacity", "irregular_capacity", "deferred_capacity", "key_capacity")

TAGS: Final = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
"""DynamoDB's type tags; the C sources number them from 1."""

NODE: Final = np.dtype(
    {
        "names": [
            *("valid", "values", "ends", "bytes", "capacity", "bytes_capacity", "length"),
            *("kind", "parent", "element", "key", "digits", "scale"),
        ],
        "formats": [*(["u8"] * 4), *(["i8"] * 3), *(["i4"] * 6)],
    },
    align=True,
)
SLOT: Final = np.dtype([("owner", "i4"), ("child", "i4"), ("at", "i4"), ("length", "i4")])
DEFERRED: Final = np.dtype(
    [(name, "i8") for name in ("node", "place", "start", "length", "row", "tag")]
)
LINE: Final = np.dtype([("start", "i8"), ("end", "i8"), ("number", "i8")])
COLUMN_NAME: Final = np.dtype([("at", "i4"), ("length", "i4")])
EVENT: Final = np.dtype("V8")
PLACE: Final = np.dtype(
    [
        ("counts", "u8", (len(TAGS) + 1,)),
        *[
            (name, "i8")
            for name in (
                *("whole_digits", "scale", "numbers", "not_bigint", "not_double"),
                *("element", "any_member", "object"),
            )
        ],
    ]
)
KEY: Final = np.dtype([("hash", "u8"), ("at", "i8"), ("length", "i8")])


class Names(ctypes.Structure):
    """The hash table of names."""

    _fields_ = [("slots", Pointer), ("mask", ctypes.c_uint64), ("bytes", Pointer)]


class Scan(ctypes.Structure):
    """The state of a scan."""

    _fields_ = [
        *(("nodes", Pointer), ("node_count", Number), ("names", Names), ("column_names", Pointer)),
        *(("rows", Number), ("row_lines", Pointer), ("row_capacity", Number)),
        *(("deferred", Pointer), ("deferred_count", Number), ("deferred_capacity", Number)),
        *(("irregular", Pointer), ("irregular_count", Number), ("irregular_capacity", Number)),
        *(("keys", Pointer), ("key_order", Pointer)),
        *(("key_count", Number), ("key_capacity", Number), ("line_count", Number)),
        *(("longest_line", Number), ("milliseconds_from", Number)),
        *(("status", Number), ("node", Number), ("name_at", Number), ("name_length", Number)),
        *(("needed", Number), ("level", Number), ("block", Pointer), ("end", Pointer)),
    ]


class Observation(ctypes.Structure):
    """The state of an observer."""

    _fields_ = [
        *(("places", Pointer), ("names", Names)),
        *(("events", Pointer), ("event_count", Number), ("event_capacity", Number)),
        *(("deferred", Pointer), ("deferred_count", Number), ("deferred_capacity", Number)),
        *(("irregular", Pointer), ("irregular_count", Number), ("irregular_capacity", Number)),
        *(("keys", Pointer), ("key_order", Pointer)),
        *(("key_count", Number), ("key_capacity", Number)),
        *(("items", Number), ("line_count", Number), ("longest_line", Number)),
        *(("status", Number), ("place", Number), ("name_at", Number), ("name_length", Number)),
        *(("needed", Number), ("level", Number), ("object", Number), ("max_level", Number)),
        *(("member", Pointer), ("member_length", Number), ("block", Pointer), ("end", Pointer)),
    ]


class ArrowArray(ctypes.Structure):
    """An array of Arrow's C data interface."""

    _fields_ = [
        *((name, Number) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
        *((name, Pointer) for name in ("buffers", "children", "dictionary", "release")),
        ("private_data", Pointer),
    ]


@dataclass(frozen=True, slots=True)
class Library:
    """The functions of the library; each releases the interpreter's lock."""

    scan_lines: Callable[..., int]
    fill_columns: Callable[..., None]
    export_rows: Callable[..., int]
    add_name: Callable[..., None]
    is_utf8: Callable[[bytes, int], int]
    observe_lines: Callable[..., int]


class UnusableLibraryError(Exception):
    """A file is no library of these sources; the message says why."""


@cache
def library() -> Library | None:
    """The library, loaded on the first call; None, after one line in the log, if there is none."""
    path = library_path()
    try:
        if path is None:
            raise UnusableLibraryError("it was not built")
        return load(path)
    except UnusableLibraryError as error:
        _log.warning(
            "The export reader in C cannot be used: %s. Exports are read by the slower reader. "
            "To build it, install a C compiler or the package ziglang and run: %s -m "
            "ddb_pipeline.native.build",
            error,
            sys.executable,
        )
        return None


def library_path() -> Path | None:
    """The library's file, beside this module or in ``LIBRARIES_PACKAGE``."""
    candidates = [FOLDER]
    spec = importlib.util.find_spec(LIBRARIES_PACKAGE)
    candidates += [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    paths = [folder / library_name() for folder in candidates]
    return next((path for path in paths if path.is_file()), None)


def load(path: Path, *, any_sources: bool = False) -> Library:
    """Load a library.

    Args:
        any_sources: whether it may have been compiled from other sources than those here.

    Raises:
        UnusableLibraryError: it cannot be loaded, or was compiled from other sources.
    """
    try:
        loaded = ctypes.CDLL(str(path))
        digest = loaded.digest_of_sources
        digest.restype = ctypes.c_char_p
        compiled_from = (digest() or b"").decode()
        structures = ("scan", "node", "observation", "place")
        sizes = [getattr(loaded, f"size_of_{name}")() for name in structures]
    except (OSError, AttributeError) as error:
        raise UnusableLibraryError(f"{path} cannot be loaded ({error})") from None
    # Read by the package's loader, because an archive of modules has the sources, too.
    sources = source_digest(lambda name: pkgutil.get_data("ddb_pipeline.native", name))
    if not any_sources and sources is not None and compiled_from != sources:
        raise UnusableLibraryError(f"{path} was built from other sources")
    expected = (ctypes.sizeof(Scan), NODE.itemsize, ctypes.sizeof(Observation), PLACE.itemsize)
    if tuple(sizes) != expected:
        raise UnusableLibraryError(f"{path} has other data structures")
    state = ctypes.POINTER(Scan)
    names = ctypes.POINTER(Names)
    return Library(
        scan_lines=_function(loaded, "scan_lines", Number, state, Number),
        fill_columns=_function(loaded, "fill_columns", None, state),
        export_rows=_function(
            loaded, "export_rows", Number, state, Number, ctypes.POINTER(ArrowArray)
        ),
        is_utf8=_function(loaded, "is_utf8", Number, ctypes.c_char_p, Number),
        observe_lines=_function(
            loaded, "observe_lines", Number, ctypes.POINTER(Observation), Number
        ),
        add_name=_function(loaded, "add_name", None, names, Number, Number, Number, Number),
    )


def _function(loaded: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = getattr(loaded, name)
    function.restype, function.argtypes = result, arguments
    found: Callable[..., Any] = function
    return found
