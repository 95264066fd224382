"""Reading streams: the order of shards, ranges, expired iterators, and failed batches."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from ddb_pipeline.dynamodb.stream import change_document, read_record
from ddb_pipeline.dynamodb.stream_read import (
    FailedBatch,
    RecordsTrimmedError,
    Shard,
    StreamReadError,
    describe_shards,
    lambda_event,
    ordered_shards,
    parse_failure,
    read_failed_batch,
    read_shard,
)
from ddb_pipeline_tests.support.stream_records import read_stream

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/search-logs/stream/label"


def shards_of(**parents: str) -> list[Shard]:
    return [Shard(name, parent, 0, None) for name, parent in parents.items()]


@pytest.mark.parametrize(
    ("shards", "order"),
    [
        ([], ""),
        (shards_of(a=""), "a"),
        (shards_of(b="a", a=""), "ab"),
        (shards_of(d="b", c="a", b="a", a=""), "abcd"),
        (shards_of(b="trimmed", a="b"), "ba"),
        ([Shard("b", "", 1, 2), Shard("a", "", 3, None)], "ba"),
        ([Shard("late", "", 9, None), Shard("child", "root", 1, 2), Shard("root", "", 5, 6)], ""),
    ],
)
def test_ordered_shards(shards: list[Shard], order: str) -> None:
    names = [shard.shard_id for shard in ordered_shards(shards)]
    if order:
        assert "".join(names) == order
    for shard in shards:
        if shard.parent_id in names:
            assert names.index(shard.parent_id) < names.index(shard.shard_id)


@given(st.lists(st.integers(0, 30), max_size=30))
@settings(max_examples=50)
def test_any_family_of_shards_is_ordered(parents: list[int]) -> None:
    # Shard i descends from an earlier one, or from one that has been trimmed.
    shards = [
        Shard(str(i), str(parent) if parent < i else "trimmed", 100 - i, None)
        for i, parent in enumerate(parents)
    ]
    names = [shard.shard_id for shard in ordered_shards(reversed(shards))]
    assert sorted(names) == sorted(shard.shard_id for shard in shards)
    for shard in shards:
        if shard.parent_id != "trimmed":
            assert names.index(shard.parent_id) < names.index(shard.shard_id)


def test_circle_of_shards() -> None:
    with pytest.raises(StreamReadError, match="each other's parents: a, b"):
        ordered_shards(shards_of(a="b", b="a"))


class SplitStream:
    """A stream whose shard was split, with pages, empty pages and iterators that expire.

    A fake, because no emulator splits shards; its behaviour is that of the API reference.
    """

    def __init__(self) -> None:
        self.shards = {"child-1": "parent", "parent": "", "child-2": "parent"}
        self.numbers = {"parent": range(10), "child-1": range(10, 15), "child-2": range(15, 18)}
        self.expire_at: set[int] = set()
        self.trimmed_below = 0

    def describe_stream(self, *, StreamArn: str, ExclusiveStartShardId: str = "") -> Any:
        names = list(self.shards)
        start = names.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        name = names[start]
        shard: dict[str, Any] = {
            "ShardId": name,
            "SequenceNumberRange": {"StartingSequenceNumber": str(self.numbers[name][0])},
        }
        if self.shards[name]:
            shard["ParentShardId"] = self.shards[name]
        else:
            shard["SequenceNumberRange"]["EndingSequenceNumber"] = "9"
        more = {"LastEvaluatedShardId": name} if start + 1 < len(names) else {}
        return {"StreamDescription": {"Shards": [shard], **more}}

    def get_shard_iterator(
        self, *, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> Any:
        position = self.numbers[ShardId][0]
        if SequenceNumber:
            position = int(SequenceNumber) + (ShardIteratorType == "AFTER_SEQUENCE_NUMBER")
        if position < self.trimmed_below and SequenceNumber:
            raise _error("TrimmedDataAccessException")
        return {"ShardIterator": f"{ShardId}/{position}/0"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        shard, position, turn = ShardIterator.split("/")
        numbers = [n for n in self.numbers[shard] if n >= int(position)]
        if int(position) in self.expire_at:
            self.expire_at.discard(int(position))
            raise _error("ExpiredIteratorException")
        if int(turn) % 2 == 0:  # every other answer is empty
            return {"Records": [], "NextShardIterator": f"{shard}/{position}/{int(turn) + 1}"}
        page = numbers[:3]
        records = [{"dynamodb": {"SequenceNumber": str(number)}} for number in page]
        following = f"{shard}/{int(position) + len(page)}/{int(turn) + 1}"
        closed = shard == "parent" and len(numbers) <= 3
        return {"Records": records} | ({} if closed else {"NextShardIterator": following})


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetRecords")


def sequence_numbers(records: Iterator[Any]) -> list[int]:
    return [int(record["dynamodb"]["SequenceNumber"]) for record in records]


def test_parents_are_read_first() -> None:
    stream: Any = SplitStream()
    assert [shard.shard_id for shard in describe_shards(stream, ARN)] == [
        "parent",
        "child-1",
        "child-2",
    ]
    assert sequence_numbers(read_stream(stream, ARN)) == list(range(18))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, range(10)),
        (3, None, range(3, 10)),
        (None, 4, range(5)),
        (3, 7, range(3, 8)),
        (5, 5, range(5, 6)),
        (5, 99, range(5, 10)),
    ],
)
def test_range(first: int | None, last: int | None, expected: range) -> None:
    stream: Any = SplitStream()
    found = sequence_numbers(read_shard(stream, ARN, "parent", first=first, last=last))
    assert found == list(expected)


def test_expired_iterators_are_replaced() -> None:
    stream: Any = SplitStream()
    stream.expire_at = {0, 3, 9}
    assert sequence_numbers(read_shard(stream, ARN, "parent")) == list(range(10))


def test_trimmed() -> None:
    stream: Any = SplitStream()
    stream.trimmed_below = 5
    with pytest.raises(RecordsTrimmedError, match="24 hours"):
        list(read_shard(stream, ARN, "parent", first=3))
    with pytest.raises(RecordsTrimmedError, match="Shard parent"):
        read_failed_batch(stream, FailedBatch(ARN, "parent", 3, 7, 5, ""))


def test_failed_batch() -> None:
    stream: Any = SplitStream()
    batch = FailedBatch(ARN, "child-1", 11, 13, 3, "RetryAttemptsExhausted")
    assert sequence_numbers(iter(read_failed_batch(stream, batch))) == [11, 12, 13]
    with pytest.raises(RecordsTrimmedError, match="3 of the 4 records from 11 to 13"):
        read_failed_batch(stream, batch._replace(size=4))


FAILURE = {
    "requestContext": {
        "requestId": "r",
        "functionArn": "arn:aws:lambda:eu-west-1:000000000000:function:f",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 100,
    },
    "version": "1.0",
    "timestamp": "2026-01-01T00:13:49.717Z",
    "DDBStreamBatchInfo": {
        "shardId": "shardId-00000001573689847184-864758bb",
        "startSequenceNumber": "800000000003126276362",
        "endSequenceNumber": "800000000003126276363",
        "approximateArrivalOfFirstRecord": "2026-01-01T00:13:19Z",
        "approximateArrivalOfLastRecord": "2026-01-01T00:13:19Z",
        "batchSize": 1,
        "streamArn": ARN,
    },
}


BATCH: Any = FAILURE["DDBStreamBatchInfo"]
SNS = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": json.dumps(FAILURE)}
EVENT = {"version": "0", "source": "lambda", "detail-type": "failed", "detail": FAILURE}


@pytest.mark.parametrize(
    "message",
    [
        FAILURE,
        SNS,
        EVENT,
        {"Type": "Notification", "Message": json.dumps(EVENT)},
        {"detail-type": "x", "detail": SNS},
    ],
    ids=["from Lambda", "by SNS", "by EventBridge", "by EventBridge and SNS", "by both"],
)
def test_parse_failure(message: Any) -> None:
    assert parse_failure(json.dumps(message)) == FailedBatch(
        ARN,
        "shardId-00000001573689847184-864758bb",
        800000000003126276362,
        800000000003126276363,
        1,
        "RetryAttemptsExhausted",
        (1767226399.0, 1767226399.0),
    )


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            "{}",
            "[]",
            '{"KinesisBatchInfo": {}}',
            "null",
            '{"Message": "hello"}',
            "[" * 100_000,
        ),
        *('{"Message": 5}', '{"detail": {}}', '{"detail": []}', '{"DDBStreamBatchInfo": 5}'),
        json.dumps({"DDBStreamBatchInfo": {**BATCH, "batchSize": float("inf")}}),
        json.dumps({"DDBStreamBatchInfo": {**BATCH, "startSequenceNumber": "9" * 5000}}),
    ],
)
def test_parse_other_message(body: str) -> None:
    with pytest.raises(StreamReadError, match="Not a failed batch"):
        parse_failure(body)


def test_records_of_a_table_as_lambda_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        table = dynamodb.create_table(
            TableName="search-logs",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        for number in range(3):
            dynamodb.put_item(
                TableName="search-logs",
                Item={"id": {"S": str(number)}, "b": {"B": b"\x00\xff"}, "n": {"N": "1.5"}},
            )
        arn = table["LatestStreamArn"]
        event = lambda_event(read_stream(boto3.client("dynamodbstreams"), arn), arn)
    decoded = json.loads(json.dumps(event))
    documents = [json.loads(change_document(read_record(r)) or b"") for r in decoded["Records"]]
    assert [document["id"] for document in documents] == ["0", "1", "2"]
    assert {document["b"] for document in documents} == {"AP8="}


def test_a_record_of_get_records_becomes_a_lambda_record_with_its_time_to_live_identity() -> None:
    record = {
        "eventID": "e",
        "eventName": "REMOVE",
        "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
        "dynamodb": {
            "Keys": {"id": {"S": "1"}},
            "SequenceNumber": "1",
            "ApproximateCreationDateTime": 1_700_000_000,
        },
    }
    (found,) = lambda_event([record], ARN)["Records"]
    assert found["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    read = read_record(found)
    assert read.expired
    assert read.table == "search-logs"
