"""The layout of DynamoDB's export to S3, as it is written: data files, manifests and checksums.

Layout and member names: Amazon DynamoDB developer guide, "DynamoDB table export output format".
Names of checksum objects end in ``.md5``, as the service writes them; the guide has ``.checksum``.
"""

import gzip
import hashlib
import io
import json
import secrets
from base64 import b32encode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.values import Item

Put = Callable[[str, bytes], None]
"""Writes an object: key, body."""

FULL_VERSION = "2020-06-30"
INCREMENTAL_VERSION = "2023-08-01"
FOLDER = "AWSDynamoDB"
SUMMARY = "manifest-summary"
FILES = "manifest-files"
STARTED = "_started"
CHECKSUM_SUFFIX = ".md5"
DYNAMODB_JSON = "DYNAMODB_JSON"
ION = "ION"
NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"
NEW_IMAGE = "NEW_IMAGE"
"""As DynamoDB's service model names the view; its developer guide has ``NEW_IMAGES``."""
VIEWS = (NEW_AND_OLD_IMAGES, NEW_IMAGE)
DATA_FOLDER = "data"

DEFAULT_FILES = 4
DEFAULT_FILE_BYTES = 64 * 1024 * 1024
"""Size of the uncompressed lines at which a data file is closed and another is started."""


class DataFile(NamedTuple):
    """One data file: a line of ``manifest-files.json``. ``md5`` is in base64."""

    key: str
    item_count: int
    md5: str
    etag: str


class ItemChange(NamedTuple):
    """The final state of an item that changed in an incremental export's window.

    Attributes:
        new_image: None for a deleted item.
        old_image: None for a new item, or if the export's view has new images only.
        written_micros: time of the last write, in microseconds since the epoch.
    """

    keys: Item
    new_image: Item | None
    old_image: Item | None
    written_micros: int


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """``manifest-summary.json``. Times are UTC, as in ``timestamp``.

    A full export has ``export_time``; an incremental one has ``from_time`` (inclusive),
    ``to_time`` (exclusive) and ``view``.
    """

    table_arn: str
    bucket: str
    prefix: str = ""
    export_arn: str = ""
    table_id: str = ""
    start_time: str = ""
    end_time: str = ""
    export_time: str = ""
    from_time: str = ""
    to_time: str = ""
    view: str = ""
    output_format: str = DYNAMODB_JSON
    sse_algorithm: str = "AES256"
    sse_kms_key_id: str | None = None
    manifest_files_key: str = ""
    billed_size_bytes: int = 0
    item_count: int = 0

    @property
    def incremental(self) -> bool:
        """Whether the export holds the changes of a window instead of the table."""
        return bool(self.from_time)

    def to_json(self) -> bytes:
        """The manifest as DynamoDB writes it."""
        times = (
            {"exportFromTime": self.from_time, "exportToTime": self.to_time}
            if self.incremental
            else {"exportTime": self.export_time}
        )
        document = {
            "version": INCREMENTAL_VERSION if self.incremental else FULL_VERSION,
            "exportArn": self.export_arn,
            "startTime": self.start_time,
            "endTime": self.end_time,
            "tableArn": self.table_arn,
            "tableId": self.table_id,
            **times,
            "s3Bucket": self.bucket,
            "s3Prefix": self.prefix or None,
            "s3SseAlgorithm": self.sse_algorithm,
            "s3SseKmsKeyId": self.sse_kms_key_id,
            "manifestFilesS3Key": self.manifest_files_key,
            "billedSizeBytes": self.billed_size_bytes,
            "itemCount": self.item_count,
            "outputFormat": self.output_format,
        }
        if self.incremental:
            document |= {"outputView": self.view, "exportType": "INCREMENTAL_EXPORT"}
        return json.dumps(document, separators=(",", ":")).encode("utf-8")


class Export(NamedTuple):
    """An export's manifests."""

    summary: ExportSummary
    files: tuple[DataFile, ...]

    @property
    def format(self) -> str:
        """Format of the data files, ``DYNAMODB_JSON`` or ``ION``."""
        return self.summary.output_format


def new_export_id(now: datetime) -> str:
    """An export id as DynamoDB forms it: epoch milliseconds in 14 digits, and 8 hex digits."""
    return f"{int(now.timestamp() * 1000):014d}-{secrets.token_hex(4)}"


def export_folder(prefix: str, export_id: str) -> str:
    """The key prefix of an export's objects, with a slash at the end."""
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    return f"{start}{FOLDER}/{export_id}/"


def data_folder(folder: str, *, incremental: bool) -> str:
    """The key prefix of an export's data files: incremental exports share one."""
    root = folder.rstrip("/").rpartition("/")[0] if incremental else folder.rstrip("/")
    return f"{root}/{DATA_FOLDER}/"


