"""Stream records to change documents."""

import base64
import copy
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from ddb_pipeline.dynamodb.stream import (
    DocumentOptions,
    Images,
    UndecodableRecordError,
    change_document,
    read_kinesis_record,
    read_record,
)
from ddb_pipeline.glue.lake_table import DELIVERY_COLUMNS
from ddb_pipeline.hive.epoch import epoch_seconds

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/search-logs/stream/2026-01-01T00:00:00.000"
KEYS = {"log_id": {"S": "k1"}}
NEW = {"log_id": {"S": "k1"}, "Tags": {"SS": ["a", "b"]}, "n": {"N": "1.10"}}
OLD = {"log_id": {"S": "k1"}, "n": {"N": "1"}}


def record(name: str = "MODIFY", **change: Any) -> dict[str, Any]:
    images: dict[str, Any] = {"NewImage": NEW, "OldImage": OLD}
    if name == "INSERT":
        del images["OldImage"]
    if name == "REMOVE":
        del images["NewImage"]
    return {
        "eventID": "e1",
        "eventName": name,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000.0,
            "Keys": KEYS,
            "SequenceNumber": "100000000000000000000123",
            "SizeBytes": 50,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
            **change,
        },
    }


def document(source: dict[str, Any], **options: Any) -> Any:
    body = change_document(read_record(source), DocumentOptions(**options))
    return None if body is None else json.loads(body)


def metadata(name: str, expired: bool = False) -> dict[str, Any]:
    return {
        "ddb_event_id": "e1",
        "ddb_event_name": name,
        "ddb_sequence_number": "100000000000000000000123",
        "ddb_event_time": 1_700_000_000,
        "ddb_keys": '{"log_id":"k1"}',
        "ddb_expired": expired,
    }


NEW_JSON = {"log_id": "k1", "tags": ["a", "b"], "n": 1.1}
OLD_JSON = {"log_id": "k1", "n": 1}
KEYS_JSON = {"log_id": "k1"}

DOCUMENTS = [
    ("INSERT", Images.NEW, NEW_JSON),
    ("MODIFY", Images.NEW, NEW_JSON),
    ("REMOVE", Images.NEW, KEYS_JSON),
    ("INSERT", Images.OLD, KEYS_JSON),
    ("MODIFY", Images.OLD, OLD_JSON),
    ("REMOVE", Images.OLD, OLD_JSON),
    ("INSERT", Images.BOTH, NEW_JSON),
    ("MODIFY", Images.BOTH, {**NEW_JSON, "ddb_old_image": OLD_JSON}),
    ("REMOVE", Images.BOTH, {**KEYS_JSON, "ddb_old_image": OLD_JSON}),
]


@pytest.mark.parametrize(("name", "images", "members"), DOCUMENTS)
def test_document(name: str, images: Images, members: dict[str, Any]) -> None:
    assert document(record(name), images=images) == {**metadata(name), **members}


@pytest.mark.parametrize(
    ("name", "images", "members"),
    [
        ("INSERT", Images.NEW, NEW_JSON),
        ("MODIFY", Images.NEW, NEW_JSON),
        ("REMOVE", Images.NEW, None),
        ("INSERT", Images.OLD, None),
        ("REMOVE", Images.OLD, OLD_JSON),
    ],
)
def test_document_without_metadata_is_the_plain_image(
    name: str, images: Images, members: Any
) -> None:
    assert document(record(name), images=images, metadata=False) == members


def test_metadata_columns_are_those_of_the_lake_table() -> None:
    assert tuple(metadata("INSERT")) == tuple(column.name for column in DELIVERY_COLUMNS)


def test_numbers_keep_their_text() -> None:
    body = change_document(read_record(record()))
    assert body is not None
    assert b'"n":1.10' in body


def test_keys_do_not_depend_on_their_order() -> None:
    keys = {"b": {"N": "1"}, "A": {"B": "AA=="}}
    turned = dict(reversed(keys.items()))
    texts = {
        document(record(Keys=order, NewImage={**NEW, **order}))["ddb_keys"]
        for order in (keys, turned)
    }
    assert texts == {'{"a":"AA==","b":1}'}


