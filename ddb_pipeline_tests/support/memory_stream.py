"""A DynamoDB stream in memory, with shards that end, have children and are trimmed.

A fake, since no emulator splits or trims shards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddb_pipeline_tests.support.interleaved_s3 import refused

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/logs/stream/label"


def change(number: int, moment: float, *, key: str = "", name: str = "INSERT") -> dict[str, Any]:
    """The record of a change, with its number in the event id, as ``get_records`` returns it."""
    keys = {"id": {"S": key or f"item-{number}"}}
    return {
        "eventID": f"event-{number}",
        "eventName": name,
        "dynamodb": {
            "ApproximateCreationDateTime": int(moment),
            "Keys": keys,
            "SequenceNumber": str(10**22 + number),
            **({"OldImage": keys} if name == "REMOVE" else {"NewImage": keys}),
        },
    }


@dataclass
class MemoryShard:
    """A shard: its records by position, and how many of the first ones are trimmed."""

    records: list[Mapping[str, Any]] = field(default_factory=list)
    parent: str = ""
    closed: bool = False
    trimmed: int = 0


class MemoryStream:
    """The requests of DynamoDB Streams. ``records_read`` counts the records of all responses."""

    def __init__(self) -> None:
        self.shards: dict[str, MemoryShard] = {"shard-0": MemoryShard()}
        self.records_read = 0

    def put(self, *records: Mapping[str, Any], shard: str = "shard-0") -> None:
        """Add records to a shard."""
        self.shards[shard].records.extend(records)

    def describe_stream(self, *, StreamArn: str, **_: Any) -> Any:
        """All shards."""
        shards = [
            {
                "ShardId": name,
                "ParentShardId": shard.parent,
                "SequenceNumberRange": {"StartingSequenceNumber": "1"},
            }
            for name, shard in self.shards.items()
        ]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(
        self, *, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> Any:
        """The position of a record in the shard's records."""
        shard = self.shards[ShardId]
        position = shard.trimmed
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            number = int(SequenceNumber)
            numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in shard.records]
            position = sum(each <= number for each in numbers)
            # "You request a shard iterator with a sequence number older than the trim point"
            # (DynamoDB Streams API reference, TrimmedDataAccessException).
            if position <= shard.trimmed and shard.trimmed:
                raise refused("TrimmedDataAccessException", 400)
        return {"ShardIterator": f"{ShardId} {position}"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        """The next records."""
        name, _, position = ShardIterator.partition(" ")
        shard = self.shards[name]
        start = int(position)
        records = shard.records[start : start + Limit]
        self.records_read += len(records)
        end = start + len(records)
        response: dict[str, Any] = {"Records": records}
        if not (shard.closed and end == len(shard.records)):
            response["NextShardIterator"] = f"{name} {end}"
        return response
