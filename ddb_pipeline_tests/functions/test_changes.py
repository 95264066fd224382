"""The changes of an event come out as if each were decided individually."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ddb_pipeline.dynamodb.stream import UndecodableRecordError, change_document
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.changes import Change, Problem, decide, decode, oldest_seconds
from ddb_pipeline.functions.rules import Rules, edited
from ddb_pipeline_tests.support.stream_events import FIRST, UNDECODABLE, rules_of, stream_record

KEY = b"0123456789abcdef"
ITEM = {
    "user": {"M": {"name": {"S": "Ann"}, "mail": {"S": "ann@example.org"}}},
    "secret": {"N": "7"},
    "tags": {"SS": ["a", 'b "quoted"']},
    "clicks": {"L": [{"M": {"document": {"N": "1"}, "secret": {"N": "8"}}}]},
}


def kinesis_record(number: int) -> dict[str, Any]:
    body = {**stream_record(number, ITEM), "tableName": "search-logs"}
    data = base64.b64encode(json.dumps(body).encode()).decode()
    return {"eventID": "shard:1", "kinesis": {"data": data, "sequenceNumber": str(number)}}


RECORDS: list[Any] = [
    *(stream_record(number, ITEM) for number in range(3)),
    stream_record(20, ITEM, name="MODIFY", table="orders"),
    stream_record(21, ITEM, name="REMOVE"),
    stream_record(23, {**ITEM, "user": {"S": "someone"}}),
    stream_record(24, {**ITEM, "user": {"M": {"name": {"Q": 1}}}}),
    {**stream_record(26, ITEM), "eventSourceARN": None},
    {**stream_record(27, ITEM), "dynamodb": {"NewImage": ITEM}},
    kinesis_record(28),
    None,
]
BAD_NUMBERS = [
    stream_record(22, {**ITEM, **UNDECODABLE}),
    stream_record(25, {"secret": {"N": "x"}}),
]
RULES: Mapping[str, Rules] = {
    "defaults": rules_of(),
    "without metadata": rules_of(DELIVERY_METADATA="false"),
    "inserts only": rules_of(EVENT_NAMES="INSERT"),
    "by table": rules_of(TABLE_ROUTES='{"orders": "orders-stream"}'),
    "by attribute": rules_of(ROUTE_ATTRIBUTE="user.name", ATTRIBUTE_ROUTES='{"Ann": "ann-stream"}'),
    "filtered": rules_of(ATTRIBUTE_FILTER='{"user.name": ["Ann"]}'),
    "both images": rules_of(IMAGES="both"),
    "pseudonyms": Rules(rules_of().settings, Redaction((), (("id",), ("user", "name")), KEY)),
    "dropped attributes": Rules(
        rules_of().settings, Redaction((("secret",), ("clicks", "secret")))
    ),
    "transformed": Rules(rules_of().settings, transformer=lambda image, record: {**image}),
}


def decided(records: list[Any], rules: Rules) -> list[Change]:
    changes = decode(records)
    decide(changes, rules)
    return changes


@pytest.mark.parametrize("more", [[], BAD_NUMBERS], ids=["", "with bad numbers"])
@pytest.mark.parametrize("name", RULES)
def test_each_change_is_independent_of_the_others(name: str, more: list[Any]) -> None:
    records, rules = [*RECORDS, *more], RULES[name]
    changes = decided(records, rules)
    individually = [decided([record], rules)[0] for record in records]
    assert [(c.document, c.problem, c.delivery_stream) for c in changes] == [
        (c.document, c.problem, c.delivery_stream) for c in individually
    ]
    assert oldest_seconds(changes) == 1_700_000_000


def document_or_problem(change: Change, rules: Rules) -> bytes | Problem | None:
    assert change.decoded is not None
    try:
        record = edited(change.decoded, rules)
        return record and change_document(record, rules.settings.options)
    except UndecodableRecordError as error:
        return Problem("undecodable", str(error))


@pytest.mark.parametrize("name", RULES)
def test_documents_are_those_of_change_document(name: str) -> None:
    """The numbers of an event are checked together; ``change_document`` checks each."""
    rules = RULES[name]
    for change in decided([*RECORDS, *BAD_NUMBERS], rules):
        if change.delivery_stream:
            assert (change.document or change.problem) == document_or_problem(change, rules)
        else:
            assert change.document is None


def test_order_of_a_record_without_sequence_number_is_that_of_the_record_before_it() -> None:
    records = [None, stream_record(1), {"eventName": "INSERT"}, kinesis_record(2)]
    assert [change.order for change in decode(records)] == [-1, FIRST + 1, FIRST + 1, 2]
