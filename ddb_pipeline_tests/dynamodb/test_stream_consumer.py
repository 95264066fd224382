"""The consumer of a stream: order across splits, leases, checkpoints, bounded and repeated runs.

Checkpoints are in moto's DynamoDB; the stream is a fake, because no emulator splits shards.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ddb_pipeline.dynamodb.stream_checkpoints import (
    Checkpoint,
    CheckpointError,
    Checkpoints,
    LeaseLostError,
)
from ddb_pipeline.dynamodb.stream_consumer import Consumption, Limits, consume, sequence_number

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/search-logs/stream/label"
TABLE = "search-logs-stream-checkpoints"
NO_LIMITS = Limits()
BASE = 10**39
"""Sequence numbers have up to 40 digits."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class SplitStream:
    """A fake stream: shards that split and close, empty pages, iterators that expire.

    It behaves as the DynamoDB Streams API reference states.

    Attributes:
        shards: by shard id, the parent's id and the sequence numbers.
    """

    def __init__(
        self, shards: Mapping[str, tuple[str, Sequence[int]]], open_: Sequence[str]
    ) -> None:
        self.shards = dict(shards)
        self.open = set(open_)
        self.trimmed_below = 0
        self.expire: set[str] = set()

    def describe_stream(self, *, StreamArn: str) -> Any:
        described = []
        for name, (parent, numbers) in self.shards.items():
            window = {"StartingSequenceNumber": str(BASE + min(numbers, default=0))}
            if name not in self.open:
                window["EndingSequenceNumber"] = str(BASE + max(numbers, default=0))
            shard: dict[str, Any] = {"ShardId": name, "SequenceNumberRange": window}
            described.append(shard | ({"ParentShardId": parent} if parent else {}))
        random.Random(len(described)).shuffle(described)
        return {"StreamDescription": {"Shards": described}}

    def get_shard_iterator(
        self, *, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> Any:
        position = self.trimmed_below
        if SequenceNumber:
            position = int(SequenceNumber) - BASE + (ShardIteratorType == "AFTER_SEQUENCE_NUMBER")
            if position < self.trimmed_below:
                raise error("TrimmedDataAccessException")
        return {"ShardIterator": f"{ShardId}/{position}/0"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        shard, position, turn = ShardIterator.split("/")
        if shard in self.expire:
            self.expire.discard(shard)
            raise error("ExpiredIteratorException")
        left = [n for n in self.shards[shard][1] if n >= int(position)]
        if turn == "0" and left:  # a page may be empty before the end
            return {"Records": [], "NextShardIterator": f"{shard}/{position}/1"}
        page = left[: min(Limit, 3)]
        after = page[-1] + 1 if page else int(position)
        closed = shard not in self.open and len(page) == len(left)
        following = {} if closed else {"NextShardIterator": f"{shard}/{after}/0"}
        return {"Records": [record(number) for number in page], **following}


def record(number: int) -> dict[str, Any]:
    return {"dynamodb": {"SequenceNumber": str(BASE + number)}}


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetRecords")


def family() -> SplitStream:
    """A root that was split in two; the left child has an open child of its own."""
    return SplitStream(
        {
            "grandchild": ("left", range(40, 50)),
            "left": ("root", range(20, 30)),
            "right": ("root", range(30, 40)),
            "root": ("trimmed-long-ago", range(20)),
        },
        open_=["grandchild", "right"],
    )


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "stream_arn", "KeyType": "HASH"},
                {"AttributeName": "shard_id", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "stream_arn", "AttributeType": "S"},
                {"AttributeName": "shard_id", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


class Target:
    """Takes records, except those whose numbers are in ``refuses``."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refuses: set[int] = set()

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> str:
        for found in records:
            number = sequence_number(found) - BASE
            if number in self.refuses:
                return str(BASE + number)
            self.taken.append(number)
        return ""


def run(
    stream: Any, dynamodb: Any, target: Any, limits: Limits = NO_LIMITS, **options: Any
) -> Consumption:
    clock = options.pop("clock", Clock())
    owner = options.pop("owner", "a run")
    checkpoints = Checkpoints(dynamodb, TABLE, ARN, owner, clock=clock)
    return consume(stream, ARN, checkpoints, target, limits, **options)


def in_order(taken: Sequence[int]) -> bool:
    """Whether each shard's records came in order, and none before its parent's last."""
    place = {number: position for position, number in enumerate(taken)}
    families = [(range(20), range(20, 30)), (range(20), range(30, 40))]
    families += [(range(20, 30), range(40, 50))]
    ordered = all(
        [place[n] for n in shard] == sorted(place[n] for n in shard) for _, shard in families
    )
    return ordered and all(
        max(place[n] for n in parent) < min(place[n] for n in child) for parent, child in families
    )


def test_parents_before_children_to_the_end(dynamodb: Any) -> None:
    target = Target()
    done = run(family(), dynamodb, target)
    assert sorted(target.taken) == list(range(50))
    assert in_order(target.taken)
    assert (done.records, done.shards, done.finished, done.caught_up) == (50, 4, 2, True)
    assert [done.leased, done.blocked, done.stopped, done.trimmed] == [[], [], {}, {}]


def test_a_second_run_delivers_only_what_is_new(dynamodb: Any) -> None:
    stream, target = family(), Target()
    run(stream, dynamodb, target)
    assert run(stream, dynamodb, target).records == 0
    stream.shards["right"] = ("root", range(30, 43))
    stream.shards["grandchild"] = ("left", ())
    run(stream, dynamodb, target, owner="another run")
    assert target.taken[50:] == [40, 41, 42]


@pytest.mark.parametrize("records", [1, 2, 7, 19, 20, 21])
def test_bounded_runs_add_up(dynamodb: Any, records: int) -> None:
    stream, target = family(), Target()
    for turn in range(200):
        done = run(stream, dynamodb, target, Limits(records=records), owner=f"run {turn}")
        assert done.records <= records
        if done.caught_up:
            break
    assert sorted(target.taken) == list(range(50))
    assert in_order(target.taken)


def test_a_run_ends_in_time(dynamodb: Any) -> None:
    ticks = iter(range(1000))
    done = run(family(), dynamodb, Target(), Limits(seconds=12), clock=Clock())
    assert done.caught_up
    stream = SplitStream({"only": ("", range(1000))}, open_=["only"])
    checkpoints = Checkpoints(dynamodb, TABLE, ARN, "slow")
    slow = consume(
        stream,  # type: ignore[arg-type]
        ARN,
        checkpoints,
        Target(),
        Limits(seconds=12),
        clock=lambda: float(next(ticks)),
    )
    assert 0 < slow.records < 1000
    assert not slow.caught_up


def test_two_runs_side_by_side_share_the_shards(dynamodb: Any) -> None:
    clock = Clock()
    other = Checkpoints(dynamodb, TABLE, ARN, "other", clock=clock)
    stream, target = family(), Target()
    assert other.take("root") == Checkpoint()
    done = run(stream, dynamodb, target, clock=clock)
    assert (done.records, done.leased, sorted(done.blocked)) == (
        0,
        ["root"],
        ["grandchild", "left", "right"],
    )
    clock.now += 301  # the other run died: its lease ends
    assert run(stream, dynamodb, target, clock=clock).records == 50
    with pytest.raises(LeaseLostError):
        other.advance("root", BASE + 5, finished=False)
    assert other.read()["root"] == Checkpoint(BASE + 19, finished=True)
    other.release("root")  # nothing to release


def test_a_reader_that_lost_its_lease_does_not_move_the_position(dynamodb: Any) -> None:
    clock = Clock()
    stream, target = SplitStream({"only": ("", range(12))}, open_=["only"]), Target()
    thief = Checkpoints(dynamodb, TABLE, ARN, "thief", clock=clock)

    def stalls(records: Sequence[Mapping[str, Any]]) -> str:
        target(records)
        if len(target.taken) == 6:
            clock.now += 301
            assert thief.take("only") == Checkpoint(BASE + 2)
        return ""

    done = run(stream, dynamodb, stalls, clock=clock)
    assert done.leased == ["only"]
    assert target.taken == list(range(6))
    assert thief.read()["only"] == Checkpoint(BASE + 2)
    run(stream, dynamodb, target, clock=clock, owner="thief")
    # At least once: what was delivered and not noted comes again, nothing is left out.
    assert target.taken == [*range(6), *range(3, 12)]


def test_undelivered_records_come_again_and_block_only_their_own_shards(dynamodb: Any) -> None:
    stream, target = family(), Target()
    target.refuses = {24}
    done = run(stream, dynamodb, target)
    assert done.stopped == {"left": str(BASE + 24)}
    assert done.blocked == ["grandchild"]
    assert set(range(40)) - set(target.taken) == set(range(24, 30))
    target.refuses = set()
    assert run(stream, dynamodb, target).records == 16
    assert sorted(target.taken) == list(range(50))
    assert in_order(target.taken)


def test_an_error_of_delivery_ends_the_leases(dynamodb: Any) -> None:
    def refuses(records: Sequence[Mapping[str, Any]]) -> str:
        raise RuntimeError("no such delivery stream")

    stream, target = family(), Target()
    with pytest.raises(RuntimeError):
        run(stream, dynamodb, refuses)
    assert run(stream, dynamodb, target, owner="another run").records == 50


def test_expired_iterators_are_replaced(dynamodb: Any) -> None:
    stream, target = family(), Target()
    stream.expire = {"root", "right", "grandchild"}
    run(stream, dynamodb, target)
    assert sorted(target.taken) == list(range(50))


def test_a_gap_is_reported_and_skipped_only_on_request(dynamodb: Any) -> None:
    stream, target = SplitStream({"only": ("", range(100))}, open_=["only"]), Target()
    run(stream, dynamodb, target, Limits(records=10))
    stream.trimmed_below = 60
    done = run(stream, dynamodb, target)
    assert list(done.trimmed) == ["only"]
    assert "24 hours" in done.trimmed["only"]
    assert target.taken == list(range(10))
    done = run(stream, dynamodb, target, skip_trimmed=True)
    assert not done.trimmed
    assert target.taken == [*range(10), *range(60, 100)]


def test_gaps_are_reported_from_the_moment_up_to_which_the_shard_was_delivered(
    dynamodb: Any,
) -> None:
    class Dated(SplitStream):
        def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
            page = super().get_records(ShardIterator=ShardIterator, Limit=Limit)
            for found in page["Records"]:
                number = int(found["dynamodb"]["SequenceNumber"]) - BASE
                found["dynamodb"]["ApproximateCreationDateTime"] = 1_800_000_000 + number
            return page

    stream, target = Dated({"only": ("", range(100))}, open_=["only"]), Target()
    found: list[tuple[str, float]] = []

    def reported(**options: Any) -> Consumption:
        def on_trimmed(shard_id: str, delivered_until: float) -> None:
            found.append((shard_id, delivered_until - 1_800_000_000))

        return run(stream, dynamodb, target, on_trimmed=on_trimmed, **options)

    run(stream, dynamodb, target, Limits(records=10))
    stream.trimmed_below = 60
    reported(skip_trimmed=True)
    assert found == [("only", 9)]
    # At the end of the stream everything is delivered up to the present.
    reported(now=lambda: 1_800_005_000.0)
    stream.trimmed_below, stream.shards["only"] = 120, ("", range(200))
    reported(skip_trimmed=True)
    assert found[1:] == [("only", 5000 - 60)]
    # A shard that is gone before its end was delivered, once.
    stream.shards, stream.open = {"next": ("only", range(200, 210))}, {"next"}
    reported()
    reported()
    assert [shard for shard, _ in found] == ["only", "only", "only"]
    assert target.taken[-10:] == list(range(200, 210))


def test_a_closed_shard_that_was_delivered_whole_and_then_trimmed_has_no_gap(dynamodb: Any) -> None:
    stream, target = SplitStream({"only": ("", range(9))}, open_=["only"]), Target()
    run(stream, dynamodb, target)
    stream.open = set()
    stream.trimmed_below = 60
    done = run(stream, dynamodb, target)
    assert (done.finished, done.trimmed) == (1, {})


def test_no_table_and_no_permission(dynamodb: Any) -> None:
    checkpoints = Checkpoints(dynamodb, "nowhere", ARN, "a run")
    with pytest.raises(CheckpointError, match='stream_reader = "consumer"'):
        checkpoints.read()

    class Denied:
        def query(self, **request: Any) -> Any:
            raise error("AccessDeniedException")

        def update_item(self, **request: Any) -> Any:
            raise error("AccessDeniedException")

    denied: Any = Denied()
    with pytest.raises(CheckpointError, match="Grant dynamodb:Query"):
        Checkpoints(denied, TABLE, ARN, "a run").read()
    with pytest.raises(CheckpointError, match="Grant dynamodb:UpdateItem"):
        Checkpoints(denied, TABLE, ARN, "a run").take("only")


def test_items_expire_after_the_stream_has_trimmed_the_records(dynamodb: Any) -> None:
    clock = Clock()
    Checkpoints(dynamodb, TABLE, ARN, "a run", clock=clock).take("only")
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert int(item["expires_at"]["N"]) == int(clock.now) + 7 * 24 * 3600