def test_attributes_named_like_metadata_do_not_hide_it() -> None:
    found = document(record(NewImage={**NEW, "ddb_event_id": {"S": "mine"}}))
    assert found["ddb_event_id"] == "e1"
    assert "mine" in found.values()


TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("identity", "expired"),
    [
        (TTL, True),
        ({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, True),
        ({"type": "Service", "principalId": "other.amazonaws.com"}, False),
        ({"type": "User", "principalId": "dynamodb.amazonaws.com"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_time_to_live(identity: Any, expired: bool) -> None:
    found = document({**record("REMOVE"), "userIdentity": identity})
    assert found == {**metadata("REMOVE", expired), **KEYS_JSON}


@pytest.mark.parametrize(
    ("moment", "time"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000.0, 1_700_000_000),
        (1_700_000_000.25, 1_700_000_000_250),
        ("2023-11-14T22:13:20+00:00", 1_700_000_000),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20.25Z", 1_700_000_000_250),
        ("2023-11-14T22:13:20.250000999-00:00", 1_700_000_000_250),
        (datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc), 1_700_000_000),
    ],
)
def test_event_time(moment: Any, time: int) -> None:
    read = read_record(record(ApproximateCreationDateTime=moment))
    assert read.event_time == time
    assert int(epoch_seconds(read.event_time or 0)) == 1_700_000_000


@pytest.mark.parametrize("change", [{}, {"ApproximateCreationDateTime": None}])
def test_record_without_creation_time_has_an_empty_event_time(change: dict[str, Any]) -> None:
    source = record()
    del source["dynamodb"]["ApproximateCreationDateTime"]
    source["dynamodb"] |= change
    assert document(source) == {**metadata("MODIFY"), "ddb_event_time": None, **NEW_JSON}


NOT_TIMES = [
    *("today", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "1700000000", "", True),
    *(float("nan"), float("inf"), -float("inf"), -1, 1e300, 10**400, -(10**400), [], {}),
    *(253_402_300_800, 253_402_300_800_000, "0000-01-01T00:00:00Z", "١٧٠٠-01-01T00:00:00Z"),
    *("2023-11-14T22:13:20+99:99", "0001-01-01T00:00:00+23:59"),
]


@pytest.mark.parametrize("moment", NOT_TIMES)
def test_creation_time_that_is_no_time(moment: Any) -> None:
    with pytest.raises(UndecodableRecordError, match="its ApproximateCreationDateTime is neither"):
        read_record(record(ApproximateCreationDateTime=moment))
    with pytest.raises(UndecodableRecordError, match="its ApproximateCreationDateTime is neither"):
        read_kinesis_record(kinesis_record(kinesis_body(moment, None)))


def test_record_of_get_records_names_no_table() -> None:
    source = record()
    del source["eventSourceARN"]
    assert read_record(source, table="search-logs").table == "search-logs"
    assert read_record(record(), table="other").table == "search-logs"


def without(path: str) -> dict[str, Any]:
    source = copy.deepcopy(record())
    *parents, name = path.split(".")
    target = source
    for parent in parents:
        target = target[parent]
    del target[name]
    return source


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (without("eventID"), "it has no eventID"),
        (without("dynamodb"), "it has no dynamodb"),
        (without("dynamodb.Keys"), "it has no Keys"),
        (without("dynamodb.SequenceNumber"), "it has no SequenceNumber"),
        ({**record(), "eventID": 3}, "not shaped like"),
        ({**record(), "eventID": ""}, "not shaped like"),
        ({**record(), "eventName": "TRUNCATE"}, "event name is none of"),
        ({**record(), "eventName": ["INSERT"]}, "not shaped like"),
        ({**record(), "dynamodb": None}, "not shaped like"),
        ({**record(), "userIdentity": "me"}, "not shaped like"),
        (record(SequenceNumber=5), "not shaped like"),
        (record(SequenceNumber="12x"), "not shaped like"),
        (record(Keys=None), "not shaped like"),
        (record(SequenceNumber="١٢"), "not shaped like"),
        (record(SequenceNumber="9" * 5000), "not shaped like"),
        (record(Keys={}), "not shaped like"),
        (None, "not shaped like"),
        ("text", "not shaped like"),
    ],
)
def test_malformed_record(source: Any, reason: str) -> None:
    with pytest.raises(UndecodableRecordError, match="Stream record") as raised:
        read_record(source)
    assert reason in raised.value.reason


