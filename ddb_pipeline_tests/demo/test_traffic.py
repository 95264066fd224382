"""Writing items: batches of 25, further attempts for unprocessed items, an error after the last."""

from typing import Any

import pytest

from ddb_pipeline.demo.traffic import MAX_ATTEMPTS, UnwrittenItemsError, write_items
from ddb_pipeline.dynamodb.values import Item


class ThrottledTable:
    """Stands in for DynamoDB: the first ``refusals`` requests leave their last item unprocessed.

    The embedded DynamoDB never throttles.
    """

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.requests: list[int] = []
        self.written: list[Item] = []

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        (puts,) = RequestItems.values()
        self.requests.append(len(puts))
        refused = puts[-1:] if len(self.requests) <= self.refusals else []
        self.written += [put["PutRequest"]["Item"] for put in puts[: len(puts) - len(refused)]]
        return {"UnprocessedItems": {"logs": refused} if refused else {}}


def items(count: int) -> list[Item]:
    return [{"log_id": {"S": str(number)}} for number in range(count)]


def write(table: ThrottledTable, count: int) -> tuple[int, list[int], list[float]]:
    progress: list[int] = []
    waits: list[float] = []
    client: Any = table
    written = write_items(
        client, "logs", items(count), on_progress=progress.append, sleep=waits.append
    )
    return written, progress, waits


def test_items_are_written_in_batches_of_25() -> None:
    table = ThrottledTable(refusals=0)
    assert write(table, 60) == (60, [25, 50, 60], [])
    assert table.requests == [25, 25, 10]
    assert table.written == items(60)


def test_unprocessed_items_are_written_again_after_growing_waits() -> None:
    table = ThrottledTable(refusals=3)
    assert write(table, 5) == (5, [5], [0.05, 0.1, 0.2])
    assert table.requests == [5, 1, 1, 1]
    assert table.written == items(5)


def test_items_that_stay_unprocessed_are_an_error() -> None:
    table = ThrottledTable(refusals=MAX_ATTEMPTS)
    with pytest.raises(UnwrittenItemsError, match=r"1 item\(s\) of 'logs' were unprocessed"):
        write(table, 5)
    assert len(table.requests) == MAX_ATTEMPTS
