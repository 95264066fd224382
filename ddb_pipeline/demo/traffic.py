"""Writing log items to DynamoDB, as the application whose logs these are would."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ddb_pipeline.demo.search_logs import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_BATCH = 25
"""Items in one BatchWriteItem (DynamoDB API reference)."""
MAX_ATTEMPTS = 8


class UnwrittenItemsError(Exception):
    """DynamoDB kept refusing items of a batch; the message says how many and of which table."""


def batches(items: Iterable[Item], size: int = MAX_BATCH) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def write_items(
    dynamodb: "DynamoDBClient",
    table: str,
    items: Iterable[Item],
    *,
    on_progress: Callable[[int], None] = lambda written: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Put items in batches, what DynamoDB leaves unprocessed again; answers with the count.

    Raises:
        UnwrittenItemsError: items were still unprocessed after eight attempts.
    """
    written = 0
    for batch in batches(items):
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
        f"{len(pending.get(table, ()))} item(s) of {table!r} stayed unprocessed after "
        f"{MAX_ATTEMPTS} attempts: the table is throttled. Raise its capacity or write slower."
    )
