"""Scans of tables: throttled requests are repeated, denied ones are not."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.dynamodb import scan


class Throttled:
    """A client that refuses a number of scans first. No emulator throttles."""

    def __init__(self, times: int, code: str = "ProvisionedThroughputExceededException") -> None:
        self.left = times
        self.code = code

    def scan(self, **request: Any) -> Any:
        if self.left:
            self.left -= 1
            raise ClientError({"Error": {"Code": self.code}}, "Scan")
        return {"Items": [{"id": {"S": "a"}}]}


def test_a_throttled_scan_is_repeated_after_a_pause() -> None:
    pauses: list[float] = []
    page = scan._page(Throttled(6), {}, pauses.append, lambda: 1.0)  # type: ignore[arg-type]
    assert page["Items"] == [{"id": {"S": "a"}}]
    assert pauses == [0.5, 1, 2, 4, 8, 16]


def test_a_denied_scan_is_not_repeated() -> None:
    client = Throttled(2, "AccessDeniedException")
    with pytest.raises(ClientError):
        scan._page(client, {}, lambda s: None)  # type: ignore[arg-type]
    assert client.left == 1
