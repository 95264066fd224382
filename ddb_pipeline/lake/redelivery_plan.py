"""What a redelivery does with an error object: its records are converted by a plan.

The plan has all that the result depends on, so that whoever carries it out gets the same rows.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.decided_documents import decided_documents
from ddb_pipeline.conversion.document_names import with_column_names
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS
from ddb_pipeline.dynamodb.decided_items import DecidedItems
from ddb_pipeline.firehose.error_objects import ErrorObject, FailedRecord, write_error_object
from ddb_pipeline.firehose.held import documents, held_record, paths_without_column
from ddb_pipeline.hive.coverage import covered_fields, map_columns
from ddb_pipeline.hive.names import EVENT_ID
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions, parse_decisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline.lake.layout import DeliveryHour

CORRUPT_LINE = "Pipeline.UnreadableLine"
"""The reason of a line of an error object that is not a failed record."""
REFUSED_CODE = "Pipeline.RefusedValue"
"""The reason of a record with a value that a decision about types refuses."""
LATEST_ARRIVAL = 253_402_300_799
"""The last second of the year 9999, after which no delivery hour has a name; epoch seconds."""


@dataclass(frozen=True, slots=True)
class RedeliveryPlan:
    """All that the result of a redelivery depends on, beside the content of the error object.

    Attributes:
        columns: those of the delivery table.
        landed: events of the error object that are rows of the lake already.
        default_arrival: the arrival of records without a timestamp, epoch seconds.
        decisions: what is decided about values of several types.
    """

    columns: tuple[Column, ...]
    landed: frozenset[str]
    default_arrival: float
    decisions: TypeDecisions = NO_DECISIONS

    def render(self) -> bytes:
        """The plan as JSON."""
        return json.dumps(
            {
                "columns": [list(column) for column in self.columns],
                "landed": sorted(self.landed),
                "defaultArrival": self.default_arrival,
                "decisions": self.decisions.text,
            }
        ).encode("ascii")

    @classmethod
    def parse(cls, text: bytes) -> "RedeliveryPlan":
        """Read what :meth:`render` wrote."""
        data = json.loads(text)
        columns = tuple(Column(name, type_text) for name, type_text in data["columns"])
        decisions = parse_decisions(data.get("decisions", ""))
        return cls(columns, frozenset(data["landed"]), data["defaultArrival"], decisions)


@dataclass(frozen=True, slots=True)
class HourRedelivery:
    """The records of one delivery hour after conversion.

    Attributes:
        hour: the hour in which Firehose received the records.
        parquet: the Parquet object with the rows; None where there are no rows.
        rows: number of rows in it.
        landed_before: number of documents left out, because they are rows of the lake already.
        failed: the records that failed again.
    """

    hour: DeliveryHour
    parquet: bytes | None
    rows: int
    landed_before: int
    failed: tuple[FailedRecord, ...]


@dataclass(frozen=True, slots=True)
class ConvertedObject:
    """The content of an error object after conversion.

    Attributes:
        hours: its rows by delivery hour.
        rest: the content that stays.
        reasons: the records and lines that stay, counted by error code.
    """

    hours: tuple[HourRedelivery, ...]
    rest: bytes
    reasons: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Number of rows of all hours."""
        return sum(hour.rows for hour in self.hours)

    @property
    def landed_before(self) -> int:
        """Number of documents of all hours that were rows of the lake before."""
        return sum(hour.landed_before for hour in self.hours)

    @property
    def changes_something(self) -> bool:
        """Whether a record becomes a row or is one already."""
        return bool(self.rows or self.landed_before)


def convert_object(content: ErrorObject, plan: RedeliveryPlan) -> ConvertedObject:
    """Convert the content of an error object as planned."""
    documents = _Documents(plan.columns, plan.decisions)
    ready, failed = documents.divided(content.records)
    hours = tuple(_by_hour(ready, plan, documents))
    failed.extend(record for hour in hours for record in hour.failed)
    corrupt = b"".join(line.content + b"\n" for line in content.corrupt_lines)
    reasons = Counter(record.error_code for record in failed)
    if content.corrupt_lines:
        reasons[CORRUPT_LINE] += len(content.corrupt_lines)
    return ConvertedObject(hours, write_error_object(failed) + corrupt, reasons)


