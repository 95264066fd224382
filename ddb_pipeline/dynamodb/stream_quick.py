"""The quick way from stream records to change documents: many at once, for what is usual.

It writes the same text as ``stream.change_document`` for a record with a new image. Every other
record, and every one in which something is unusual, is left to be read on its own.
"""

from collections.abc import Container, Sequence
from math import inf
from typing import Any, NamedTuple

from ddb_pipeline.dynamodb.scalars import all_json_numbers
from ddb_pipeline.dynamodb.shape_source import UnusualError
from ddb_pipeline.dynamodb.shapes import GIVE_UP
from ddb_pipeline.dynamodb.stream import epoch, epoch_seconds, metadata_text
from ddb_pipeline.dynamodb.values import SHAPES

_UNUSUAL = (*GIVE_UP, OverflowError)


class QuickDocuments(NamedTuple):
    """What came of an event's records.

    Attributes:
        documents: one for each record, None for a record that is to be read on its own.
        oldest: when the first of the changes written here happened, in epoch seconds; infinite
            where there is none.
    """

    documents: list[bytes | None]
    oldest: float


def quick_documents(
    records: Sequence[Any], event_names: Container[str], *, metadata: bool = True
) -> QuickDocuments:
    """The documents of the new images, for records with one of these event names."""
    documents: list[bytes | None] = []
    numbers: list[str] = []
    oldest, last, event_time = inf, None, 0
    for record in records:
        document, collected = None, len(numbers)
        try:
            change = record["dynamodb"]
            if record["eventName"] in event_names and "userIdentity" not in record:
                moment = change["ApproximateCreationDateTime"]
                if moment != last:
                    event_time = epoch(moment)
                    last, oldest = moment, min(oldest, epoch_seconds(event_time))
                image = SHAPES.members(change["NewImage"], numbers)
                # Without its metadata a record has to be a whole one all the same.
                columns = _metadata_members(record, change, event_time, numbers)
                if image:
                    text = f"{{{columns},{image}}}" if metadata else f"{{{image}}}"
                    document = text.encode()
        except _UNUSUAL:
            del numbers[collected:]
        documents.append(document)
    if numbers and not all_json_numbers(numbers):
        return QuickDocuments([None] * len(documents), inf)
    return QuickDocuments(documents, oldest)


def _metadata_members(record: Any, change: Any, event_time: int, numbers: list[str]) -> str:
    """As ``stream.metadata_members``, of a record that is not read yet.

    Raises:
        One of ``_UNUSUAL``.
    """
    event_id, number, keys = record["eventID"], change["SequenceNumber"], change["Keys"]
    if not (event_id and number.isdecimal()):
        raise UnusualError
    if len(keys) > 1:
        keys = dict(sorted(keys.items()))
    text = f"{{{SHAPES.members(keys, numbers)}}}"
    return metadata_text(event_id, record["eventName"], number, event_time, text, "false")
