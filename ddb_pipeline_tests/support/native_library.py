"""The library in C for the tests of both readers, built from the sources where it is missing."""

import pytest

from ddb_pipeline.native.build import FOLDER, build, compiler, library_name
from ddb_pipeline.native.library import Library, UnusableLibraryError, library, load


def require_library() -> Library:
    """The library that is installed, built anew if it is of other sources.

    Skips the test where there is neither a library nor a compiler.
    """
    path = FOLDER / library_name()
    try:
        load(path)
    except UnusableLibraryError as error:
        if compiler() is None:
            pytest.skip(f"{error}, and there is no C compiler")
        build(path)
        library.cache_clear()
    found = library()
    assert found is not None
    return found


def require_reader(native: bool) -> bool:
    """``native``, after ``require_library`` if it is set."""
    if native:
        require_library()
    return native
