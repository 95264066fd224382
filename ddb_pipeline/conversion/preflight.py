"""What Firehose would refuse, drop or coerce of sample documents, before anything is deployed.

Documents go through the conversion itself (``conversion`` for the columns, the OpenX SerDe for
each document); what it makes of a value is then compared with the value as it was written.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from ddb_pipeline.conversion.coercions import Observation, coercions, kind_of
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.serde.base import Convert
from ddb_pipeline.conversion.serde.errors import ConversionError
from ddb_pipeline.conversion.serde.java import JavaError
from ddb_pipeline.conversion.serde.json_documents import (
    JsonNumber,
    document_decoder,
    read_documents,
    unique_lower_keys,
)
from ddb_pipeline.conversion.serde.openx import OpenXJsonSerDe, row_conversion
from ddb_pipeline.firehose.delivery import MAX_BYTES_PER_RECORD, NEWLINE
from ddb_pipeline.firehose.held import documents
from ddb_pipeline.hive.coverage import attributes_without_column, covered_fields
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    HiveType,
    MapType,
    StructType,
    parse_type,
)

WHOLE_DOCUMENT: Final = "(document)"
"""The path of what concerns no column of a document but all of it."""
WHOLE_SCHEMA: Final = "(schema)"

MAX_EXAMPLES: Final = 3
MAX_SHOWN: Final = 80
"""Characters of an example's value."""


class Verdict(Enum):
    """What Firehose does."""

    REFUSED = "refused"
    DROPPED = "dropped"
    COERCED = "coerced"


class Example(NamedTuple):
    """A value as it is in a document, and what becomes of it: the error's text, or the value."""

    document: str
    value: str
    result: str


@dataclass(slots=True)
class Finding:
    """One thing that happens at one path.

    Attributes:
        path: column and fields, ``orders[].price``; ``[]`` is an array's element or a map's value.
        documents: how many documents it happens to.
    """

    verdict: Verdict
    path: str
    reason: str
    documents: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def column(self) -> str:
        return self.path.partition(".")[0].partition("[")[0]


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What was found, the worst first.

    Attributes:
        documents: documents looked at; the three counts below are of these.
        refused: become error objects instead of rows.
        dropped: lose a value that no column declares.
        coerced: have a value that arrives as another.
        absent: columns that no document had a value for.
    """

    documents: int
    refused: int
    dropped: int
    coerced: int
    findings: tuple[Finding, ...]
    absent: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether every document becomes a row and no row lacks a value."""
        return not any(f.verdict is not Verdict.COERCED for f in self.findings)


