"""Error objects of a delivery stream: reads and writes the records that it could not convert.

Firehose writes one JSON document per failed record, one per line, under the evaluated
ErrorOutputPrefix. Members and their order: "Handling errors for data format conversion" in the
Amazon Data Firehose developer guide, and objects that the service wrote. Objects name the error
members ``lastErrorCode``/``lastErrorMessage`` or ``ErrorCode``/``ErrorMessage``, and those of
failed transformations ``errorCode``/``errorMessage``; all are read, the first pair is written.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_CODE_MEMBERS: Final = ("lastErrorCode", "ErrorCode", "errorCode")
_MESSAGE_MEMBERS: Final = ("lastErrorMessage", "ErrorMessage", "errorMessage")
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_MAX_INTEGER: Final = 2**63 - 1
"""The members with integers are Java longs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCatalogTable:
    """The catalog table that a record was converted with, as the error object names it."""

    database_name: str | None = None
    table_name: str | None = None
    region: str | None = None
    version_id: str | None = None
    catalog_id: str | None = None
    role_arn: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """The table as the member ``dataCatalogTable``."""
        return {
            "catalogId": self.catalog_id,
            "databaseName": self.database_name,
            "tableName": self.table_name,
            "region": self.region,
            "versionId": self.version_id,
            "roleArn": self.role_arn,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "DataCatalogTable":
        """Read the member ``dataCatalogTable``."""
        return cls(
            catalog_id=_text(document, "catalogId"),
            database_name=_text(document, "databaseName"),
            table_name=_text(document, "tableName"),
            region=_text(document, "region"),
            version_id=_text(document, "versionId"),
            role_arn=_text(document, "roleArn"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRecord:
    """One record that was not delivered, with everything needed to deliver it again.

    Attributes:
        raw_data: the record as the producer sent it.
        arrival_timestamp: when Firehose received it, epoch milliseconds.
        attempt_ending_timestamp: when the last attempt ended, epoch milliseconds.
    """

    raw_data: bytes
    error_code: str
    error_message: str
    arrival_timestamp: int | None = None
    attempt_ending_timestamp: int | None = None
    attempts_made: int = 1
    sequence_number: str | None = None
    sub_sequence_number: int | None = None
    data_catalog_table: DataCatalogTable | None = None

    def to_line(self) -> bytes:
        """The record's line of an error object, newline included."""
        document: dict[str, Any] = {
            "attemptsMade": self.attempts_made,
            "arrivalTimestamp": self.arrival_timestamp,
            "lastErrorCode": self.error_code,
            "lastErrorMessage": self.error_message,
            "attemptEndingTimestamp": self.attempt_ending_timestamp,
            "rawData": base64.b64encode(self.raw_data).decode("ascii"),
            "sequenceNumber": self.sequence_number,
            "subSequenceNumber": self.sub_sequence_number,
            "dataCatalogTable": self.data_catalog_table and self.data_catalog_table.to_json(),
        }
        # An error message may have a lone surrogate, which has no UTF-8 but an ASCII escape.
        return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class CorruptLine:
    """A line of an error object that is not a failed record. ``line`` counts from 1."""

    line: int
    content: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorObject:
    """The content of an error object: its records, and the lines that cannot be read."""

    records: tuple[FailedRecord, ...]
    corrupt_lines: tuple[CorruptLine, ...]


def write_error_object(records: Iterable[FailedRecord]) -> bytes:
    """The body of an error object, one line per record."""
    return b"".join(record.to_line() for record in records)


def read_error_object(body: bytes) -> ErrorObject:
    """Read an error object line by line; an unreadable line does not affect the others.

    Unknown members are ignored.
    """
    records: list[FailedRecord] = []
    corrupt: list[CorruptLine] = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(_record(line))
        except _LineError as error:
            corrupt.append(CorruptLine(number, line, str(error)))
    return ErrorObject(tuple(records), tuple(corrupt))


class _LineError(ValueError):
    pass


def _record(line: bytes) -> FailedRecord:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _LineError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _LineError("not a JSON object")
    table = document.get("dataCatalogTable")
    if table is not None and not isinstance(table, dict):
        raise _LineError("dataCatalogTable is not an object")
    return FailedRecord(
        raw_data=_raw_data(document),
        error_code=_first_text(document, _CODE_MEMBERS),
        error_message=_first_text(document, _MESSAGE_MEMBERS),
        arrival_timestamp=_integer(document, "arrivalTimestamp"),
        attempt_ending_timestamp=_integer(document, "attemptEndingTimestamp"),
        attempts_made=_integer(document, "attemptsMade") or 0,
        sequence_number=_text(document, "sequenceNumber"),
        sub_sequence_number=_integer(document, "subSequenceNumber"),
        data_catalog_table=None if table is None else DataCatalogTable.from_json(table),
    )


def _raw_data(document: Mapping[str, Any]) -> bytes:
    raw = document.get("rawData")
    if not isinstance(raw, str):
        raise _LineError("rawData is missing or not a string")
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _LineError(f"rawData is not base64: {error}") from None


def _first_text(document: Mapping[str, Any], members: tuple[str, ...]) -> str:
    for member in members:
        text = _text(document, member)
        if text is not None:
            return text
    return ""


def _text(document: Mapping[str, Any], member: str) -> str | None:
    value = document.get(member)
    if value is None or isinstance(value, str):
        return value
    raise _LineError(f"{member} is not a string")


def _integer(document: Mapping[str, Any], member: str) -> int | None:
    value = document.get(member)
    if value is None:
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_INTEGER:
        raise _LineError(f"{member} is not an integer")
    return value
