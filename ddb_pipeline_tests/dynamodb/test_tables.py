"""Descriptions of tables with and without a stream."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ddb_pipeline.dynamodb.tables import StreamMissingError, describe_table, has_items


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "dynamodb", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
        )


def create(dynamodb: Any, **stream: Any) -> None:
    names = ("user", "when")
    dynamodb.create_table(
        TableName="events",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[
            {"AttributeName": "user", "KeyType": "HASH"},
            {"AttributeName": "when", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
        **stream,
    )


def test_a_table_with_a_stream(dynamodb: Any) -> None:
    view = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    create(dynamodb, StreamSpecification=view)
    table = describe_table(dynamodb, "events")
    assert table.arn.endswith(":table/events")
    assert table.stream_arn.startswith(f"{table.arn}/stream/")
    assert (table.stream_enabled, table.stream_view) == (True, "KEYS_ONLY")
    assert table.key_attributes == ("user", "when")
    assert (table.items, table.status) == (0, "ACTIVE")


def test_a_table_without_a_stream(dynamodb: Any) -> None:
    create(dynamodb)
    table = describe_table(dynamodb, "events")
    assert (table.stream_enabled, table.stream_view) == (False, "")
    with pytest.raises(StreamMissingError, match="'events' has no stream"):
        _ = table.stream_arn


def test_whether_a_table_has_items(dynamodb: Any) -> None:
    create(dynamodb)
    assert not has_items(dynamodb, "events")
    dynamodb.put_item(TableName="events", Item={"user": {"S": "a"}, "when": {"S": "now"}})
    assert has_items(dynamodb, "events")
