"""No value of a redacted attribute is in a row, a dead letter, a held record or a log line."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from ddb_pipeline.dynamodb.stream import lambda_record, read_record
from ddb_pipeline.functions.attributes import Redaction, pseudonym
from ddb_pipeline.functions.redacted_records import MARK
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.lake.dead_letters import read_dead_letters
from ddb_pipeline_tests.functions.test_any_record import Delivery
from ddb_pipeline_tests.support.stream_events import (
    ENVIRONMENT,
    OVERSIZED,
    UNDECODABLE,
    stream_record,
)

MARKER = "marker-7391"
KEY = b"0123456789abcdef"
REDACTION = Redaction((("secret",), ("user", "note")), (("id",), ("user", "mail")), KEY)
ITEM = {
    "secret": {"L": [{"S": MARKER}, {"M": {MARKER: {"NULL": True}}}]},
    "user": {"M": {"mail": {"S": MARKER}, "note": {"SS": [MARKER]}, "age": {"N": "7"}}},
}
TAGS = {"tags": {"S": "held, because there is no such column"}}


def rules_of(transformer: Any = None, **environment: str) -> Rules:
    environment = {**ENVIRONMENT, "IMAGES": "both", **environment}
    return Rules(read_settings(environment), REDACTION, transformer)


def failing(image: Any, record: Any) -> Any:
    raise LookupError(image)


def marked(image: Any = None, **members: Any) -> dict[str, Any]:
    """A MODIFY whose key and both images have the marker."""
    record = stream_record(1, {**ITEM, **(image or {})}, name="MODIFY")
    change = record["dynamodb"]
    change["Keys"] = {"id": {"S": MARKER}}
    change["NewImage"] |= change["Keys"]
    change["OldImage"] = change["NewImage"]
    return {**record, **members}


def kinesis(body: Any) -> dict[str, Any]:
    body = {**body, "tableName": "search-logs"}
    return {
        "eventID": "shard:1",
        "kinesis": {
            "data": base64.b64encode(json.dumps(body).encode()).decode(),
            "partitionKey": MARKER,
            "sequenceNumber": "7",
        },
    }


def everything(delivery: Delivery) -> str:
    """All that a delivery wrote and logged, base64 decoded."""
    texts = [delivery.report.log_line(None, 0.0)]
    texts += [record.decode() for found in delivery.firehose.accepted.values() for record in found]
    for key, body in delivery.s3.objects.items():
        texts += [key, body.decode()]
        for line in body.splitlines():
            letter = json.loads(line)
            for data in (letter.get("rawData"), *_kinesis_data(letter)):
                texts += [base64.b64decode(data).decode()] if data else []
    return "\n".join(texts)


def _kinesis_data(letter: Any) -> list[str]:
    record = letter.get("record")
    return [record["kinesis"]["data"]] if isinstance(record, dict) and "kinesis" in record else []


def delivered(records: Sequence[Any], rules: Rules, *, holds: bool = False) -> Delivery:
    delivery = Delivery()
    assert delivery.process(list(records), rules, holds=holds) == ""
    return delivery


BROKEN_MAP = {"user": {"M": [{"mail": {"S": MARKER}}]}}
TWO_TAGS = {"user": {"M": {}, "L": [{"M": {"mail": {"S": MARKER}}}]}}
UNKNOWN_TAG = {"user": {"X": {"mail": {"S": MARKER}}}}
NO_STRING = {"user": {"S": {"mail": {"S": MARKER}}}}
NO_VALUE = {"user": {"M": {"mail": [MARKER]}}}
NO_ELEMENTS = {"user": {"L": [{"M": {"mail": {"S": "x"}}}, [MARKER]]}}

CASES: dict[str, tuple[Any, Rules, str]] = {
    "row": (marked(), rules_of(), "delivered"),
    "held": (marked(TAGS), rules_of(), "held"),
    "oversized": (marked(OVERSIZED), rules_of(), "dead_lettered"),
    "undecodable": (marked(UNDECODABLE), rules_of(), "dead_lettered"),
    "transformer fails": (marked(), rules_of(failing), "dead_lettered"),
    "kinesis": (kinesis(marked(OVERSIZED)), rules_of(), "dead_lettered"),
    "kinesis, malformed": (kinesis({"dynamodb": ITEM}), rules_of(), "dead_lettered"),
    "unknown event": (marked(eventName="TRUNCATE"), rules_of(), "dead_lettered"),
    "no keys": (marked(dynamodb={"NewImage": ITEM}), rules_of(), "dead_lettered"),
    "no record": ([MARKER], rules_of(), "dead_lettered"),
    "image of another type": (
        marked(dynamodb={**marked()["dynamodb"], "NewImage": [MARKER]}),
        rules_of(),
        "dead_lettered",
    ),
    **{
        f"undecodable on the path {number}": (marked(image), rules_of(), "dead_lettered")
        for number, image in enumerate(
            [BROKEN_MAP, TWO_TAGS, UNKNOWN_TAG, NO_STRING, NO_VALUE, NO_ELEMENTS]
        )
    },
}


@pytest.mark.parametrize("name", CASES)
def test_redacted_values_are_nowhere(name: str) -> None:
    record, rules, outcome = CASES[name]
    delivery = delivered([record], rules, holds=outcome == "held")
    assert getattr(delivery.report, outcome) == 1
    assert MARKER not in everything(delivery)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2] == "dead_lettered"])
def test_replayed_letters_have_the_same_pseudonyms(name: str) -> None:
    """A replay without the transformer and the large attribute delivers what can be delivered."""
    record, rules, _ = CASES[name]
    [body] = delivered([record], rules).s3.objects.values()
    [letter] = read_dead_letters(body).letters
    if "record" not in letter:
        assert "24 hours" in letter["reason"]
        assert read_dead_letters(body).remaining
        return
    stored = letter["record"]
    for image in ("NewImage", "OldImage"):
        stored["dynamodb"][image].pop("large", None)
        stored["dynamodb"][image].pop("broken", None)
    again = delivered([stored], rules_of())
    [found] = again.firehose.documents()
    [expected] = delivered([marked()], rules_of()).firehose.documents()
    assert found == {**expected, "ddb_sequence_number": letter["sequence_number"]}


def test_a_letter_that_fails_again_is_the_same() -> None:
    first = delivered([marked(OVERSIZED)], rules_of())
    [body] = first.s3.objects.values()
    again = delivered([read_dead_letters(body).letters[0]["record"]], rules_of())
    assert again.s3.objects == first.s3.objects


def test_replayed_letters_pass_the_filter_and_take_the_route_of_their_arrival() -> None:
    """The attributes that the filter and the route read are no longer there."""
    rules = rules_of(
        ATTRIBUTE_FILTER=json.dumps({"user.mail": [MARKER]}),
        ROUTE_ATTRIBUTE="user.mail",
        ATTRIBUTE_ROUTES=json.dumps({MARKER: "marked-stream"}),
    )
    [body] = delivered([marked(OVERSIZED)], rules).s3.objects.values()
    stored = read_dead_letters(body).letters[0]["record"]
    del stored["dynamodb"]["NewImage"]["large"], stored["dynamodb"]["OldImage"]["large"]
    assert list(delivered([stored], rules).firehose.accepted) == ["marked-stream"]
    assert list(delivered([stored], rules_of()).firehose.accepted) == ["s"]


def test_a_replay_redacts_what_was_not_redacted_when_the_letter_was_written() -> None:
    before = Rules(read_settings(ENVIRONMENT), Redaction((), (("id",),), KEY))
    [body] = delivered([marked(OVERSIZED)], before).s3.objects.values()
    stored = read_dead_letters(body).letters[0]["record"]
    assert stored[MARK]["pseudonymised"] == [["id"]]
    again = delivered([stored], rules_of())
    assert again.report.dead_lettered == 1
    assert MARKER not in everything(again)
    [letter] = again.s3.letters()
    assert letter["record"]["dynamodb"]["Keys"]["id"] == pseudonym({"S": MARKER}, KEY)


@pytest.mark.parametrize(
    "record",
    [
        marked(),
        stream_record(1, name="REMOVE"),
        {**stream_record(1), "eventSourceARN": None},
        {
            **stream_record(1, name="REMOVE"),
            "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
        },
    ],
)
def test_lambda_record_reads_as_the_same_change(record: Any) -> None:
    change = read_record(record)
    assert read_record(json.loads(json.dumps(lambda_record(change)))) == change
