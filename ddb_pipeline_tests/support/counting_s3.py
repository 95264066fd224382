"""S3 and SQS in memory for simulations of years: they count requests and cost next to nothing.

Fakes, because no emulator lists half a million objects at the pace of a simulation. They have only
the operations that sensors use, with the semantics of the S3 API reference for ``ListObjectsV2``:
keys in order, at most 1,000 keys and common prefixes in a response, ``StartAfter`` exclusive.
"""

import hashlib
import json
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

PAGE = 1000
MODIFIED = datetime(2026, 1, 1, tzinfo=timezone.utc)


class CountingS3:
    """One bucket.

    Attributes:
        requests: the number of requests by operation.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._etags: dict[str, str] = {}
        self._folders: dict[str, list[str]] = {}

    def put(self, key: str, body: str = "x") -> None:
        """Write an object; not counted."""
        if key not in self._etags:
            insort(self._folders.setdefault(key.partition("/")[0], []), key)
        self._etags[key] = hashlib.sha256(f"{key}{body}".encode()).hexdigest()[:32]

    def get_paginator(self, operation: str) -> "CountingS3":
        """The pages of ``list_objects_v2``, the only operation that is paginated here."""
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Every page of a listing, each of which counts as a request."""
        page_size = request.pop("PaginationConfig", {}).get("PageSize", PAGE)
        while True:
            page = self.list_objects_v2(**request, MaxKeys=page_size)
            yield page
            if not page["IsTruncated"]:
                return
            request["StartAfter"] = page["NextContinuationToken"]

    def list_objects_v2(
        self,
        *,
        Bucket: str,
        Prefix: str = "",
        StartAfter: str = "",
        Delimiter: str = "",
        MaxKeys: int = PAGE,
    ) -> dict[str, Any]:
        """One page of a listing."""
        self.requests["ListObjectsV2"] += 1
        keys = self._folders.get(Prefix.partition("/")[0], [])
        position = max(bisect_left(keys, Prefix), bisect_right(keys, StartAfter))
        contents: list[dict[str, Any]] = []
        prefixes: list[dict[str, str]] = []
        last = ""
        while position < len(keys) and keys[position].startswith(Prefix):
            if len(contents) + len(prefixes) == MaxKeys:
                break
            last = keys[position]
            rest = last[len(Prefix) :]
            if Delimiter and Delimiter in rest:
                folder = Prefix + rest.partition(Delimiter)[0] + Delimiter
                prefixes.append({"Prefix": folder})
                last = folder + "\U0010ffff"
                position = bisect_right(keys, last)
                continue
            contents.append(
                {"Key": last, "Size": 1, "ETag": self._etags[last], "LastModified": MODIFIED}
            )
            position += 1
        truncated = position < len(keys) and keys[position].startswith(Prefix)
        return {
            "Contents": contents,
            "CommonPrefixes": prefixes,
            "IsTruncated": truncated,
            "NextContinuationToken": last,
        }


class CountingSQS:
    """Queues, whose messages are gone once they are received.

    Attributes:
        requests: the number of requests by operation.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self._messages: dict[str, deque[str]] = {}

    def send_object_event(self, queue: str, key: str) -> None:
        """Put an event about an object into a queue; not counted."""
        body = json.dumps({"detail": {"object": {"key": key}}})
        self._messages.setdefault(queue, deque()).append(body)

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:
        """The queue's name, as each queue exists."""
        self.requests["GetQueueUrl"] += 1
        return {"QueueUrl": QueueName}

    def receive_message(
        self, *, QueueUrl: str, MaxNumberOfMessages: int, **_: Any
    ) -> dict[str, Any]:
        """Up to ten messages, which are removed."""
        self.requests["ReceiveMessage"] += 1
        queue = self._messages.setdefault(QueueUrl, deque())
        count = min(MaxNumberOfMessages, len(queue))
        return {
            "Messages": [
                {"MessageId": str(n), "Body": queue.popleft(), "ReceiptHandle": str(n)}
                for n in range(count)
            ]
        }

    def delete_message_batch(self, **_: Any) -> None:
        """Count the request."""
        self.requests["DeleteMessageBatch"] += 1
