"""A batch of changes: delivered, stored as dead letters, or reported for a retry."""

import base64
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.firehose.delivery import DeliveryRefusedError
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.dead_letters import DeadLetterError
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline_tests.support.stream_events import (
    ENVIRONMENT,
    FIRST,
    OVERSIZED,
    S3,
    UNDECODABLE,
    Firehose,
    Function,
    event_of,
    rules_of,
    stream_record,
)


def ids(*numbers: int) -> list[str]:
    return [f"event-{number}" for number in numbers]


def sequence(number: int) -> str:
    return str(FIRST + number)


def soon() -> float:
    return time.monotonic() + 0.3


@pytest.mark.parametrize("event", [[], None])
def test_empty_event(event: Any) -> None:
    function = Function()
    assert function(event or []) == ""
    assert function.firehose.calls == 0
    assert function.report.received == 0


def test_all_delivered() -> None:
    function = Function()
    assert function([stream_record(number) for number in range(10)]) == ""
    assert function.firehose.event_ids() == ids(*range(10))
    report = function.report
    assert (report.received, report.delivered, report.packed) == (10, 10, 1)
    assert report.oldest_age_seconds > 0


def test_undeliverable_changes_become_dead_letters_and_the_others_are_delivered() -> None:
    function = Function()
    records = [
        stream_record(0),
        stream_record(1, UNDECODABLE),
        stream_record(2, OVERSIZED),
        stream_record(3),
    ]
    assert function(records) == ""
    assert function.firehose.event_ids() == ids(0, 3)
    letters = function.s3.letters()
    assert [(letter["event_id"], letter["code"]) for letter in letters] == [
        ("event-1", "undecodable"),
        ("event-2", "oversized"),
    ]
    assert [letter["record"] for letter in letters] == event_of(records)["Records"][1:3]
    assert "attribute 'broken'" in letters[0]["reason"]
    assert "not a number" in letters[0]["reason"]
    assert "1,024,000" in letters[1]["reason"] or "1024000" in letters[1]["reason"]
    assert function.report.dead_lettered == 2


def test_a_retry_overwrites_its_dead_letters() -> None:
    function = Function()
    records = [stream_record(0), stream_record(1, UNDECODABLE)]
    function(records)
    function(records)
    (key,) = function.s3.objects
    assert key.startswith("letters/dead-letters/search-logs/2023-11-14/")
    assert [letter["event_id"] for letter in function.s3.letters()] == ids(1)


@pytest.mark.parametrize(
    "malformed",
    [
        {"eventID": "event-1"},
        {"eventID": "event-1", "eventName": "INSERT", "dynamodb": {"SequenceNumber": "7"}},
        {"eventName": "INSERT"},
        {"kinesis": {"data": "***", "sequenceNumber": "7"}},
        "text",
        None,
        7,
    ],
)
def test_malformed_record_becomes_a_dead_letter_whole(malformed: Any) -> None:
    function = Function()
    assert function([stream_record(0), malformed, stream_record(2)]) == ""
    assert function.firehose.event_ids() == ids(0, 2)
    assert [letter["record"] for letter in function.s3.letters()] == [malformed]


def failing_events(*numbers: int) -> Firehose:
    failing = [f'"event-{number}"'.encode() for number in numbers]

    def fails(stream: str, records: list[bytes]) -> set[int]:
        return {i for i, record in enumerate(records) if any(f in record for f in failing)}

    return Firehose(fails=fails)


def test_oversized_change_of_an_unknown_table_becomes_a_dead_letter_whole() -> None:
    function, record = Function(), stream_record(1, OVERSIZED)
    record["eventSourceARN"] = 5
    assert function([stream_record(0), record]) == ""
    [letter] = function.s3.letters()
    assert (letter["event_id"], letter["table"], letter["code"]) == ("event-1", "", "oversized")
    assert letter["record"] == record


def test_lowest_sequence_number_not_delivered_is_reported() -> None:
    function = Function(firehose=failing_events(4, 2), rules=rules_of(PACK_BYTES="1"))
    assert function([stream_record(number) for number in range(6)], soon()) == sequence(2)
    assert function.firehose.event_ids() == ids(0, 1, 3, 5)
    assert function.report.not_delivered == 2
    assert function.report.checkpoint == sequence(2)
    assert "ServiceUnavailableException" in function.report.errors[0]


def test_sequence_numbers_compare_as_integers() -> None:
    first, second = stream_record(0), stream_record(1)
    first["dynamodb"]["SequenceNumber"] = "999999999999999999999"
    second["dynamodb"]["SequenceNumber"] = "1000000000000000000000"
    function = Function(firehose=failing_events(0, 1))
    assert function([second, first], soon()) == "999999999999999999999"


