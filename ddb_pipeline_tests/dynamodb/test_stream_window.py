"""Which shards hold a window of a stream, and where reading starts in them."""

import pytest

from ddb_pipeline.dynamodb.stream_read import Shard
from ddb_pipeline.dynamodb.stream_window import StreamWindow, shard_starts


def shard(first: int, last: int | None) -> Shard:
    return Shard(f"{first}-{last}", "", first, last)


SHARDS = [shard(0, 9), shard(10, 19), shard(20, None)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, [("0-9", None), ("10-19", None), ("20-None", None)]),
        (5, None, [("0-9", 5), ("10-19", None), ("20-None", None)]),
        (12, 15, [("10-19", 12)]),
        (None, 12, [("0-9", None), ("10-19", None)]),
        (25, None, [("20-None", 25)]),
        (20, None, [("20-None", None)]),
    ],
)
def test_shards_of_a_window(
    first: int | None, last: int | None, expected: list[tuple[str, int | None]]
) -> None:
    assert shard_starts(SHARDS, StreamWindow(first=first, last=last)) == expected
