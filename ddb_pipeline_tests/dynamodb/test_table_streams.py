"""What is done with a table's stream, and what it says of it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from ddb_pipeline.dynamodb.table_streams import (
    StreamChange,
    TableStreamError,
    apply_stream_plan,
    found_stream,
    stream_plan,
)
from ddb_pipeline.dynamodb.tables import describe_table

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def dynamodb(aws_client: Callable[[str], Any]) -> Any:
    return aws_client("dynamodb")


def create(dynamodb: Any, view: str) -> str:
    """Create a table with this stream; returns its name."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    stream = {"StreamEnabled": True, "StreamViewType": view} if view else {"StreamEnabled": False}
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification=stream,
    )
    return name


@pytest.mark.parametrize(
    ("view", "change", "said"),
    [
        ("", StreamChange.TURN_ON, "turns on the stream"),
        ("NEW_AND_OLD_IMAGES", StreamChange.NONE, "is as it is to be"),
        ("KEYS_ONLY", StreamChange.REPLACE, "gets no later changes"),
        ("NEW_IMAGE", StreamChange.REPLACE, "has NEW_IMAGE, which cannot be changed"),
    ],
)
def test_a_stream_gets_new_and_old_images(
    dynamodb: Any, view: str, change: StreamChange, said: str
) -> None:
    name = create(dynamodb, view)
    plan = stream_plan(describe_table(dynamodb, name))
    assert plan.change is change
    assert said in plan.text
    if change is not StreamChange.NONE:
        with pytest.raises(TableStreamError, match=f"enable-stream {name}"):
            found_stream(dynamodb, name)
    arn = apply_stream_plan(dynamodb, plan)
    assert found_stream(dynamodb, name) == arn
    assert stream_plan(describe_table(dynamodb, name)).change is StreamChange.NONE


def test_a_table_that_does_not_exist_is_named(dynamodb: Any) -> None:
    with pytest.raises(TableStreamError, match="'nowhere' does not exist"):
        found_stream(dynamodb, "nowhere")
