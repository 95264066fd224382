"""Data files of exports: blocks of lines, items and changes, each file verified by its checksum."""

import gzip
import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

from isal import isal_zlib

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.ion import BINARY_MARKER, ion_as_json
from ddb_pipeline.export.layout import DYNAMODB_JSON, ION, DataFile, ItemChange
from ddb_pipeline.export.lines import SHOWN_BYTES, Lines, RejectedLine, whole_lines
from ddb_pipeline.export.manifest import (
    ChecksumError,
    ExportError,
    MalformedExportError,
    Open,
    json_object,
    read_json_object,
)

COMPRESSED_BYTES = 256 * 1024
CONTENT_BYTES = 1024 * 1024
"""Most bytes that are decompressed at a time: gzip shortens text up to a thousandfold."""

KEPT_BYTES = 16 * 1024 * 1024
"""Freed memory that is not returned to the system at once."""

_GZIP_ONLY = 31
"""``wbits`` of zlib for a gzip header and the largest window."""
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_GZIP_ERRORS = (EOFError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile)


def read_blocks(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[Lines]:
    """A data file's lines in blocks of about 2 MiB, each of whole lines, streamed.

    An export in Amazon Ion is returned as the same lines of DynamoDB JSON. The checksum is
    verified at the end: use no line as final before the iterator is exhausted. The caller counts
    the lines, rejected ones included, and passes the count to ``check_item_count``.

    Raises:
        ChecksumError: the MD5 differs from the manifest's.
        MalformedExportError: the file is missing, or it is not gzip, or it is binary Ion.
    """
    _keep_freed_memory()
    try:
        source = open_object(file.key)
    except FileNotFoundError:
        raise MalformedExportError(
            file.key, "it is in the manifest and not in the bucket. Export again."
        ) from None
    with source:
        digesting = _Digesting(source)
        try:
            for lines in whole_lines(_gunzipped(digesting)):
                if output_format == ION:
                    if lines.block.startswith(BINARY_MARKER):
                        raise MalformedExportError(
                            file.key, "it is binary Ion, which DynamoDB does not write."
                        )
                    lines = ion_as_json(lines)
                yield lines
        except _GZIP_ERRORS as error:
            raise MalformedExportError(
                file.key, f"it is not a complete gzip file: {error}"
            ) from error
        except OSError as error:
            raise ExportError(file.key, f"it cannot be read: {error}") from error
    if file.md5 and digesting.md5() != file.md5:
        raise ChecksumError(
            file.key, f"its MD5 is {digesting.md5()}, the manifest states {file.md5}."
        )


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep the memory of a block for the next one.

    Otherwise the system takes it back and clears it again, up to a third of the time of reading.
    When a block with a mapping of its own is freed, glibc no longer maps blocks up to that size,
    and keeps twice as much at the end of its heap (mallopt(3), "Dynamic mmap threshold"). The
    memory is not touched; other C libraries do nothing.
    """
    bytes(KEPT_BYTES)


def check_item_count(file: DataFile, counted: int) -> None:
    """Compare the number of items of a data file with the manifest.

    Raises:
        ChecksumError: the numbers differ.
    """
    if counted != file.item_count:
        raise ChecksumError(
            file.key, f"it holds {counted} items, the manifest states {file.item_count}."
        )


def read_lines(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[bytes]:
    """A data file's lines without their newlines, streamed; empty lines are left out.

    Raises:
        ExportError: see ``read_blocks`` and ``check_item_count``.
    """
    count = 0
    for block, rejected in read_blocks(open_object, file, output_format):
        for line in rejected:
            where = f"attribute {line.path!r}: " if line.path else ""
            raise MalformedExportError(file.key, f"a line cannot be read: {where}{line.reason}.")
        for text in block.split(b"\n"):
            stripped = text.rstrip(b"\r")
            if stripped:
                count += 1
                yield stripped
    check_item_count(file, count)


def read_items(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[Item]:
    """The items of a full export's data file.

    Raises:
        ExportError: see ``read_blocks`` and ``check_item_count``; also a line without an item.
    """
    for number, found in read_item_lines(open_object, file, output_format):
        if isinstance(found, RejectedLine):
            where = f"attribute {found.path!r}: " if found.path else ""
            reason = f"line {number} cannot be read: {where}{found.reason}."
            raise MalformedExportError(file.key, reason)
        yield found


def read_item_lines(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[tuple[int, Item | RejectedLine]]:
    """The items of a full export's data file, and the lines that hold none, each with its number.

    The lines of a block that are rejected unread come before the block's other lines.

    Raises:
        ExportError: see ``read_blocks`` and ``check_item_count``.
    """
    count = 0
    for block, rejected in read_blocks(open_object, file, output_format):
        for line in rejected:
            count += 1
            yield count, line
        for text in block.split(b"\n"):
            stripped = text.rstrip(b"\r")
            if stripped:
                count += 1
                yield count, _item(stripped)
    check_item_count(file, count)


def _item(line: bytes) -> Item | RejectedLine:
    try:
        item = read_json_object(line).get("Item")
    except ValueError as error:
        return RejectedLine(line[:SHOWN_BYTES], "", str(error))
    if not isinstance(item, dict):
        return RejectedLine(line[:SHOWN_BYTES], "", "it holds no Item")
    return item


def read_changes(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[ItemChange]:
    """The changed items of an incremental export's data file.

    Raises:
        ExportError: see ``read_lines``; also a line without a changed item.
    """
    for number, line in enumerate(read_lines(open_object, file, output_format), 1):
        document = json_object(file.key, number, line)
        try:
            yield ItemChange(
                keys=document["Keys"],
                new_image=document.get("NewImage"),
                old_image=document.get("OldImage"),
                written_micros=int(document["Metadata"]["WriteTimestampMicros"]["N"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedExportError(
                file.key, f"line {number} is not a changed item: {error!r}."
            ) from error


def _gunzipped(source: "_Digesting") -> Iterator[bytes]:
    """The content of a gzip stream of any number of members, zero included."""
    member: Any = None
    while data := source.read(COMPRESSED_BYTES):
        while data:
            if member is None:
                # Zeros may pad a gzip stream: RFC 1952 leaves it open, gzip and Python accept them.
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = isal_zlib.decompressobj(wbits=_GZIP_ONLY)
            yield from _inflated(member, data)
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise EOFError("it ends too early")


def _inflated(member: Any, data: bytes) -> Iterator[bytes]:
    while True:
        content = member.decompress(data, CONTENT_BYTES)
        if content:
            yield content
        data = member.unconsumed_tail
        if member.eof or (not data and len(content) < CONTENT_BYTES):
            return


class _Digesting:
    """A stream that computes the MD5 of what is read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._md5.update(data)
        return data

    def md5(self) -> str:
        return b64encode(self._md5.digest()).decode("ascii")
