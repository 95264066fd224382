"""Preflight: what Firehose would refuse, drop or coerce of sample documents, before deployment.

Documents go through the conversion itself; then each value of a row is compared with the value in
the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ddb_pipeline.conversion.coercions import coercions, kind_of, renamed_keys
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS
from ddb_pipeline.conversion.preflight_report import (
    WHOLE_DOCUMENT,
    WHOLE_SCHEMA,
    FindingCollector,
    Occurrence,
    PreflightReport,
    Verdict,
    truncated,
)
from ddb_pipeline.conversion.serde.base import Convert
from ddb_pipeline.conversion.serde.errors import ConversionError
from ddb_pipeline.conversion.serde.java import JavaError
from ddb_pipeline.conversion.serde.json_documents import (
    document_decoder,
    read_documents,
    unique_keys,
)
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe, row_conversion
from ddb_pipeline.firehose.delivery import MAX_BYTES_PER_RECORD, NEWLINE
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.hive.coverage import covered_fields, values_without_column
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    HiveType,
    MapType,
    StructType,
    parse_type,
)

_AS_WRITTEN: Final = document_decoder(dict)
_UNIQUE_KEYS: Final = document_decoder(unique_keys)


class Preflight:
    """Checks records against the columns of a table.

    The SerDe has the options of the deployment template (``options.DELIVERY_OPTIONS``).
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._findings = FindingCollector()
        self._fields = covered_fields(columns)
        self._schema_errors = dict(schema_errors(columns))
        usable = [column for column in columns if column.name not in self._schema_errors]
        self._types = {column.name: parse_type(column.type) for column in usable}
        self._serde = OpenXJsonSerDe(usable, case_insensitive=False)
        self._documents = OpenXJsonSerDe([], case_insensitive=False)
        self._converts: dict[HiveType, Convert] = {}
        self._absent = dict.fromkeys(
            column.name.lower() for column in columns if column.name not in DELIVERY_NAMES
        )

    def check(self, record: bytes, label: str, item: Mapping[str, Any] | None = None) -> None:
        """Check a record of one or several documents.

        Args:
            record: the record.
            label: its name in examples.
            item: the item, in DynamoDB's typed form, that the record was written from.
        """
        outcomes = list(self._documents.outcomes(record))
        if len(outcomes) == 1:
            occurrences = list(self._occurrences(record, outcomes[0]))
            if item is not None and not isinstance(outcomes[0], ConversionError):
                (written,) = read_documents(record, _AS_WRITTEN)
                occurrences += renamed_keys(item, written, self._types)
            self._findings.add(occurrences, label)
            return
        texts = [document.text for document in documents(record)]
        for number, outcome in enumerate(outcomes):
            text = texts[number] if number < len(texts) else record
            document = f"{label}, document {number + 1}"
            self._findings.add(self._occurrences(text, outcome), document)

    def refuse(self, label: str, path: str, reason: str) -> None:
        """Count an item that cannot become a document because of the attribute at ``path``."""
        self._findings.add([_refused(path or WHOLE_DOCUMENT, reason)], label)

    def report(self) -> PreflightReport:
        """Return the findings so far."""
        return self._findings.report(tuple(self._schema_errors.items()), tuple(self._absent))

    def _occurrences(
        self, document: bytes, outcome: Mapping[str, Any] | ConversionError
    ) -> Iterator[Occurrence]:
        if len(document) + len(NEWLINE) > MAX_BYTES_PER_RECORD:
            reason = f"over Firehose's record limit of {MAX_BYTES_PER_RECORD:,} bytes"
            yield _refused(WHOLE_DOCUMENT, reason, f"{len(document):,}")
            return
        if isinstance(outcome, ConversionError):
            text = document.decode("utf-8", "replace")
            yield _refused(WHOLE_DOCUMENT, outcome.code, text, outcome.message)
            return
        (written,) = read_documents(document, _AS_WRITTEN)
        self._note_present(written)
        for path, value in values_without_column(written, self._fields):
            yield Occurrence(Verdict.DROPPED, path, "there is no column for it", value, None)
        try:
            row = self._serde.deserialize(document)
        except ConversionError:
            yield from self._refused_values(document)
        else:
            yield from self._coercions(written, row)

    def _note_present(self, written: Mapping[str, Any]) -> None:
        for name, value in written.items() if self._absent else ():
            if value is not None:
                self._absent.pop(name, None)

    def _coercions(
        self, written: Mapping[str, Any], row: Mapping[str, Any]
    ) -> Iterator[Occurrence]:
        for name, hive_type in self._types.items():
            if name not in DELIVERY_NAMES:
                yield from coercions(written.get(name.lower()), hive_type, row[name], name)

    def _refused_values(self, document: bytes) -> Iterator[Occurrence]:
        (values,) = read_documents(document, _UNIQUE_KEYS)
        for name, hive_type in self._types.items():
            yield from self._refused_at(hive_type, values.get(name.lower()), name)

    def _refused_at(self, hive_type: HiveType, value: Any, path: str) -> Iterator[Occurrence]:
        """Yield the innermost values at a path and below it that the SerDe refuses."""
        try:
            self._convert(hive_type)({"value": value})
        except JavaError as error:
            inner = [
                occurrence
                for inner_type, inner_value, inner_path in _members(hive_type, value, path)
                for occurrence in self._refused_at(inner_type, inner_value, inner_path)
            ]
            reason = f"{kind_of(value)} in place of {truncated(str(hive_type))}"
            yield from inner or [_refused(path, reason, value, str(error))]

    def _convert(self, hive_type: HiveType) -> Convert:
        if hive_type not in self._converts:
            columns = [("value", hive_type)]
            self._converts[hive_type] = row_conversion(columns, case_insensitive=False)
        return self._converts[hive_type]


def schema_errors(columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """Yield the columns with which no record at all is converted, each with the message."""
    found = False
    for column in columns:
        for message in _conversion_errors([column]):
            found = True
            yield column.name, message
    if not found:
        for message in _conversion_errors(columns):
            yield WHOLE_SCHEMA, message


def _conversion_errors(columns: Sequence[Column]) -> Iterator[str]:
    return (f"{f.code}: {f.message}" for f in convert([b"{}"], columns, DELIVERY_OPTIONS).failures)


def _refused(path: str, reason: str, value: Any = None, message: str = "") -> Occurrence:
    return Occurrence(Verdict.REFUSED, path, reason, value, message)


def _members(hive_type: HiveType, value: Any, path: str) -> Iterator[tuple[HiveType, Any, str]]:
    """Yield type, value and path of each value inside a value of a container type."""
    if isinstance(hive_type, ArrayType):
        for element in value if isinstance(value, list) else (value,):
            yield hive_type.element, element, f"{path}[]"
    elif isinstance(hive_type, MapType) and isinstance(value, dict):
        for member in value.values():
            yield hive_type.value, member, f"{path}[]"
    elif isinstance(hive_type, StructType) and isinstance(value, dict):
        for name, member_type in hive_type.fields:
            yield member_type, value.get(name.lower()), f"{path}.{name.lower()}"
