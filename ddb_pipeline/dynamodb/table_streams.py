"""Turning on a table's stream with the images that a pipeline needs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.dynamodb.tables import TableDescription, describe_table
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NEW_AND_OLD_IMAGES: Final = "NEW_AND_OLD_IMAGES"
WAIT_SECONDS = 600.0
ACTIVE = "ACTIVE"


class TableStreamError(DdbPipelineError):
    """A table has not the stream that a pipeline needs; the message says what to do."""


class StreamChange(Enum):
    """What is to be done so that a table's stream has new and old images."""

    NONE = "none"
    TURN_ON = "turn on"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A table, and what is to be done with its stream."""

    table: TableDescription
    change: StreamChange

    @property
    def text(self) -> str:
        """What the change is, and what it means for others."""
        name, view = self.table.name, self.table.stream_view
        if self.change is StreamChange.NONE:
            return f"{name}: the stream {self.table.latest_stream_arn} is as it is to be."
        effect = (
            "Items, indexes, capacity and backups of the table do not change; writes cost the "
            "same. The stream keeps each change for 24 hours."
        )
        if self.change is StreamChange.TURN_ON:
            return f"{name}: turns on the stream, with new and old images. {effect}"
        return (
            f"{name}: its stream has {view}, which cannot be changed. Turns it off and on again "
            f"with new and old images. The stream gets another ARN: whoever reads "
            f"{self.table.latest_stream_arn} gets no later changes. {effect}"
        )


def stream_plan(table: TableDescription) -> StreamPlan:
    """What is to be done with a table's stream."""
    if not table.stream_enabled:
        return StreamPlan(table, StreamChange.TURN_ON)
    is_right = table.stream_view == NEW_AND_OLD_IMAGES
    return StreamPlan(table, StreamChange.NONE if is_right else StreamChange.REPLACE)


def found_stream(dynamodb: "DynamoDBClient", name: str) -> str:
    """The ARN of a table's stream, which has new and old images.

    Raises:
        TableStreamError: there is no table of that name, or its stream is off or has other images.
    """
    try:
        table = describe_table(dynamodb, name)
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        raise TableStreamError(
            f"DynamoDB table {name!r} does not exist, although existing_table is true. Correct its "
            "name, or remove existing_table, and the stack creates it."
        ) from error
    if stream_plan(table).change is not StreamChange.NONE:
        state = f"has {table.stream_view}" if table.stream_enabled else "is off"
        raise TableStreamError(
            f"The stream of DynamoDB table {name!r} {state}; a pipeline needs new and old images. "
            f"Run: ddb-pipeline enable-stream {name}"
        )
    return table.latest_stream_arn


def apply_stream_plan(
    dynamodb: "DynamoDBClient",
    plan: StreamPlan,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Change a table's stream as planned, and wait for it; returns the stream's ARN.

    Raises:
        TableStreamError: DynamoDB refuses, or does not end in time.
    """
    name = plan.table.name
    try:
        if plan.change is StreamChange.REPLACE:
            dynamodb.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
            _wait(dynamodb, name, lambda table: not table.stream_enabled, clock, sleep)
        if plan.change is not StreamChange.NONE:
            dynamodb.update_table(
                TableName=name,
                StreamSpecification={"StreamEnabled": True, "StreamViewType": NEW_AND_OLD_IMAGES},
            )
        return _wait(dynamodb, name, lambda table: table.stream_enabled, clock, sleep)
    except ClientError as error:
        raise TableStreamError(
            f"The stream of DynamoDB table {name!r} cannot be changed: {error}. This requires "
            "dynamodb:UpdateTable and dynamodb:DescribeTable."
        ) from error


def _wait(
    dynamodb: "DynamoDBClient",
    name: str,
    is_done: Callable[[TableDescription], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> str:
    deadline = clock() + WAIT_SECONDS
    while True:
        table = describe_table(dynamodb, name)
        if table.status == ACTIVE and is_done(table):
            return table.latest_stream_arn
        if clock() > deadline:
            raise TableStreamError(
                f"DynamoDB table {name!r} is {table.status} after {WAIT_SECONDS:.0f} s. Run again."
            )
        sleep(1.0)