def test_undecodable_image_names_event_and_path_and_no_value() -> None:
    image = {**NEW, "address": {"M": {"lines": {"L": [{"S": "x"}, {"N": "secret"}]}}}}
    with pytest.raises(UndecodableRecordError) as raised:
        document(record(NewImage=image))
    assert raised.value.event_id == "e1"
    assert raised.value.path == "address.lines[1]"
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "images", "missing"),
    [
        ("INSERT", Images.NEW, "NewImage"),
        ("MODIFY", Images.NEW, "NewImage"),
        ("MODIFY", Images.OLD, "OldImage"),
        ("REMOVE", Images.OLD, "OldImage"),
        ("REMOVE", Images.BOTH, "OldImage"),
    ],
)
def test_stream_view_without_the_image_to_deliver(name: str, images: Images, missing: str) -> None:
    source = record(name)
    source["dynamodb"].pop("NewImage", None)
    source["dynamodb"].pop("OldImage", None)
    with pytest.raises(UndecodableRecordError, match=f"without {missing}.*NEW_AND_OLD_IMAGES"):
        document(source, images=images)


def test_lone_surrogate_becomes_an_escape() -> None:
    body = change_document(read_record(record(NewImage={"log_id": {"S": "\ud83d"}})))
    assert body is not None
    assert b'"\\ud83d"' in body
    assert json.loads(body)["log_id"] == "\ud83d"


def kinesis_record(body: Any, data: str = "") -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return {
        "eventSource": "aws:kinesis",
        "eventID": "shardId-000000000000:495",
        "kinesis": {"sequenceNumber": "4959033827149025660855951", "data": data or encoded},
    }


def kinesis_body(moment: Any, precision: str | None) -> dict[str, Any]:
    body = copy.deepcopy(record())
    del body["eventSourceARN"]
    del body["dynamodb"]["SequenceNumber"]
    body["tableName"] = "search-logs"
    body["userIdentity"] = None
    body["dynamodb"]["ApproximateCreationDateTime"] = moment
    if precision:
        body["dynamodb"]["ApproximateCreationDateTimePrecision"] = precision
    return body


@pytest.mark.parametrize(
    ("moment", "precision"),
    [
        (1_700_000_000_250, None),
        (1_700_000_000_250, "MILLISECOND"),
        (1_700_000_000_250_999, "MICROSECOND"),
        (1_700_000_000_250_999.0, "MICROSECOND"),
        ("2023-11-14T22:13:20.250Z", "MICROSECOND"),
    ],
)
def test_kinesis_record(moment: Any, precision: str | None) -> None:
    read = read_kinesis_record(kinesis_record(kinesis_body(moment, precision)))
    assert (read.event_id, read.table) == ("e1", "search-logs")
    assert read.sequence_number == "4959033827149025660855951"
    assert read.event_time == 1_700_000_000_250
    body = change_document(read)
    assert body is not None
    assert json.loads(body)["ddb_event_time"] == 1_700_000_000_250


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (kinesis_record({}, data="***"), "its data is not base64"),
        (kinesis_record({}, data="e30K"), "it has no dynamodb"),
        (kinesis_record({}, data="eA=="), "its data is not JSON"),
        (kinesis_record([1]), "not shaped like"),
        (kinesis_record({"dynamodb": {}}), "it has no eventID"),
        ({"kinesis": {}}, "it has no data"),
    ],
)
def test_malformed_kinesis_record(source: Any, reason: str) -> None:
    with pytest.raises(UndecodableRecordError) as raised:
        read_kinesis_record(source)
    assert reason in raised.value.reason
