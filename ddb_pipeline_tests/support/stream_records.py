"""The records of a stream, for tests that compare what was delivered with what was written."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.stream_read import describe_shards, read_shard

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient


def read_stream(streams: "DynamoDBStreamsClient", stream_arn: str) -> Iterator[Mapping[str, Any]]:
    """All records that the stream stores now, each item's changes in order."""
    for shard in describe_shards(streams, stream_arn):
        yield from read_shard(streams, stream_arn, shard.shard_id)
