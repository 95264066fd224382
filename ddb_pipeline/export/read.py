"""Exports of DynamoDB tables read back from S3: manifests and data files, each verified."""

import gzip
import hashlib
import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from isal import isal_zlib

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.ion import IonValueError, ion_lines
from ddb_pipeline.export.layout import (
    CHECKSUM_SUFFIX,
    DYNAMODB_JSON,
    FILES,
    FULL_VERSION,
    INCREMENTAL_VERSION,
    ION,
    SUMMARY,
    DataFile,
    Export,
    ExportSummary,
    ItemChange,
    md5_text,
)

Open = Callable[[str], BinaryIO]
"""Opens an object for reading by its key; FileNotFoundError where there is none."""

BLOCK_BYTES = 2 * 1024 * 1024
"""Of lines: what parses fastest, being about what a core's cache holds."""
COMPRESSED_BYTES = 256 * 1024

_GZIP_ONLY = 31
"""zlib's ``wbits`` for a gzip header and the largest window."""
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_GZIP_ERRORS = (EOFError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile)

CHECKSUM_SUFFIXES = (CHECKSUM_SUFFIX, ".checksum")
"""The second is what AWS's developer guide calls the first."""


class ExportError(DdbPipelineError):
    """An export cannot be read.

    Attributes:
        key: the object's key.
        reason: what is wrong with it and what to do.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"Export object {self.key!r}: {self.reason}"


class ExportNotFinishedError(ExportError):
    """There is no summary manifest: the export runs, has failed, or is elsewhere."""


class MalformedExportError(ExportError):
    """A manifest or a data line is not what DynamoDB writes."""


class ChecksumError(ExportError):
    """An object's bytes or lines are not those that the manifest promises."""


def read_export(open_object: Open, folder: str) -> Export:
    """Read and verify an export's manifests.

    Args:
        open_object: see ``export.source.ExportFolder``.
        folder: the export's folder (``export_folder``), or the key of its summary manifest.

    Raises:
        ExportNotFinishedError: there is no summary manifest.
        ChecksumError: a manifest does not have its checksum.
        MalformedExportError: a manifest is not what DynamoDB writes.
    """
    folder = folder.removesuffix(f"{SUMMARY}.json")
    folder = folder if not folder or folder.endswith("/") else f"{folder}/"
    summary_key = f"{folder}{SUMMARY}.json"
    try:
        body = _verified(open_object, folder, SUMMARY)
    except FileNotFoundError:
        raise ExportNotFinishedError(
            summary_key,
            "it is not there. The export is still running (DescribeExport tells), has failed, or "
            "lies under another prefix.",
        ) from None
    summary = _parse_summary(summary_key, body)
    files_key = f"{folder}{FILES}.json"
    try:
        body = _verified(open_object, folder, FILES)
    except FileNotFoundError:
        raise ExportNotFinishedError(files_key, "it is not there, though the summary is.") from None
    files = tuple(_parse_file(files_key, number, line) for number, line in _numbered(body))
    counted = sum(file.item_count for file in files)
    if counted != summary.item_count:
        raise ChecksumError(
            files_key, f"its files hold {counted} items, the summary says {summary.item_count}."
        )
    return Export(summary, files)


