"""Manifests of exports: read, verified by their checksums, and parsed."""

import json
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.layout import (
    CHECKSUM_SUFFIX,
    FILES,
    FULL_VERSION,
    INCREMENTAL_VERSION,
    SUMMARY,
    DataFile,
    Export,
    ExportSummary,
    md5_text,
)

Open = Callable[[str], BinaryIO]
"""Opens an object for reading by its key; FileNotFoundError if it does not exist."""

CHECKSUM_SUFFIXES = (CHECKSUM_SUFFIX, ".checksum")
"""DynamoDB writes the first; its developer guide names the second."""


MAX_COUNT = 2**63 - 1


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
    """There is no summary manifest: the export is running, has failed, or is elsewhere."""


class MalformedExportError(ExportError):
    """A manifest or a data file does not have the form that DynamoDB writes."""


class ChecksumError(ExportError):
    """The bytes or the item count of an object differ from what the manifest states."""


def read_export(open_object: Open, folder: str, *, checksums: bool = True) -> Export:
    """Read and verify the manifests of an export.

    Args:
        open_object: such as an ``export.source.ExportFolder``.
        folder: the export's folder (``export_folder``), or the key of its summary manifest.
        checksums: whether the manifests' checksum objects are needed and verified. Data files are
            verified by the checksums in the manifest either way.

    Raises:
        ExportNotFinishedError: there is no summary manifest.
        ChecksumError: a manifest does not match its checksum, or the two do not match each other.
        MalformedExportError: a manifest does not have the form that DynamoDB writes.
    """
    folder = folder.removesuffix(f"{SUMMARY}.json")
    folder = folder if not folder or folder.endswith("/") else f"{folder}/"
    summary_key = f"{folder}{SUMMARY}.json"
    try:
        body = _manifest(open_object, folder, SUMMARY, checksums)
    except FileNotFoundError:
        raise ExportNotFinishedError(
            summary_key,
            "it does not exist. The export is still running (see DescribeExport), has failed, or "
            "is under another prefix.",
        ) from None
    summary = read_summary(summary_key, body)
    files_key = f"{folder}{FILES}.json"
    try:
        body = _manifest(open_object, folder, FILES, checksums)
    except FileNotFoundError:
        raise ExportNotFinishedError(
            files_key, "it does not exist, though the summary does."
        ) from None
    files = read_files(files_key, body)
    counted = sum(file.item_count for file in files)
    if counted != summary.item_count:
        raise ChecksumError(
            files_key, f"its files hold {counted} items, the summary states {summary.item_count}."
        )
    return Export(summary, files)


def json_object(key: str, number: int, line: bytes) -> dict[str, Any]:
    """The JSON object on a line of an export's object.

    Raises:
        MalformedExportError: the line is not a JSON object; the message names its number.
    """
    try:
        return read_json_object(line)
    except ValueError as error:
        raise MalformedExportError(key, f"line {number}: {error}.") from error


def read_json_object(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        document = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(document: Mapping[str, Any], member: str, *, optional: bool = False) -> str:
    """A member that is a text; empty for an optional one that is missing or null.

    Raises:
        KeyError, TypeError, ValueError: it is missing, not a text, or not a text of an object key.
    """
    value = document.get(member) if optional else document[member]
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{member} is not a text")
    if "\0" in value:
        raise ValueError(f"{member} has a NUL")
    value.encode("utf-8")
    return value


def _count(document: Mapping[str, Any], member: str) -> int:
    """A member that is a number of items or bytes.

    Raises:
        KeyError, TypeError: it is missing, or not such a number.
    """
    value = document[member]
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise TypeError(f"{member} is not a number from 0 to 2^63 - 1")
    return value


def _manifest(open_object: Open, folder: str, name: str, checksums: bool) -> bytes:
    key = f"{folder}{name}.json"
    with open_object(key) as source:
        body = source.read()
    for suffix in CHECKSUM_SUFFIXES if checksums else ():
        try:
            with open_object(f"{folder}{name}{suffix}") as source:
                expected = source.read().decode("ascii", "replace").strip()
        except FileNotFoundError:
            continue
        if expected != md5_text(body):
            raise ChecksumError(
                key, f"its MD5 is {md5_text(body)}, {name}{suffix} states {expected}."
            )
        return body
    if not checksums:
        return body
    raise ChecksumError(
        key,
        "its checksum object is missing. Copy all objects of the export, or give --no-checksums.",
    )


def read_files(key: str, body: bytes) -> tuple[DataFile, ...]:
    """The data files that a files manifest names.

    Raises:
        MalformedExportError: it does not have the form that DynamoDB writes.
    """
    lines = enumerate(body.splitlines(), 1)
    return tuple(_parse_file(key, number, line) for number, line in lines if line.strip())


def _parse_file(key: str, number: int, line: bytes) -> DataFile:
    document = json_object(key, number, line)
    try:
        return DataFile(
            key=_text(document, "dataFileS3Key"),
            item_count=_count(document, "itemCount"),
            md5=_text(document, "md5Checksum", optional=True),
            etag=_text(document, "etag", optional=True),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedExportError(
            key, f"line {number} does not describe a data file: {error!r}."
        ) from None


def read_summary(key: str, body: bytes) -> ExportSummary:
    """The summary in the text of a summary manifest.

    Raises:
        MalformedExportError: it has another form than DynamoDB writes.
    """
    document = json_object(key, 1, body)
    version = document.get("version")
    if version not in (FULL_VERSION, INCREMENTAL_VERSION):
        raise MalformedExportError(
            key, f"version {version!r} is neither {FULL_VERSION} nor {INCREMENTAL_VERSION}."
        )
    try:
        return ExportSummary(
            table_arn=_text(document, "tableArn"),
            bucket=_text(document, "s3Bucket"),
            prefix=_text(document, "s3Prefix", optional=True),
            export_arn=_text(document, "exportArn"),
            table_id=_text(document, "tableId", optional=True),
            start_time=_text(document, "startTime"),
            end_time=_text(document, "endTime", optional=True),
            export_time=_text(document, "exportTime", optional=True),
            from_time=_text(document, "exportFromTime", optional=True),
            to_time=_text(document, "exportToTime", optional=True),
            view=_text(document, "outputView", optional=True),
            output_format=_text(document, "outputFormat"),
            sse_algorithm=_text(document, "s3SseAlgorithm", optional=True),
            sse_kms_key_id=_text(document, "s3SseKmsKeyId", optional=True) or None,
            manifest_files_key=_text(document, "manifestFilesS3Key"),
            billed_size_bytes=_count({"billedSizeBytes": 0, **document}, "billedSizeBytes"),
            item_count=_count(document, "itemCount"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedExportError(
            key, f"it has no valid summary of an export: {error!r}."
        ) from None
