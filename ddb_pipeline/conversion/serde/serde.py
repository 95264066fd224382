"""One JSON document and a table's columns → one row, or the error Firehose gives.

Two SerDes share the reading of records and the errors here: OpenX's, whose rules for values are in
``serde_openx``, and Hive's, in ``serde_hive``. Where a SerDe's open-source class and the probed
service differ (syntax is Jackson's, strict; timestamps; objects in string columns), the service
wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import JSONDecoder
from typing import Any, Final

from ddb_pipeline.conversion.serde import java
from ddb_pipeline.conversion.serde.json_text import (
    DuplicateKeyError,
    JsonSyntaxError,
    document_decoder,
    read_documents,
    unique_keys,
    unique_lower_keys,
)
from ddb_pipeline.conversion.serde.openx import Convert, UnsupportedTypeError, row_conversion
from ddb_pipeline.hive.types import HiveType, HiveTypeError, depth, parse_type

PARSE_ERROR: Final = "DataFormatConversion.ParseError"
MALFORMED_DATA: Final = "DataFormatConversion.MalformedData"
INVALID_SCHEMA: Final = "DataFormatConversion.InvalidSchema"

EMPTY_RECORD: Final = "The record was empty or contained only whitespace."
UNSUPPORTED_TYPES: Final = (
    "The schema is invalid. One or more columns have types that are not supported by "
    "org.openx.data.JsonSerDe"
)

MAX_TYPE_DEPTH: Final = 100
"""Deepest column type converted. DynamoDB documents nest 32 levels."""


class ConversionError(Exception):
    """Why a record, or a whole schema, cannot be converted: Firehose's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


def malformed_json(error: JsonSyntaxError) -> ConversionError:
    return ConversionError(PARSE_ERROR, f"Encountered malformed JSON. {error}")


def malformed_data(reason: object) -> ConversionError:
    return ConversionError(MALFORMED_DATA, f"Data does not match the schema. {reason}")


def parse_columns(columns: Sequence[tuple[str, str]]) -> list[tuple[str, HiveType]]:
    """Column types as trees.

    Raises ConversionError, code InvalidSchema, with Hive's own text for one that is not Hive's.
    """
    parsed = []
    for name, type_text in columns:
        try:
            hive_type = parse_type(type_text)
        except HiveTypeError as error:
            raise ConversionError(
                INVALID_SCHEMA, f"The schema is invalid. Error parsing the schema: {error}"
            ) from error
        if depth(hive_type) > MAX_TYPE_DEPTH:
            raise ConversionError(
                INVALID_SCHEMA,
                f"The schema is invalid. Column {name} is nested deeper than "
                f"{MAX_TYPE_DEPTH} levels",
            )
        parsed.append((name, hive_type))
    return parsed


class JsonSerDe:
    """Documents to rows: what the SerDes share. They differ in how ``row`` reads a document."""

    def __init__(self, row: Convert, decoder: JSONDecoder) -> None:
        self._row = row
        self._decoder = decoder

    def deserialize(self, document: bytes) -> dict[str, Any]:
        """The row of one document. Raises ConversionError; further documents are malformed JSON."""
        rows = self.rows(document)
        row = next(rows)
        for _ in rows:
            raise malformed_json(JsonSyntaxError("more than one document"))
        return row

    def rows(self, record: bytes) -> Iterator[dict[str, Any]]:
        """The rows of the documents of a record, in order.

        Raises ConversionError at the document that fails; the rows before it have been yielded.
        """
        for outcome in self.outcomes(record):
            if isinstance(outcome, ConversionError):
                raise outcome
            yield outcome

    def outcomes(self, record: bytes) -> Iterator[dict[str, Any] | ConversionError]:
        """For each document of a record its row, or the error it fails with.

        What is not JSON ends the record. An empty record has one outcome, an error.
        """
        documents = read_documents(record, self._decoder)
        empty = True
        try:
            for document in documents:
                empty = False
                yield self._outcome(document)
        except JsonSyntaxError as error:
            yield malformed_json(error)
            return
        if empty:
            yield ConversionError(MALFORMED_DATA, EMPTY_RECORD)

    def _outcome(self, document: Any) -> dict[str, Any] | ConversionError:
        try:
            if isinstance(document, DuplicateKeyError):
                raise java.JavaError(f"Row is not a valid JSON Object - JSONException: {document}")
            row: dict[str, Any] = self._row(document)
        except java.FieldFormatError as error:
            return ConversionError(MALFORMED_DATA, str(error))
        except java.JavaError as error:
            return malformed_data(error)
        return row


class OpenXJsonSerDe(JsonSerDe):
    """Documents to rows under OpenXJsonSerDe's options.

    ``columns`` are (name, Hive type) pairs. Values come out as int, float, Decimal, str, bool,
    naive UTC datetime, date, list, and dict for maps and structs; a union is
    ``{"tag": n, "value": v}``. ``decimals`` is what the SerDe does with a decimal column:
    ``"refuse"`` every value, as the open-source SerDe does (a ClassCastException), or
    ``"convert"`` them exactly, for a service found to do so.

    Raises ConversionError, code InvalidSchema, when the schema cannot be used at all.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        *,
        case_insensitive: bool = True,
        convert_dots: bool = False,
        column_to_json_key: Mapping[str, str] | None = None,
        decimals: str = "refuse",
    ) -> None:
        if decimals not in ("refuse", "convert"):
            raise ValueError(f"decimals must be 'refuse' or 'convert', not {decimals!r}")
        try:
            row = row_conversion(
                parse_columns(columns),
                case_insensitive=case_insensitive,
                convert_dots=convert_dots,
                column_to_json_key=column_to_json_key or {},
                convert_decimals=decimals == "convert",
            )
        except UnsupportedTypeError:
            raise ConversionError(INVALID_SCHEMA, UNSUPPORTED_TYPES) from None
        super().__init__(
            row, document_decoder(unique_lower_keys if case_insensitive else unique_keys)
        )