class Preflight:
    """Collects what happens to records under the columns of a table.

    The SerDe's options are the template's: case-insensitive, no dots converted, no keys mapped.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._findings: dict[tuple[Verdict, str, str], Finding] = {}
        self._documents = 0
        self._counts = dict.fromkeys(Verdict, 0)
        self._names = covered_fields(columns)
        self._schema_errors = dict(schema_errors(columns))
        kept = [column for column in columns if column.name not in self._schema_errors]
        self._types = {column.name: parse_type(column.type) for column in kept}
        self._serde = OpenXJsonSerDe(kept)
        self._frame = OpenXJsonSerDe([])
        self._converts: dict[str, Convert] = {}
        self._unseen = dict.fromkeys(
            column.name.lower() for column in columns if column.name not in DELIVERY_NAMES
        )

    def check(self, record: bytes, label: str) -> None:
        """Look at a record of one document or several; ``label`` tells a reader which it is."""
        outcomes = list(self._frame.outcomes(record))
        if len(outcomes) == 1:
            self._count(self._observed(record, outcomes[0]), label)
            return
        texts = [document.text for document in documents(record)]
        for number, outcome in enumerate(outcomes):
            text = texts[number] if number < len(texts) else record
            self._count(self._observed(text, outcome), f"{label}, document {number + 1}")

    def refuse(self, label: str, path: str, reason: str) -> None:
        """Count an item of which no document can be made, for what is at a path."""
        found = Observation(path or WHOLE_DOCUMENT, reason, None, None)
        self._count([(Verdict.REFUSED, found)], label)

    def report(self) -> PreflightReport:
        """What was found so far."""
        order = list(Verdict)
        found = sorted(
            self._findings.values(), key=lambda f: (order.index(f.verdict), -f.documents, f.path)
        )
        schema = [
            Finding(Verdict.REFUSED, path, reason, self._documents)
            for path, reason in self._schema_errors.items()
        ]
        return PreflightReport(
            documents=self._documents,
            refused=self._documents if schema else self._counts[Verdict.REFUSED],
            dropped=self._counts[Verdict.DROPPED],
            coerced=self._counts[Verdict.COERCED],
            findings=(*schema, *found),
            absent=tuple(self._unseen),
        )

    def _count(self, observed: Iterable[tuple[Verdict, Observation]], label: str) -> None:
        """Add what one document shows: each finding once, by its first value."""
        found: dict[tuple[Verdict, str, str], Observation] = {}
        for verdict, observation in observed:
            found.setdefault((verdict, observation.path, observation.reason), observation)
        self._documents += 1
        for verdict in {verdict for verdict, _, _ in found}:
            self._counts[verdict] += 1
        for key, observation in found.items():
            finding = self._findings.setdefault(key, Finding(*key))
            finding.documents += 1
            if len(finding.examples) < MAX_EXAMPLES:
                finding.examples.append(_example(label, finding.verdict, observation))

    def _observed(
        self, document: bytes, outcome: Mapping[str, Any] | ConversionError
    ) -> Iterator[tuple[Verdict, Observation]]:
        if len(document) + len(NEWLINE) > MAX_BYTES_PER_RECORD:
            reason = f"over Firehose's record limit of {MAX_BYTES_PER_RECORD:,} bytes"
            yield Verdict.REFUSED, Observation(WHOLE_DOCUMENT, reason, f"{len(document):,}", None)
            return
        if isinstance(outcome, ConversionError):
            text = document.decode("utf-8", "replace")
            yield Verdict.REFUSED, Observation(WHOLE_DOCUMENT, outcome.code, text, outcome.message)
            return
        (written,) = read_documents(document, _AS_WRITTEN)
        self._note_seen(written)
        for path in attributes_without_column(written, self._names):
            yield (
                Verdict.DROPPED,
                Observation(path, "no column declares it", value_at(written, path), None),
            )
        try:
            row = self._serde.deserialize(document)
        except ConversionError:
            for observation in self._refused_values(document):
                yield Verdict.REFUSED, observation
            return
        for observation in self._coercions(written, row):
            yield Verdict.DROPPED if observation.dropped else Verdict.COERCED, observation

    def _note_seen(self, written: Mapping[str, Any]) -> None:
        for name, value in written.items() if self._unseen else ():
            if value is not None:
                self._unseen.pop(name.lower(), None)

    def _coercions(
        self, written: Mapping[str, Any], row: Mapping[str, Any]
    ) -> Iterator[Observation]:
        folded = {name.lower(): value for name, value in written.items()}
        for name, hive_type in self._types.items():
            if name not in DELIVERY_NAMES:
                yield from coercions(folded.get(name.lower()), hive_type, row[name], name)

    def _refused_values(self, document: bytes) -> Iterator[Observation]:
        (folded,) = read_documents(document, _FOLDED)
        for name, hive_type in self._types.items():
            yield from self._refused_at(hive_type, folded.get(name.lower()), name)

    def _refused_at(self, hive_type: HiveType, value: Any, path: str) -> Iterator[Observation]:
        """The innermost values, from a path on, that the SerDe refuses."""
        try:
            self._convert(hive_type)({"value": value})
        except JavaError as error:
            inner = [
                observation
                for inside, member, inner_path in _members(hive_type, value, path)
                for observation in self._refused_at(inside, member, inner_path)
            ]
            reason = f"{kind_of(value)} where {cut(str(hive_type))} is declared"
            yield from inner or [Observation(path, reason, value, str(error))]

    def _convert(self, hive_type: HiveType) -> Convert:
        text = str(hive_type)
        if text not in self._converts:
            self._converts[text] = row_conversion(
                [("value", hive_type)],
                case_insensitive=True,
                convert_dots=False,
                column_to_json_key={},
                convert_decimals=False,
            )
        return self._converts[text]


def schema_errors(columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """Columns under which no record at all converts, each with the message."""
    found = False
    for column in columns:
        for message in _conversion_errors([column]):
            found = True
            yield column.name, message
    if not found:
        for message in _conversion_errors(columns):
            yield WHOLE_SCHEMA, message


def _conversion_errors(columns: Sequence[Column]) -> Iterator[str]:
    return (f"{f.code}: {f.message}" for f in convert([b"{}"], columns).failures)


def _example(label: str, verdict: Verdict, observation: Observation) -> Example:
    value, result = observation.value, observation.result
    if verdict is Verdict.REFUSED:
        # Texts already: of an error, and of a document that is perhaps no JSON.
        plain = value if observation.path == WHOLE_DOCUMENT else None
        return Example(label, shown(value) if plain is None else cut(plain), cut(result or ""))
    return Example(label, shown(value), shown(result))


def value_at(document: Any, path: str) -> Any:
    """The first value at a path of ``attributes_without_column``, None where it is not found."""
    value = document
    for step in path.replace("[]", ".[]").split("."):
        if step == "[]" and isinstance(value, list):
            value = next((element for element in value if element is not None), None)
        elif step == "[]" and isinstance(value, Mapping):
            value = next(iter(value.values()), None)
        elif isinstance(value, Mapping):
            value = next((v for name, v in value.items() if name.lower() == step), None)
        elif step != "[]":
            return None
    return value


def shown(value: Any) -> str:
    """A value as JSON, cut to ``MAX_SHOWN`` characters; empty for a null."""
    return "" if value is None else cut(_json(value))


def cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _json(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{_json(str(name))}:{_json(member)}" for name, member in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if isinstance(value, JsonNumber):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _members(hive_type: HiveType, value: Any, path: str) -> Iterator[tuple[HiveType, Any, str]]:
    """What is inside a value of a container type: type, value and path of each."""
    if isinstance(hive_type, ArrayType):
        for element in value if isinstance(value, list) else (value,):
            yield hive_type.element, element, f"{path}[]"
    elif isinstance(hive_type, MapType) and isinstance(value, dict):
        for member in value.values():
            yield hive_type.value, member, f"{path}[]"
    elif isinstance(hive_type, StructType) and isinstance(value, dict):
        for name, member_type in hive_type.fields:
            yield member_type, value.get(name.lower()), f"{path}.{name.lower()}"


_AS_WRITTEN: Final = document_decoder(dict)
_FOLDED: Final = document_decoder(unique_lower_keys)
