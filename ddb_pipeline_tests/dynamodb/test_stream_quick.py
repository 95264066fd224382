"""The quick way from records to documents against the careful one, for usual and broken ones."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.shapes import SIGHTINGS
from ddb_pipeline.dynamodb.stream import (
    DocumentOptions,
    UndecodableRecordError,
    change_document,
    epoch_seconds,
    read_record,
)
from ddb_pipeline.dynamodb.stream_quick import quick_documents
from ddb_pipeline_tests.dynamodb.test_values import items_
from ddb_pipeline_tests.support.stream_events import FIRST, stream_record

NAMES = frozenset(("INSERT", "MODIFY"))
ITEM = {
    "id": {"S": "k"},
    "n": {"N": "1.10"},
    "tags": {"SS": ["a", 'b"c']},
    "device": {"M": {"kind": {"S": "phone"}, "screen": {"M": {"width": {"N": "800"}}}}},
    "results": {"L": [{"M": {"document": {"N": "7"}}}, {"M": {"document": {"N": "8"}}}]},
}


def careful(record: Any, *, metadata: bool = True) -> bytes | None:
    """The document made the careful way; None where there is none or the record is broken."""
    try:
        return change_document(read_record(record), DocumentOptions(metadata=metadata))
    except UndecodableRecordError:
        return None


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A usual record with something else at a path."""
    record = copy.deepcopy(stream_record(1, ITEM))
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return record


CHANGE = ("dynamodb",)
IMAGE = ("dynamodb", "NewImage")
CHANGES: list[tuple[tuple[Any, ...], Any]] = [
    (("eventID",), ""),
    (("eventID",), 5),
    (("eventID",), 'quote " \ud800'),
    (("eventName",), "RENAME"),
    (("eventName",), ["INSERT"]),
    (("userIdentity",), {"type": "Service", "principalId": "dynamodb.amazonaws.com"}),
    (CHANGE, None),
    ((*CHANGE, "SequenceNumber"), "12x"),
    ((*CHANGE, "SequenceNumber"), 12),
    ((*CHANGE, "ApproximateCreationDateTime"), "now"),
    ((*CHANGE, "ApproximateCreationDateTime"), float("inf")),
    ((*CHANGE, "ApproximateCreationDateTime"), float("nan")),
    ((*CHANGE, "ApproximateCreationDateTime"), 1_700_000_000.25),
    ((*CHANGE, "ApproximateCreationDateTime"), 1_699_999_999),
    ((*CHANGE, "Keys"), {"b": {"N": "2"}, "A": {"B": "AA=="}}),
    ((*CHANGE, "Keys"), {"b": {"N": "two"}}),
    ((*CHANGE, "Keys"), []),
    (IMAGE, {}),
    (IMAGE, None),
    (IMAGE, []),
    ((*IMAGE, "id"), {"S": "lone surrogate \udc00"}),
    ((*IMAGE, "n"), {"N": "+5"}),
    ((*IMAGE, "n"), {"N": "five"}),
    ((*IMAGE, "n"), {"N": 5}),
    ((*IMAGE, "n"), {"N": "5", "S": "five"}),
    ((*IMAGE, "n"), {}),
    ((*IMAGE, "n"), {"NULL": True}),
    ((*IMAGE, "extra"), {"BOOL": False}),
    ((*IMAGE, "tags"), {"SS": "abc"}),
    ((*IMAGE, "tags"), {"SS": []}),
    ((*IMAGE, "tags"), {"SS": ["a", 5]}),
    ((*IMAGE, "device", "M"), {}),
    ((*IMAGE, "device", "M"), [1]),
    ((*IMAGE, "device", "M", "extra"), {"S": "x"}),
    ((*IMAGE, "device", "M", "kind"), {"N": "3"}),
    ((*IMAGE, "device", "M", "screen", "M", "width"), {"S": "800"}),
    ((*IMAGE, "device", "M", "screen"), {"S": "wide"}),
    ((*IMAGE, "device"), {"S": "phone"}),
    ((*IMAGE, "results", "L", 1), {"S": "none"}),
    ((*IMAGE, "results", "L", 1), {"M": {"document": {"N": "8"}}, "S": "x"}),
    ((*IMAGE, "results", "L", 1, "M", "score"), {"N": "0.5"}),
]


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=lambda part: str(part)[-60:])
@pytest.mark.parametrize("metadata", [True, False])
def test_an_unusual_record_among_usual_ones(
    path: tuple[Any, ...], value: Any, metadata: bool
) -> None:
    usual = [stream_record(number, ITEM) for number in range(SIGHTINGS + 1)]
    records = [*usual, changed(path, value), *usual]
    documents = quick_documents(records, NAMES, metadata=metadata).documents
    expected = [careful(record, metadata=metadata) for record in records]
    unusual = len(usual)
    if documents[unusual] is None:
        expected[unusual] = None  # left to the careful way
    assert documents == expected or documents == [None] * len(records)


def test_usual_records_are_all_written() -> None:
    records = [stream_record(number, ITEM) for number in range(100)]
    documents, oldest = quick_documents(records, NAMES)
    assert documents == [careful(record) for record in records]
    assert oldest == 1_700_000_000


def test_the_oldest_change_is_told_in_seconds() -> None:
    moments = (1_700_000_000.25, 1_600_000_000, 1_650_000_000.0)
    records = [changed((*CHANGE, "ApproximateCreationDateTime"), moment) for moment in moments]
    assert quick_documents(records, NAMES).oldest == epoch_seconds(1_600_000_000)


def test_records_that_are_not_for_it_are_left_to_others() -> None:
    removed, kinesis = stream_record(1, name="REMOVE"), {"kinesis": {}, "eventName": "INSERT"}
    assert quick_documents([removed, kinesis, None, "x"], NAMES).documents == [None] * 4
    assert quick_documents([stream_record(1)], frozenset(("MODIFY",))).documents == [None]


@given(st.lists(items_, min_size=1, max_size=4))
@settings(max_examples=100)
def test_quick_and_careful_ways_agree(images: list[Any]) -> None:
    records = [stream_record(number, image) for number, image in enumerate(images)] * SIGHTINGS
    for found, record in zip(quick_documents(records, NAMES).documents, records, strict=True):
        assert found is None or found == careful(record)


def test_one_bad_number_leaves_all_to_be_read_alone() -> None:
    records = [stream_record(1, ITEM), stream_record(2, {"n": {"N": "x"}})]
    assert quick_documents(records, NAMES).documents == [None, None]


def test_sequence_numbers_are_as_they_came() -> None:
    [document] = quick_documents([stream_record(1)], NAMES).documents
    assert document is not None
    assert json.loads(document)["ddb_sequence_number"] == str(FIRST + 1)
