"""Redacted records: what a dead letter stores of a change if the settings redact attributes.

Such a record is marked, so that its replay neither replaces a pseudonym by the pseudonym of it, nor
filters and routes by values that are no longer there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.dynamodb.stream import StreamRecord, lambda_record
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.rules import redacted
from ddb_pipeline.functions.stream_settings import Routing
from ddb_pipeline.hive.attribute_paths import AttributePath

MARK = "ddb_pipeline_redacted"
"""The member of a record that was redacted. AWS adds no such member, and an item's attributes are
not members of the record, so no user of the table can write it."""


@dataclass(frozen=True, slots=True)
class DecidedBefore:
    """What was decided when a redacted record arrived.

    Attributes:
        pseudonyms: paths of the values that are pseudonyms.
        delivery_stream: where the change goes; empty if that is to be decided.
    """

    pseudonyms: frozenset[AttributePath] = frozenset()
    delivery_stream: str = ""


NOTHING = DecidedBefore()


def redacted_record(
    arrived: Any, decoded: StreamRecord, delivery_stream: str, redaction: Redaction
) -> dict[str, Any]:
    """A record after redaction, with its mark, in the form of a Lambda event.

    Args:
        arrived: the record as it arrived, which may be a redacted one.
        decoded: the same, decoded.
        delivery_stream: where the change goes; empty if that is not decided.
        redaction: what to leave out and to replace.

    Raises:
        UndecodableRecordError: a value cannot be redacted.
        SettingsError: a key attribute is dropped.
    """
    pseudonyms = _mark(arrived).pseudonyms
    record = redacted(decoded, redaction.except_pseudonyms(pseudonyms))
    paths = pseudonyms | frozenset(redaction.pseudonymised)
    mark = {"pseudonymised": sorted(map(list, paths)), "delivery_stream": delivery_stream}
    return {**lambda_record(record), MARK: mark}


def decided_before(record: Any, routing: Routing) -> DecidedBefore:
    """What was decided when a record arrived; nothing unless it was redacted."""
    mark = _mark(record)
    if mark is NOTHING or mark.delivery_stream in routing.delivery_streams:
        return mark
    return DecidedBefore(mark.pseudonyms)


def _mark(record: Any) -> DecidedBefore:
    mark = record.get(MARK) if isinstance(record, (dict, Mapping)) else None
    if not isinstance(mark, Mapping):
        return NOTHING
    paths, stream = mark.get("pseudonymised"), mark.get("delivery_stream")
    return DecidedBefore(
        frozenset(_paths(paths if isinstance(paths, list) else ())),
        stream if isinstance(stream, str) else "",
    )


def _paths(entries: Iterable[Any]) -> Iterator[AttributePath]:
    for entry in entries:
        if isinstance(entry, list) and all(isinstance(name, str) for name in entry):
            yield tuple(entry)
