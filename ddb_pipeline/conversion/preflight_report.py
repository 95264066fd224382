"""Findings of a preflight: what happens to values, counted by document, with examples."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, NamedTuple

from ddb_pipeline.conversion.serde.json_documents import JsonNumber

WHOLE_DOCUMENT: Final = "(document)"
"""The path of a finding about a document as a whole."""
WHOLE_SCHEMA: Final = "(schema)"
"""The path of a finding about all columns together."""

MAX_EXAMPLES: Final = 3
"""Examples of a finding."""
MAX_SHOWN: Final = 80
"""Characters of an example's value and of its result."""


class Verdict(Enum):
    """What Firehose does, the worst first."""

    REFUSED = "refused"
    DROPPED = "dropped"
    COERCED = "coerced"


class Occurrence(NamedTuple):
    """One value of one document that Firehose refuses, drops or coerces.

    ``result`` is the value that it becomes, the text of the error, or None if it is dropped.
    """

    verdict: Verdict
    path: str
    reason: str
    value: Any
    result: Any


class Example(NamedTuple):
    """A value, the document that holds it, and its result: the coerced value or the error."""

    document: str
    value: str
    result: str


@dataclass(frozen=True, slots=True)
class Finding:
    """All occurrences of one verdict at one path for one reason.

    Attributes:
        path: column and fields, ``orders[].price``; ``[]`` is an array's element or a map's value.
        documents: number of documents with such an occurrence.
        examples: the first occurrences.
    """

    verdict: Verdict
    path: str
    reason: str
    documents: int = 0
    examples: tuple[Example, ...] = ()

    @property
    def column(self) -> str:
        """The column at the beginning of the path."""
        return self.path.partition(".")[0].partition("[")[0]

    def counting(self, occurrence: Occurrence, document: str) -> "Finding":
        """Return the finding with one more document."""
        examples = self.examples
        if len(examples) < MAX_EXAMPLES:
            examples = (*examples, _example(occurrence, document))
        return replace(self, documents=self.documents + 1, examples=examples)


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """All findings, the worst first.

    Attributes:
        documents: number of documents checked; the next three are numbers of these documents.
        refused: documents that become error objects instead of rows.
        dropped: documents with a value that has no column.
        coerced: documents with a value that the row holds as another value.
        absent: columns for which no document has a value.
    """

    documents: int
    refused: int
    dropped: int
    coerced: int
    findings: tuple[Finding, ...]
    absent: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether every document becomes a row and every value of it has a column."""
        return all(finding.verdict is Verdict.COERCED for finding in self.findings)


class FindingCollector:
    """Counts findings document by document."""

    def __init__(self) -> None:
        self._findings: dict[tuple[Verdict, str, str], Finding] = {}
        self._documents = 0
        self._counts = dict.fromkeys(Verdict, 0)

    def add(self, occurrences: Iterable[Occurrence], document: str) -> None:
        """Add the occurrences of one document; each finding counts it once."""
        first: dict[tuple[Verdict, str, str], Occurrence] = {}
        for occurrence in occurrences:
            first.setdefault(occurrence[:3], occurrence)
        self._documents += 1
        for verdict in {verdict for verdict, _, _ in first}:
            self._counts[verdict] += 1
        for key, occurrence in first.items():
            finding = self._findings.get(key, Finding(*key))
            self._findings[key] = finding.counting(occurrence, document)

    def report(
        self, schema_errors: Sequence[tuple[str, str]], absent: Sequence[str]
    ) -> PreflightReport:
        """Return all findings; a schema error, a column and its message, refuses every document."""
        order = list(Verdict)
        findings = sorted(
            self._findings.values(), key=lambda f: (order.index(f.verdict), -f.documents, f.path)
        )
        refused = Verdict.REFUSED
        schema = [Finding(refused, path, text, self._documents) for path, text in schema_errors]
        return PreflightReport(
            documents=self._documents,
            refused=self._documents if schema else self._counts[refused],
            dropped=self._counts[Verdict.DROPPED],
            coerced=self._counts[Verdict.COERCED],
            findings=(*schema, *findings),
            absent=tuple(absent),
        )


def truncated(text: str) -> str:
    """Truncate a text to ``MAX_SHOWN`` characters."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _example(occurrence: Occurrence, document: str) -> Example:
    value, result = occurrence.value, occurrence.result
    if occurrence.verdict is not Verdict.REFUSED:
        return Example(document, _shown(value), _shown(result))
    # The result is an error's text, and a whole document is text that need not be JSON.
    text = truncated(value or "") if occurrence.path == WHOLE_DOCUMENT else _shown(value)
    return Example(document, text, truncated(result or ""))


def _shown(value: Any) -> str:
    return "" if value is None else truncated(_json(value, MAX_SHOWN))


def _json(value: Any, levels: int) -> str:
    """Print a value as JSON; levels that truncation removes anyway are left out."""
    if isinstance(value, dict | list) and not levels:
        return "…"
    if isinstance(value, dict):
        members = [
            f"{_json(str(name), 0)}:{_json(each, levels - 1)}" for name, each in value.items()
        ]
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join([_json(each, levels - 1) for each in value])}]"
    if isinstance(value, JsonNumber):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