def read_blocks(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[bytes]:
    """A data file's lines in blocks of about 2 MiB, each of whole lines, streamed.

    An export in Amazon Ion is read as the same lines of DynamoDB's JSON. The checksum is known at
    the end only: take nothing as final before the iterator is exhausted.
    Lines are not counted here, since whoever reads them does; see ``check_item_count``.

    Raises:
        ChecksumError: the bytes are not the manifest's.
        MalformedExportError: it is not gzip or not Ion, or it is missing.
    """
    try:
        source = open_object(file.key)
    except FileNotFoundError:
        raise MalformedExportError(
            file.key, "it is in the manifest and not in the bucket. Export again."
        ) from None
    with source:
        digesting = _Digesting(source)
        try:
            contents = _gunzipped(digesting)
            if output_format == ION:
                contents = ion_lines(_Contents(contents))
            yield from _whole_lines(contents)
        except IonValueError as error:
            raise MalformedExportError(file.key, f"{error}. Export again.") from error
        except _GZIP_ERRORS as error:
            raise MalformedExportError(file.key, f"it is not whole gzip: {error}") from error
    if file.md5 and digesting.md5() != file.md5:
        raise ChecksumError(
            file.key, f"its MD5 is {digesting.md5()}, the manifest says {file.md5}."
        )


def check_item_count(file: DataFile, counted: int) -> None:
    """Hold the items of a data file against the manifest.

    Raises:
        ChecksumError: there are more or fewer of them.
    """
    if counted != file.item_count:
        raise ChecksumError(
            file.key, f"it holds {counted} items, the manifest says {file.item_count}."
        )


def _gunzipped(source: "_Digesting") -> Iterator[bytes]:
    """The content of a gzip stream of any number of members; none at all is empty."""
    member: Any = None
    while data := source.read(COMPRESSED_BYTES):
        while data:
            if member is None:
                # Zeros may pad a gzip stream (RFC 1952 leaves it open; gzip and Python take them).
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = isal_zlib.decompressobj(wbits=_GZIP_ONLY)
            if content := member.decompress(data):
                yield content
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise EOFError("it ends too early")


def _whole_lines(contents: Iterator[bytes]) -> Iterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for content in contents:
        gathered.append(content)
        size += len(content)
        end = content.rfind(b"\n") + 1 if size >= BLOCK_BYTES else 0
        if end:
            gathered[-1] = content[:end]
            yield b"".join(gathered)
            gathered, size = [content[end:]], len(content) - end
    if size:
        yield b"".join(gathered)


def read_lines(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[bytes]:
    """A data file's lines without their newlines, streamed; empty ones are left out.

    Raises:
        ExportError: see ``read_blocks`` and ``check_item_count``.
    """
    count = 0
    for block in read_blocks(open_object, file, output_format):
        for line in block.split(b"\n"):
            stripped = line.rstrip(b"\r")
            if stripped:
                count += 1
                yield stripped
    check_item_count(file, count)


def read_items(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[Item]:
    """The items of a full export's data file.

    Raises:
        ExportError: see ``read_lines``; also a line that is not an item.
    """
    for number, line in enumerate(read_lines(open_object, file, output_format), 1):
        item = _object(file.key, number, line).get("Item")
        if not isinstance(item, dict):
            raise MalformedExportError(file.key, f"line {number} holds no Item.")
        yield item


def read_changes(
    open_object: Open, file: DataFile, output_format: str = DYNAMODB_JSON
) -> Iterator[ItemChange]:
    """The item states of an incremental export's data file.

    Raises:
        ExportError: see ``read_lines``; also a line that is not such a state.
    """
    for number, line in enumerate(read_lines(open_object, file, output_format), 1):
        document = _object(file.key, number, line)
        try:
            yield ItemChange(
                keys=document["Keys"],
                new_image=document.get("NewImage"),
                old_image=document.get("OldImage"),
                written_micros=int(document["Metadata"]["WriteTimestampMicros"]["N"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedExportError(
                file.key, f"line {number} is no item state: {error!r}."
            ) from error


class _Contents:
    """Contents as they come, as a file."""

    def __init__(self, contents: Iterator[bytes]) -> None:
        self._contents = contents
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            content = next(self._contents, None)
            if content is None:
                return b""
            self._rest = content
        end = size if size >= 0 else len(self._rest)
        data, self._rest = self._rest[:end], self._rest[end:]
        return data


class _Digesting:
    """A stream that hashes what is read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._md5.update(data)
        return data

    def md5(self) -> str:
        return b64encode(self._md5.digest()).decode("ascii")


def _verified(open_object: Open, folder: str, name: str) -> bytes:
    key = f"{folder}{name}.json"
    with open_object(key) as source:
        body = source.read()
    for suffix in CHECKSUM_SUFFIXES:
        try:
            with open_object(f"{folder}{name}{suffix}") as source:
                promised = source.read().decode("ascii", "replace").strip()
        except FileNotFoundError:
            continue
        if promised != md5_text(body):
            raise ChecksumError(
                key, f"its MD5 is {md5_text(body)}, {name}{suffix} says {promised}."
            )
        return body
    raise ChecksumError(key, "it has no checksum object beside it; copy the export whole.")


def _numbered(body: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip())


def _object(key: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise MalformedExportError(key, f"line {number} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise MalformedExportError(key, f"line {number} is not a JSON object.")
    return document


def _parse_file(key: str, number: int, line: bytes) -> DataFile:
    document = _object(key, number, line)
    try:
        return DataFile(
            key=document["dataFileS3Key"],
            item_count=int(document["itemCount"]),
            md5=document.get("md5Checksum") or "",
            etag=document.get("etag") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedExportError(key, f"line {number} is no data file: {error!r}.") from error


def _parse_summary(key: str, body: bytes) -> ExportSummary:
    document = _object(key, 1, body)
    version = document.get("version")
    if version not in (FULL_VERSION, INCREMENTAL_VERSION):
        raise MalformedExportError(
            key, f"version {version!r} is neither {FULL_VERSION} nor {INCREMENTAL_VERSION}."
        )
    try:
        return ExportSummary(
            table_arn=document["tableArn"],
            bucket=document["s3Bucket"],
            prefix=document.get("s3Prefix") or "",
            export_arn=document["exportArn"],
            table_id=document.get("tableId") or "",
            start_time=document["startTime"],
            end_time=document.get("endTime") or "",
            export_time=document.get("exportTime") or "",
            from_time=document.get("exportFromTime") or "",
            to_time=document.get("exportToTime") or "",
            view=document.get("outputView") or "",
            output_format=document["outputFormat"],
            sse_algorithm=document.get("s3SseAlgorithm") or "",
            sse_kms_key_id=document.get("s3SseKmsKeyId"),
            manifest_files_key=document["manifestFilesS3Key"],
            billed_size_bytes=int(document.get("billedSizeBytes") or 0),
            item_count=int(document["itemCount"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedExportError(key, f"it lacks what an export has: {error!r}.") from error
