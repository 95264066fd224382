"""Whatever a record holds, it has one outcome: a row, a held record, a dead letter, or filtered."""

import base64
import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.changes import Change, Problem
from ddb_pipeline.functions.dead_letters import DeadLetterError, dead_letter_line
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.redacted_records import MARK
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline_tests.support.stream_events import (
    OVERSIZED,
    S3,
    UNDECODABLE,
    Firehose,
    rules_of,
    stream_record,
)

KEY = b"0123456789abcdef"
HUGE_INDEX = "tags.99999999999999999999999"
ITEM = {
    "user": {"M": {"mail": {"S": "ann@example.org"}, "age": {"N": "7"}, "photo": {"B": "AAE="}}},
    "tags": {"L": [{"S": "a"}, {"M": {"x": {"NS": ["1", "2"]}}}, {"BOOL": True}]},
    "secret": {"SS": ["s"]},
    "none": {"NULL": True},
}


def nested(depth: int, tag: str) -> Any:
    value: Any = {"S": "x"}
    for _ in range(depth):
        value = {"L": [value]} if tag == "L" else {"M": {"user": value}}
    return value


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 5, 10**30, 10**400, -(10**400), 0.5, 1e300),
    *(float("nan"), float("inf"), float("-inf")),
    *("", "\ud800", "a\ud800b", "\0", "9" * 5000, "-1", "١٢", "²", "1e999", "NaN", "[" * 3000),
    *("2024-05-01T10:00:00Z", "9999-12-31T23:59:59-23:59", "INSERT", "REMOVE", "12", "é", "A==="),
    *([], {}, [[]], [{}], {"S": "x"}, {"N": "1"}, {"N": 10**400}, {"B": 10**30}, {"B": [1]}),
    *({"M": []}, {"M": None}, {"L": {}}, {"L": "x"}, {"SS": "x"}, {"NS": [1]}, {"Q": 1}, {"S": 5}),
    *({"S": "x", "M": {"mail": {"S": "y"}}}, {"BS": [5]}, {"\ud800": {"S": "\ud800"}}),
    *(nested(300, "L"), nested(300, "M"), {"user": nested(40, "L")}, "x" * 1_030_000),
    *({MARK: 5}, {"pseudonymised": 5}, {"pseudonymised": [[5], [[]], 5], "delivery_stream": []}),
    *("arn:aws:dynamodb:eu-west-1:0:table/../../x/stream/1", "arn:::table/\ud800", "0" * 40),
]
NAMES = ["", MARK, "\ud800", "S", "M", "user", "kinesis", "dynamodb", "x" * 70_000, "ddb_keys", "0"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for name, member in enumerate(value) if isinstance(value, list) else inner:
        yield from places(member, (*path, name))


def with_value(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(record)
    changed[path[0]] = with_value(record[path[0]], path[1:], value)
    return changed


def without(record: Any, path: tuple[Any, ...], rename: str | None) -> Any:
    if len(path) > 1:
        changed = copy.copy(record)
        changed[path[0]] = without(record[path[0]], path[1:], rename)
        return changed
    if isinstance(record, list):
        return record[:-1]
    rest = {name: member for name, member in record.items() if name != path[0]}
    return rest if rename is None else {**rest, rename: record[path[0]]}


@st.composite
def mutated_records(draw: st.DrawFn) -> Any:
    """A record of one of the three kinds of change, with up to three places changed."""
    name = draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"]))
    record: Any = stream_record(1, ITEM, name=name)
    if name == "MODIFY":
        record["dynamodb"]["OldImage"] = record["dynamodb"]["NewImage"]
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(record))))
        if path and draw(st.integers(0, 3)) == 0:
            record = without(record, path, draw(st.none() | st.sampled_from(NAMES)))
        else:
            record = with_value(record, path, draw(st.sampled_from(VALUES)))
    if not draw(st.integers(0, 3)):
        record = kinesis_record(record)
        path = draw(st.sampled_from(list(places(record))))
        if draw(st.booleans()):
            record = with_value(record, path, draw(st.sampled_from(VALUES)))
    return record


def kinesis_record(body: Any) -> Any:
    data = base64.b64encode(json.dumps(body).encode()).decode()
    return {"eventID": "shard:1", "kinesis": {"data": data, "sequenceNumber": "7"}}


def failing(image: Any, record: Any) -> Any:
    if "user" in image:
        raise KeyError(image["user"])
    return image


REDACTION = Redaction((("secret",), ("tags", "x")), (("id",), ("user",)), KEY)
DEEP = Redaction((), (("user", "user", "mail"), ("tags", "9" * 30), ("user", "photo")), KEY)
RULES = {
    "defaults": rules_of(),
    "both images": rules_of(IMAGES="both"),
    "without metadata": rules_of(DELIVERY_METADATA="false", PACK_BYTES="1"),
    "filter with a huge index": rules_of(ATTRIBUTE_FILTER=json.dumps({HUGE_INDEX: ["x"]})),
    "route with a huge index": rules_of(
        ROUTE_ATTRIBUTE=HUGE_INDEX, ATTRIBUTE_ROUTES='{"x": "other"}'
    ),
    "redaction": Rules(rules_of(IMAGES="both").settings, REDACTION),
    "redaction inside": Rules(rules_of().settings, DEEP),
    "transformer": Rules(rules_of().settings, transformer=failing),
    "routes without a default": rules_of(
        DELIVERY_STREAM="", TABLE_ROUTES='{"search-logs": "s", "x": "s"}'
    ),
}