def test_dead_letters_after_a_failure_are_written_by_the_retry() -> None:
    function = Function(firehose=failing_events(2), rules=rules_of(PACK_BYTES="1"))
    records = [
        stream_record(0),
        stream_record(1, UNDECODABLE),
        stream_record(2),
        stream_record(3, UNDECODABLE),
    ]
    assert function(records, soon()) == sequence(2)
    assert [letter["event_id"] for letter in function.s3.letters()] == ids(1)
    function.firehose.fails = lambda stream, sent: set()
    assert function(records[2:]) == ""
    assert [letter["event_id"] for letter in function.s3.letters()] == ids(1, 3)


def test_dead_letter_that_cannot_be_written_is_a_failure() -> None:
    function = Function(s3=S3(refuses=lambda: True))
    records = [stream_record(0), stream_record(1, UNDECODABLE), stream_record(2)]
    assert function(records) == sequence(1)
    assert "s3:PutObject" in function.report.errors[0]
    assert function.report.dead_lettered == 0


def test_no_dead_letter_bucket() -> None:
    function = Function(rules=rules_of(DEAD_LETTER_BUCKET=""))
    assert function([stream_record(0), stream_record(1, UNDECODABLE)]) == sequence(1)
    assert "DEAD_LETTER_BUCKET is not set" in function.report.errors[0]


def test_lost_record_without_sequence_number_fails_the_whole_batch() -> None:
    function = Function(s3=S3(refuses=lambda: True))
    with pytest.raises(DeadLetterError):
        function([stream_record(0), {"eventName": "INSERT"}])


def refusing(stream_refused: str) -> Firehose:
    def fails(stream: str, records: list[bytes]) -> set[int]:
        if stream == stream_refused:
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutRecordBatch"
            )
        return set()

    return Firehose(fails=fails)


def test_refusal_is_raised_if_nothing_was_delivered() -> None:
    with pytest.raises(DeliveryRefusedError, match="firehose:PutRecordBatch"):
        Function(firehose=refusing("s"))([stream_record(0)])


def test_refusal_of_one_stream_does_not_undo_the_progress_of_others() -> None:
    rules = rules_of(TABLE_ROUTES='{"other": "refused"}')
    function = Function(firehose=refusing("refused"), rules=rules)
    records = [stream_record(0), stream_record(1, table="other"), stream_record(2)]
    assert function(records) == sequence(1)
    assert function.firehose.event_ids() == ids(0, 2)
    assert "refused records" in function.report.errors[0]


def test_nothing_after_a_failure_is_sent_to_another_stream() -> None:
    firehose = refusing("s")
    rules = rules_of(TABLE_ROUTES='{"other": "other-stream"}')
    function = Function(firehose=firehose, rules=rules)
    records = [
        stream_record(0, table="other"),
        stream_record(1),
        stream_record(2, table="other"),
    ]
    assert function(records) == sequence(1)
    # The first stream in the event is sent whole, before the other one's failure is known.
    assert firehose.event_ids("other-stream") == ids(0, 2)
    firehose.accepted.clear()
    function = Function(firehose=firehose, rules=rules)
    with pytest.raises(DeliveryRefusedError):
        function([stream_record(1), stream_record(2, table="other")])
    assert firehose.event_ids("other-stream") == []


# Settings


def test_event_names() -> None:
    function = Function(rules=rules_of(EVENT_NAMES="REMOVE"))
    assert function([stream_record(0), stream_record(1, name="REMOVE")]) == ""
    assert function.firehose.event_ids() == ids(1)
    assert function.report.filtered == 1


def test_attribute_filter() -> None:
    function = Function(rules=rules_of(ATTRIBUTE_FILTER='{"user.kind": ["beta"]}'))
    beta = {"user": {"M": {"kind": {"S": "beta"}}}}
    records = [
        stream_record(0, beta),
        stream_record(1),
        stream_record(2, beta, name="REMOVE"),
    ]
    ceasing = stream_record(3, name="MODIFY")
    ceasing["dynamodb"]["OldImage"] = records[0]["dynamodb"]["NewImage"]
    keys_only = stream_record(4, name="REMOVE")
    del keys_only["dynamodb"]["OldImage"]
    function([*records, ceasing, keys_only])
    assert function.firehose.event_ids() == ids(0, 2, 3, 4)


def test_without_metadata_deletes_are_not_delivered() -> None:
    function = Function(rules=rules_of(DELIVERY_METADATA="false"))
    function([stream_record(0, {"N": {"N": "1"}}), stream_record(1, name="REMOVE")])
    assert function.firehose.documents() == [{"id": "0", "n": 1}]
    assert function.report.filtered == 1


def test_routes() -> None:
    rules = rules_of(
        TABLE_ROUTES='{"orders": "orders-stream"}',
        ROUTE_ATTRIBUTE="meta.tenant",
        ATTRIBUTE_ROUTES='{"a": "a-stream"}',
    )
    function = Function(rules=rules)
    tenant = {"meta": {"M": {"tenant": {"S": "a"}}}}
    function(
        [
            stream_record(0),
            stream_record(1, table="orders"),
            stream_record(2, tenant, table="orders"),
            stream_record(3, {"meta": {"M": {"tenant": {"S": "b"}}}}),
        ]
    )
    assert function.firehose.event_ids("s") == ids(0, 3)
    assert function.firehose.event_ids("orders-stream") == ids(1)
    assert function.firehose.event_ids("a-stream") == ids(2)