class _Documents:
    """Gives documents the names that the columns have, and values the form of their columns."""

    def __init__(self, columns: Sequence[Column], decisions: TypeDecisions) -> None:
        self._fields = covered_fields(columns)
        self._maps = map_columns(self._fields)
        self._decided = DecidedItems(decisions, columns) if decisions else None
        self._prepared: dict[bytes, bytes] = {}

    def prepared(self, record: bytes) -> bytes:
        """A record's documents as they are to be converted; prepared once for equal records.

        Raises:
            RefusedValueError: a decision refuses a value.
        """
        found = self._prepared.get(record)
        if found is None:
            found = with_column_names(record, self._maps)
            if self._decided is not None:
                found = decided_documents(found, self._decided)
            self._prepared[record] = found
        return found

    def divided(
        self, records: Sequence[FailedRecord]
    ) -> tuple[list[FailedRecord], list[FailedRecord]]:
        """The records that are ready to convert, and those that stay, each with its reason."""
        ready, failed = [], []
        for record in records:
            try:
                paths = paths_without_column(self.prepared(record.raw_data), self._fields)
            except UndecodableValueError as error:
                failed.append(replace(record, error_code=REFUSED_CODE, error_message=str(error)))
                continue
            if paths:
                failed.append(held_record(record, paths))
            else:
                ready.append(record)
        return ready, failed


def _by_hour(
    records: Sequence[FailedRecord], plan: RedeliveryPlan, documents: _Documents
) -> Iterator[HourRedelivery]:
    """Convert records, hour by hour of their arrival at Firehose."""
    by_hour: dict[DeliveryHour, list[FailedRecord]] = defaultdict(list)
    for record in records:
        by_hour[DeliveryHour.of(_arrival(record, plan.default_arrival))].append(record)
    for hour, arrived in by_hour.items():
        pending, landed_before = without_landed(arrived, plan.landed)
        prepared = [documents.prepared(record.raw_data) for record in pending]
        converted = convert(prepared, plan.columns, DELIVERY_OPTIONS)
        failed = tuple(
            replace(
                pending[failure.index],
                error_code=failure.code,
                error_message=failure.message,
                attempts_made=pending[failure.index].attempts_made + 1,
            )
            for failure in converted.failures
        )
        yield HourRedelivery(hour, converted.parquet, converted.rows, landed_before, failed)


def without_landed(
    records: Sequence[FailedRecord], landed: frozenset[str]
) -> tuple[list[FailedRecord], int]:
    """Remove the documents of landed events from records; returns their number too.

    When one document of a record of several fails, Firehose may or may not deliver the others (its
    documentation does not say). With the event ids the result is right in both cases.
    """
    if not landed:
        return list(records), 0
    remaining, removed = [], 0
    for record in records:
        packed = list(documents(record.raw_data))
        missing = [document for document in packed if _event_id(document.value) not in landed]
        removed += len(packed) - len(missing)
        if len(missing) == len(packed):
            remaining.append(record)
        elif missing:
            raw_data = b"\n".join(document.text for document in missing) + b"\n"
            remaining.append(replace(record, raw_data=raw_data))
    return remaining, removed


def packed_events(
    records: Sequence[FailedRecord], default_arrival: float
) -> tuple[frozenset[str], frozenset[DeliveryHour]]:
    """Event ids of records that hold several documents, and the hours that may have their rows."""
    events: set[str] = set()
    hours: set[DeliveryHour] = set()
    for record in records:
        ids = [_event_id(document.value) for document in documents(record.raw_data)]
        if len(ids) > 1:
            events.update(event for event in ids if event is not None)
            arrival = _arrival(record, default_arrival)
            hours |= {DeliveryHour.of(arrival + shift) for shift in (-3600, 0, 3600)}
    return frozenset(events), frozenset(hours)


def _arrival(record: FailedRecord, default: float) -> float:
    """When Firehose received a record, epoch seconds; the default where that is no time."""
    if record.arrival_timestamp is None:
        return default
    arrival = record.arrival_timestamp / 1000
    return arrival if 0 <= arrival <= LATEST_ARRIVAL else default


def _event_id(document: Any) -> str | None:
    found = document.get(EVENT_ID) if isinstance(document, Mapping) else None
    return found if isinstance(found, str) else None