class Glue:
    """The delivery table has no column for ``tags``."""

    def get_table(self, **_: Any) -> dict[str, Any]:
        columns = [
            {"Name": name, "Type": "string"}
            for name in (*DELIVERY_NAMES, "id", "secret", "none", "ddb_old_image")
        ]
        columns.append({"Name": "user", "Type": "map<string,array<map<string,string>>>"})
        return {"Table": {"Name": "t", "StorageDescriptor": {"Columns": columns}}}


@dataclass
class Delivery:
    """What one call of ``process`` did with a batch."""

    s3: S3 = field(default_factory=S3)
    firehose: Firehose = field(default_factory=Firehose)
    report: Report = field(default_factory=Report)

    def process(self, records: list[Any], rules: Rules, *, holds: bool) -> str:
        reference = TableReference("d", "t")
        table = DeliveryTable(Glue(), reference) if holds else None  # type: ignore[arg-type]
        clients = Clients(self.firehose, self.s3, table)  # type: ignore[arg-type]
        event = json.loads(json.dumps({"Records": records}))
        return process(event, rules, clients, self.report, time.monotonic() + 60)

    def stored(self) -> tuple[int, int]:
        """The numbers of dead letters and of held records in S3."""
        letters = held = 0
        for key, body in self.s3.objects.items():
            assert key.encode().isascii()
            if "undeclared-attributes" in key:
                held += len(read_error_object(body).records)
            else:
                letters += len([json.loads(line) for line in body.splitlines()])
        return letters, held

    def delivered(self) -> int:
        packed = [record for records in self.firehose.accepted.values() for record in records]
        return sum(len(record.splitlines()) for record in packed)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    record=mutated_records(),
    name=st.sampled_from(list(RULES)),
    holds=st.booleans(),
)
def test_every_record_has_one_outcome(record: Any, name: str, holds: bool) -> None:
    good = [stream_record(0), record, stream_record(2)]
    delivery = Delivery()
    assert delivery.process(good, RULES[name], holds=holds) == ""
    report = delivery.report
    assert delivery.stored() == (report.dead_lettered, report.held)
    assert delivery.delivered() == report.delivered
    assert report.received == 3
    assert report.delivered + report.held + report.dead_lettered + report.filtered == 3
    line = json.loads(report.log_line(None, 1_700_000_000.0))
    assert line["level"] == "INFO"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(record=mutated_records(), name=st.sampled_from(list(RULES)))
def test_a_record_that_cannot_be_stored_comes_again(record: Any, name: str) -> None:
    delivery = Delivery(s3=S3(refuses=lambda: True))
    try:
        checkpoint = delivery.process([record], RULES[name], holds=True)
    except DeadLetterError:
        return
    report = delivery.report
    assert report.delivered + report.filtered == (not checkpoint)


def place(path: str, value: Any) -> Any:
    return with_value(stream_record(1, ITEM), tuple(path.split(".")), value)


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (place("eventID", "\ud800"), "delivered"),
        ({**stream_record(1, UNDECODABLE), "eventID": "\ud800"}, "dead_lettered"),
        ({**stream_record(1, OVERSIZED), "eventID": "\ud800"}, "dead_lettered"),
        ({**stream_record(1, OVERSIZED), "eventSourceARN": "a:table/\ud800"}, "dead_lettered"),
        (place("dynamodb.ApproximateCreationDateTime", 10**400), "dead_lettered"),
        (place("dynamodb.ApproximateCreationDateTime", float("inf")), "dead_lettered"),
        (place("dynamodb.ApproximateCreationDateTime", 1e300), "dead_lettered"),
        (place("dynamodb.ApproximateCreationDateTime", None), "delivered"),
        (place("dynamodb.SequenceNumber", "9" * 5000), "dead_lettered"),
        (place("dynamodb.Keys", {}), "dead_lettered"),
        (place("dynamodb.NewImage", {"a": {"N": "[" * 3000}}), "dead_lettered"),
        (place("dynamodb.NewImage", {"user": nested(300, "L")}), "delivered"),
    ],
)
def test_outcome(record: Any, outcome: str) -> None:
    delivery = Delivery()
    assert delivery.process([record], RULES["defaults"], holds=False) == ""
    assert getattr(delivery.report, outcome) == 1


@pytest.mark.parametrize("value", [{"B": 10**30}, {"B": 10**12}, {"B": 5}, nested(300, "L")])
def test_value_to_redact_that_is_not_dynamodbs(value: Any) -> None:
    delivery = Delivery()
    record = place("dynamodb.NewImage", {"user": value})
    assert delivery.process([record], RULES["redaction inside"], holds=False) == ""
    assert delivery.report.dead_lettered + delivery.report.delivered == 1


@pytest.mark.parametrize("record", [nested(100_000, "L"), {"x": {1, "a"}}, {b"x": 1}])
def test_record_that_is_no_json(record: Any) -> None:
    """Not from Lambda, whose events are parsed JSON, but from who calls ``process``."""
    letter = json.loads(dead_letter_line(Change(record, 0, problem=Problem("undecodable", "deep"))))
    assert "record" not in letter
    assert "replay it from there by its sequence number" in letter["reason"]