def test_routes_by_table() -> None:
    function = Function(rules=rules_of(TABLE_ROUTES='{"orders": "orders-stream"}'))
    nameless = stream_record(4)
    del nameless["eventSourceARN"]
    function(
        [
            stream_record(0),
            stream_record(1, table="orders"),
            stream_record(2, name="REMOVE"),
            stream_record(3, table="orders", name="REMOVE"),
            nameless,
            stream_record(5, UNDECODABLE, table="orders"),
        ]
    )
    assert function.firehose.event_ids("s") == ids(0, 2, 4)
    assert function.firehose.event_ids("orders-stream") == ids(1, 3)
    assert function.report.dead_lettered == 1


def test_no_route() -> None:
    rules = Rules(read_settings({"TABLE_ROUTES": '{"orders": "s"}'}))
    with pytest.raises(SettingsError, match="No route for a change of table 'search-logs'"):
        Function(rules=rules)([stream_record(0)])


def test_redaction_applies_to_images_and_keys() -> None:
    redaction = Redaction((("secret",),), (("id",),), b"0123456789abcdef")
    rules = Rules(read_settings({**ENVIRONMENT, "IMAGES": "both"}), redaction)
    function = Function(rules=rules)
    record = stream_record(0, {"secret": {"S": "hidden"}}, name="MODIFY")
    record["dynamodb"]["OldImage"] = record["dynamodb"]["NewImage"]
    function([record])
    (document,) = function.firehose.documents()
    assert "hidden" not in json.dumps(document)
    assert len(document["id"]) == 64
    assert json.loads(document["ddb_keys"]) == {"id": document["id"]}
    assert document["ddb_old_image"] == {"id": document["id"]}


def test_key_attributes_cannot_be_dropped() -> None:
    rules = Rules(read_settings(ENVIRONMENT), Redaction(dropped=(("id",),)))
    with pytest.raises(SettingsError, match="'id', a key of table 'search-logs'"):
        Function(rules=rules)([stream_record(0)])


def test_transformer() -> None:
    def transformer(image: Any, record: Any) -> Any:
        if image["id"]["S"] == "1":
            return None
        if image["id"]["S"] == "2":
            raise LookupError("hidden")
        if image["id"]["S"] == "3":
            return ["no", "image"]
        return {**image, "table": {"S": record.table}}

    rules = Rules(read_settings(ENVIRONMENT), transformer=transformer)
    function = Function(rules=rules)
    assert function([stream_record(number) for number in range(5)]) == ""
    assert function.firehose.event_ids() == ids(0, 4)
    assert {document["table"] for document in function.firehose.documents()} == {"search-logs"}
    assert function.report.filtered == 1
    letters = function.s3.letters()
    assert [letter["event_id"] for letter in letters] == ids(2, 3)
    assert "the transformer raised LookupError" in letters[0]["reason"]
    assert "hidden" not in letters[0]["reason"]


def test_transformer_that_drops_an_image() -> None:
    def transformer(image: Any, record: Any) -> Any:
        return image if "keep" in image else None

    rules = Rules(read_settings({**ENVIRONMENT, "IMAGES": "both"}), transformer=transformer)
    function = Function(rules=rules)
    keep, drop = {"keep": {"S": "x"}}, {"other": {"S": "x"}}
    begins, ceases = stream_record(0, keep, name="MODIFY"), stream_record(1, name="MODIFY")
    begins["dynamodb"]["OldImage"] = drop
    ceases["dynamodb"]["OldImage"] = keep
    deletes = [stream_record(2, keep, name="REMOVE"), stream_record(3, name="REMOVE")]
    assert function([begins, ceases, *deletes]) == ""
    assert function.firehose.event_ids() == ids(0, 2)
    assert function.firehose.documents()[0]["ddb_old_image"] == {}
    assert function.report.filtered == 2


def test_kinesis_records() -> None:
    body = stream_record(0)
    body["tableName"] = "search-logs"
    del body["eventSourceARN"], body["dynamodb"]["SequenceNumber"]
    body["dynamodb"]["ApproximateCreationDateTime"] = 1_700_000_000_000
    data = base64.b64encode(json.dumps(body).encode()).decode()
    record = {
        "eventSource": "aws:kinesis",
        "eventID": "shardId-000000000000:5",
        "kinesis": {"sequenceNumber": "5", "data": data},
    }
    function = Function(firehose=failing_events(0))
    assert function([record], soon()) == "5"
    function.firehose.fails = lambda stream, sent: set()
    assert function([record]) == ""
    assert function.firehose.event_ids() == ids(0)
