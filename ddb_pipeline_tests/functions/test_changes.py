"""An event's records decided together come out as each of them decided alone."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ddb_pipeline.dynamodb.shapes import SIGHTINGS
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.changes import decide, decided
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline_tests.support.stream_events import UNDECODABLE, rules_of, stream_record

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
    *(stream_record(number, ITEM) for number in range(SIGHTINGS + 1)),
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
    "as they come": rules_of(),
    "without metadata": rules_of(DELIVERY_METADATA="false"),
    "inserts alone": rules_of(EVENT_NAMES="INSERT"),
    "by table": rules_of(TABLE_ROUTES='{"orders": "orders-stream"}'),
    "by attribute": rules_of(ROUTE_ATTRIBUTE="user.name", ATTRIBUTE_ROUTES='{"Ann": "ann-stream"}'),
    "filtered": rules_of(ATTRIBUTE_FILTER='{"user.name": ["Ann"]}'),
    "both images": rules_of(IMAGES="both"),
    "pseudonyms": Rules(rules_of().settings, Redaction((), (("id",), ("user", "name")), KEY)),
    "left out": Rules(rules_of().settings, Redaction((("secret",), ("clicks", "secret")))),
    "transformed": Rules(rules_of().settings, transformer=lambda image, record: {**image}),
}


QUICK = ("as they come", "without metadata", "inserts alone", "by table", "pseudonyms", "left out")


@pytest.mark.parametrize("more", [[], BAD_NUMBERS], ids=["", "with bad numbers"])
@pytest.mark.parametrize("name", RULES)
def test_together_as_alone(name: str, more: list[Any]) -> None:
    records, rules = [*RECORDS, *more], RULES[name]
    decisions = decide(records, rules)
    alone = [decided(record, rules) for record in records]
    assert decisions.documents == [decision.document for decision in alone]
    assert decisions.problems == {i: d.problem for i, d in enumerate(alone) if d.problem}
    streams = {i: s for s, positions in decisions.streams.items() for i in positions}
    assert streams == {i: d.stream for i, d in enumerate(alone) if d.document is not None}
    for position, decision in enumerate(alone):
        assert decisions.change(position).read == decision.read
        if decision.document is not None:
            assert decisions.image(position) == decision.image
    assert decisions.filtered == sum(d.document is d.problem is None for d in alone)
    assert decisions.oldest == 1_700_000_000
    if name in QUICK and not more:
        assert len(decisions.alone) <= len(RECORDS) - SIGHTINGS
