"""Columns passed from one process to another in a JSON file: ``[["name", "type"], ...]``."""

import json
from collections.abc import Sequence

import pyarrow.fs

from ddb_pipeline.hive.types import Column


def write_columns_file(
    filesystem: pyarrow.fs.FileSystem, path: str, columns: Sequence[Column | tuple[str, str]]
) -> None:
    """Write columns to a file; missing folders are created."""
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with filesystem.open_output_stream(path) as sink:
        sink.write(json.dumps([list(column) for column in columns]).encode())


def read_columns_file(filesystem: pyarrow.fs.FileSystem, path: str) -> tuple[Column, ...]:
    """Read the columns that ``write_columns_file`` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file holds something else.
    """
    with filesystem.open_input_stream(path) as source:
        return tuple(Column(str(name), str(text)) for name, text in json.loads(source.read()))
