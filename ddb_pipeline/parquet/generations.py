"""Folders whose Parquet is replaced in one step, while readers read what was there before.

Each write is a *generation*: files in a folder of their own, which nobody reads until the write of
one small object, the folder's manifest, makes it the current one. A reader that has begun with the
generation before finishes with it, because its files stay for a while. Two writers at once both
write whole generations; the manifest that is written last counts.

::

    <folder>/_current.json                            the manifest
    <folder>/20261124T090512123456-6f1c2a9b/part-0000.parquet

An interrupted write leaves a folder without a manifest, which a later write removes.
"""

import base64
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Final

import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.parquet.parts import Part, PartOptions, PartWriter, total_rows
from ddb_pipeline.parquet.publish import Destination, PublishError, writing_to

MANIFEST: Final = "_current.json"
STEM: Final = "part"
_NAME: Final = re.compile(r"(\d{8}T\d{12})-[0-9a-f]{8}")
_TIME: Final = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class Generation:
    """The files of one write.

    Attributes:
        name: its folder's name, which sorts by the time of the write.
        parts: the files, with paths relative to that folder.
        schema: the schema of the rows as they were given to the writer, which may have other types
            than the files.
    """

    name: str
    parts: tuple[Part, ...]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """Number of rows."""
        return total_rows(self.parts)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(part.size for part in self.parts)


@contextmanager
def new_generation(
    destination: Destination, batches: Iterable[pa.Table], schema: pa.Schema, options: PartOptions
) -> Iterator[Generation]:
    """Write a generation's files, which nobody reads yet, for the block to make it current.

    The files are removed if they cannot be written whole, or if the block raises.

    Args:
        destination: the folder.
        batches: the rows, a few at a time, all with the types that the files are to have.
        schema: see :class:`Generation`.
        options: how the files are written.

    Raises:
        PublishError: the destination cannot be written.
    """
    name = f"{datetime.now(timezone.utc).strftime(_TIME)}-{uuid.uuid4().hex[:8]}"
    folder = f"{destination.path}/{name}"
    try:
        parts = _written(destination, folder, batches, options)
        yield Generation(name, tuple(parts), schema)
    except BaseException:
        with suppress(OSError):
            destination.filesystem.delete_dir(folder)
        raise


def make_current(destination: Destination, generation: Generation) -> None:
    """Have readers read this generation from now on.

    Raises:
        PublishError: the manifest cannot be written.
    """
    manifest = {
        "generation": generation.name,
        "parts": [[part.path, part.rows, part.size] for part in generation.parts],
        "schema": base64.b64encode(generation.schema.serialize().to_pybytes()).decode(),
    }
    with writing_to(destination):
        _replace(destination, MANIFEST, json.dumps(manifest).encode())


def current_generation(destination: Destination) -> Generation | None:
    """The generation that readers read; None if nothing was written yet.

    Raises:
        PublishError: the manifest is damaged.
    """
    path = f"{destination.path}/{MANIFEST}"
    try:
        with destination.filesystem.open_input_stream(path) as source:
            body = source.read()
    except FileNotFoundError:
        return None
    try:
        manifest = json.loads(body)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"])))
        parts = tuple(Part(*entry) for entry in manifest["parts"])
        return Generation(manifest["generation"], parts, schema)
    except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise PublishError(
            f"{path} is damaged ({type(error).__name__}: {error}). Write the dataset again."
        ) from error


def drop_superseded(destination: Destination, current: str, keep: timedelta) -> list[str]:
    """Remove generations that nobody reads any more; returns their names.

    Args:
        destination: the folder.
        current: the name of the current generation.
        keep: how long a generation stays after the next one was begun. It must be longer than any
            write and any read takes.
    """
    selector = pyarrow.fs.FileSelector(destination.path, allow_not_found=True)
    names = sorted(
        info.base_name
        for info in destination.filesystem.get_file_info(selector)
        if _NAME.fullmatch(info.base_name)
    )
    dropped = superseded(names, current, datetime.now(timezone.utc) - keep)
    for name in dropped:
        with suppress(FileNotFoundError):
            destination.filesystem.delete_dir(f"{destination.path}/{name}")
    return dropped


def superseded(names: list[str], current: str, before: datetime) -> list[str]:
    """Of generations in the order of their names, those whose successor was begun ``before``."""
    return [
        name
        for name, successor in pairwise(names)
        if name != current and _begun(successor) < before
    ]


def _begun(name: str) -> datetime:
    return datetime.strptime(name.partition("-")[0], _TIME).replace(tzinfo=timezone.utc)


def _written(
    destination: Destination, folder: str, batches: Iterable[pa.Table], options: PartOptions
) -> list[Part]:
    writer = PartWriter(destination.filesystem, folder, STEM, options)
    try:
        for batch in batches:
            with writing_to(destination):
                writer.write(batch)
        with writing_to(destination):
            return writer.close()
    except BaseException:
        # On an object store a closed stream is an object, whatever it holds; it is removed next.
        with suppress(OSError):
            writer.abort()
        raise


def _replace(destination: Destination, name: str, body: bytes) -> None:
    """Write an object, or a file by a rename, so that readers see the old or the new one."""
    filesystem, path = destination.filesystem, f"{destination.path}/{name}"
    written = path
    if destination.local:
        written = f"{destination.path}/.{name}.{uuid.uuid4().hex[:8]}"
        filesystem.create_dir(destination.path, recursive=True)
    with filesystem.open_output_stream(written) as sink:
        sink.write(body)
    if destination.local:
        filesystem.move(written, path)