def timestamp(moment: datetime) -> str:
    """A time as the manifests write it, ``2020-11-04T07:28:34.028Z``."""
    utc = moment.astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def write_export(
    items: Iterable[Item],
    put: Put,
    *,
    table_arn: str,
    bucket: str,
    export_time: datetime,
    prefix: str = "",
    export_id: str = "",
    table_id: str = "",
    files: int = DEFAULT_FILES,
    file_bytes: int = DEFAULT_FILE_BYTES,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Export:
    """Write a full export of items in DynamoDB's typed form.

    The summary manifest is written last: if it exists, the export is complete. At most ``files``
    data files are held in memory, compressed, each of up to ``file_bytes`` of lines.
    """
    summary = ExportSummary(
        table_arn=table_arn,
        bucket=bucket,
        prefix=prefix,
        table_id=table_id,
        export_time=timestamp(export_time),
    )
    lines = (_line({"Item": item}) for item in items)
    return _write(lines, put, summary, export_id, files, file_bytes, now)


def write_incremental_export(
    changes: Iterable[ItemChange],
    put: Put,
    *,
    table_arn: str,
    bucket: str,
    from_time: datetime,
    to_time: datetime,
    prefix: str = "",
    view: str = NEW_AND_OLD_IMAGES,
    export_id: str = "",
    table_id: str = "",
    files: int = DEFAULT_FILES,
    file_bytes: int = DEFAULT_FILE_BYTES,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Export:
    """Write an incremental export: the final state of each item that changed in the window."""
    summary = ExportSummary(
        table_arn=table_arn,
        bucket=bucket,
        prefix=prefix,
        table_id=table_id,
        from_time=timestamp(from_time),
        to_time=timestamp(to_time),
        view=view,
    )
    lines = (_line(_change_document(change, view)) for change in changes)
    return _write(lines, put, summary, export_id, files, file_bytes, now)


def _write(
    lines: Iterable[bytes],
    put: Put,
    summary: ExportSummary,
    export_id: str,
    files: int,
    file_bytes: int,
    now: Callable[[], datetime],
) -> Export:
    started = now()
    export_id = export_id or new_export_id(started)
    folder = export_folder(summary.prefix, export_id)
    put(f"{folder}{STARTED}", b"")
    data = data_folder(folder, incremental=summary.incremental)
    written = tuple(_write_data(lines, put, folder, data, files, file_bytes))
    manifest = b"".join(file_line(file) for file in written)
    summary = replace(
        summary,
        export_arn=f"{summary.table_arn}/export/{export_id}",
        start_time=timestamp(started),
        end_time=timestamp(now()),
        manifest_files_key=f"{folder}{FILES}.json",
        item_count=sum(file.item_count for file in written),
    )
    for name, body in ((FILES, manifest), (SUMMARY, summary.to_json())):
        put(f"{folder}{name}{CHECKSUM_SUFFIX}", md5_text(body).encode("ascii"))
        put(f"{folder}{name}.json", body)
    return Export(summary, written)


def _write_data(
    lines: Iterable[bytes], put: Put, folder: str, data: str, files: int, file_bytes: int
) -> Iterator[DataFile]:
    """Distribute lines to ``files`` open files, as DynamoDB does by partition; a file without lines
    is written too."""
    number = 0

    def close(file: "_OpenFile") -> DataFile:
        nonlocal number
        number += 1
        body = file.close()
        name = b32encode(hashlib.sha256(f"{folder}{number}".encode()).digest()[:16])
        key = f"{data}{name.decode('ascii').rstrip('=').lower()}.json.gz"
        put(key, body)
        return DataFile(
            key, file.count, md5_text(body), hashlib.md5(body, usedforsecurity=False).hexdigest()
        )

    open_files = [_OpenFile() for _ in range(max(1, files))]
    for position, line in enumerate(lines):
        slot = position % len(open_files)
        file = open_files[slot]
        file.write(line)
        if file.size >= file_bytes:
            yield close(file)
            open_files[slot] = _OpenFile()
    for file in open_files:
        yield close(file)


class _OpenFile:
    """A data file being written, compressed as it grows."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._buffer = io.BytesIO()
        # Equal lines produce equal bytes: the header holds no time.
        self._gzip = gzip.GzipFile(fileobj=self._buffer, mode="wb", compresslevel=6, mtime=0)

    def write(self, line: bytes) -> None:
        self._gzip.write(line)
        self.count += 1
        self.size += len(line)

    def close(self) -> bytes:
        self._gzip.close()
        return self._buffer.getvalue()


def md5_text(body: bytes) -> str:
    """The MD5 of a body in base64, as checksum objects hold it."""
    return b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")


def _line(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, default=_base64)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _base64(value: Any) -> str:
    data = getattr(value, "value", value)
    if isinstance(data, (bytes, bytearray)):
        return b64encode(data).decode("ascii")
    raise TypeError(f"a value of type {type(value).__name__} is not in DynamoDB's typed form")


def _change_document(change: ItemChange, view: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Metadata": {"WriteTimestampMicros": {"N": str(change.written_micros)}},
        "Keys": change.keys,
    }
    if change.old_image is not None and view == NEW_AND_OLD_IMAGES:
        document["OldImage"] = change.old_image
    if change.new_image is not None:
        document["NewImage"] = change.new_image
    return document


def file_line(file: DataFile) -> bytes:
    """A data file's line in ``manifest-files.json``."""
    document = {
        "itemCount": file.item_count,
        "md5Checksum": file.md5,
        "etag": file.etag,
        "dataFileS3Key": file.key,
    }
    return json.dumps(document, separators=(",", ":")).encode("utf-8") + b"\n"
