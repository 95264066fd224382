"""Writes log items to DynamoDB, as the application that logs searches would."""

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_BATCH = 25
"""Most items in one BatchWriteItem request (DynamoDB API reference)."""
MAX_ATTEMPTS = 8


class UnwrittenItemsError(DdbPipelineError):
    """DynamoDB did not write all items of a batch; the message names their number and the table."""


def write_items(
    dynamodb: "DynamoDBClient",
    table: str,
    items: Iterable[Item],
    *,
    on_progress: Callable[[int], None] = lambda written: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write items in batches; items that DynamoDB leaves unprocessed are written again.

    Args:
        dynamodb: a DynamoDB client.
        table: the table's name.
        items: the items to put.
        on_progress: called after each batch with the number of items written so far.
        sleep: waits the given seconds before another attempt.

    Returns:
        the number of items written.

    Raises:
        UnwrittenItemsError: items were still unprocessed after ``MAX_ATTEMPTS`` attempts.
    """
    written = 0
    iterator = iter(items)
    while batch := list(islice(iterator, MAX_BATCH)):
        _write_batch(dynamodb, table, batch, sleep)
        written += len(batch)
        on_progress(written)
    return written


def _write_batch(
    dynamodb: "DynamoDBClient", table: str, batch: list[Item], sleep: Callable[[float], None]
) -> None:
    pending: Any = {table: [{"PutRequest": {"Item": item}} for item in batch]}
    for attempt in range(MAX_ATTEMPTS):
        pending = dynamodb.batch_write_item(RequestItems=pending)["UnprocessedItems"]
        if not pending:
            return
        sleep(0.05 * 2**attempt)
    raise UnwrittenItemsError(
        f"{len(pending.get(table, ()))} item(s) of {table!r} were unprocessed after "
        f"{MAX_ATTEMPTS} attempts: the table is throttled. Raise its capacity or write more slowly."
    )
