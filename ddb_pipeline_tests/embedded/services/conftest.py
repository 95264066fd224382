"""A DynamoDB table that the tests of DynamoDB and of Lambda use."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class StreamedTable:
    """A table with a stream, and a bucket of the same name.

    Attributes:
        name: the name of both.
        client: returns a boto3 client of a service.
    """

    name: str
    client: Callable[[str], Any]

    def put(self, count: int) -> None:
        """Put items whose ``id`` is 0, 1, 2 and so on."""
        for number in range(count):
            self.client("dynamodb").put_item(TableName=self.name, Item={"id": {"S": str(number)}})

    def describe(self) -> dict[str, Any]:
        """Return the table's description."""
        described: dict[str, Any] = self.client("dynamodb").describe_table(TableName=self.name)
        table: dict[str, Any] = described["Table"]
        return table

    def stream_records(self) -> list[dict[str, Any]]:
        """Return all records of the table's stream."""
        streams, stream = self.client("dynamodbstreams"), self.describe()["LatestStreamArn"]
        shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]
        iterator = streams.get_shard_iterator(
            StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[dict[str, Any]] = streams.get_records(ShardIterator=iterator)["Records"]
        return records


def create_table(
    client: Callable[[str], Any], name: str, *, key: str = "id", view: str = "NEW_AND_OLD_IMAGES"
) -> StreamedTable:
    """Create a table with a stream of this view type."""
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
    )
    return StreamedTable(name, client)


@pytest.fixture
def table(aws_client: Callable[[str], Any]) -> StreamedTable:
    name = f"t{uuid.uuid4().hex[:12]}"
    aws_client("s3").create_bucket(Bucket=name)
    return create_table(aws_client, name)
