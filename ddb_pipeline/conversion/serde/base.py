"""What the SerDes share: a record's JSON documents become rows, or the errors they fail with.

The SerDes differ in how a document becomes a row: ``openx`` and ``hive_json``. Where a SerDe's
open-source class and the probed service differ (the service parses strict JSON with Jackson; it
reads timestamps and objects in string columns in its own way), these modules follow the service.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from json import JSONDecoder
from typing import Any

from ddb_pipeline.conversion.serde.errors import (
    MALFORMED_DATA,
    ConversionError,
    empty_record,
    invalid_schema,
    malformed_data,
    malformed_json,
)
from ddb_pipeline.conversion.serde.java import FieldFormatError, JavaError
from ddb_pipeline.conversion.serde.json_documents import (
    DuplicateKeyError,
    JsonSyntaxError,
    read_documents,
)
from ddb_pipeline.hive.types import HiveType, HiveTypeError, PrimitiveType, parse_type

Convert = Callable[[Any], Any]
"""Makes a column value of a JSON value that is not null. Raises JavaError."""

Fields = tuple[tuple[str, str, Convert], ...]
"""(column or field name, JSON key, conversion) of each member of a row or a struct."""


def parse_columns(columns: Sequence[tuple[str, str]]) -> list[tuple[str, HiveType]]:
    """Parse the column types.

    Raises:
        ConversionError: code InvalidSchema, a type is not Hive's (the message holds Hive's own
            text) or is nested too deep.
    """
    parsed = []
    for name, type_text in columns:
        try:
            parsed.append((name, parse_type(type_text)))
        except HiveTypeError as error:
            raise invalid_schema(f"Error parsing the schema: {error}") from error
    return parsed


def key_conversion(
    kind: HiveType, by_type: Mapping[str, Convert], value: Callable[[HiveType], Convert]
) -> Convert:
    """Return the conversion of a map's keys, which are text in JSON.

    Args:
        kind: the keys' type.
        by_type: conversions of keys by primitive type.
        value: returns the conversion of values of a type, for the types that ``by_type`` lacks.
    """
    name = kind.name if isinstance(kind, PrimitiveType) else ""
    return by_type[name] if name in by_type else value(kind)


def convert_members(key: Convert, item: Convert, members: dict[str, Any]) -> dict[Any, Any]:
    """Convert the members of a JSON object to the entries of a map."""
    return {key(name): None if found is None else item(found) for name, found in members.items()}


class JsonSerDe:
    """Deserializes records. A subclass passes ``row``, the function from a document to its row."""

    def __init__(self, row: Convert, decoder: JSONDecoder) -> None:
        self._row = row
        self._decoder = decoder

    def deserialize(self, document: bytes) -> dict[str, Any]:
        """Return the row of exactly one document. Raises ConversionError."""
        rows = self.rows(document)
        row = next(rows)
        for _ in rows:
            raise malformed_json("more than one document")
        return row

    def rows(self, record: bytes) -> Iterator[dict[str, Any]]:
        """Yield the rows of a record's documents in order.

        Raises ConversionError at the first document that fails, after the rows before it.
        """
        for outcome in self.outcomes(record):
            if isinstance(outcome, ConversionError):
                raise outcome
            yield outcome

    def outcomes(self, record: bytes) -> Iterator[dict[str, Any] | ConversionError]:
        """Yield for each document of a record its row or the error it fails with.

        Text that is not JSON ends the record. An empty record has one outcome, an error.
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
            yield empty_record()

    def _outcome(self, document: Any) -> dict[str, Any] | ConversionError:
        try:
            if isinstance(document, DuplicateKeyError):
                raise JavaError(f"Row is not a valid JSON Object - JSONException: {document}")
            row: dict[str, Any] = self._row(document)
        except FieldFormatError as error:
            return ConversionError(MALFORMED_DATA, str(error))
        except JavaError as error:
            return malformed_data(error)
        return row
