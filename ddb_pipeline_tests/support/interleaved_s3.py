"""An S3 bucket in memory whose requests are interleaved in an order that a seed determines.

A fake, since no emulator lets a test choose which of two clients is served next, or stop a client
between two of its requests.
"""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

PAGE = 1000
MODIFIED = datetime(2026, 5, 28, 12, tzinfo=timezone.utc)


class StoppedError(BaseException):
    """Ends a client's thread as kill -9 ends a process: no ``except Exception`` sees it."""


class Turns:
    """Lets one of several threads run at a time; a seed determines which one, at each request."""

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._condition = threading.Condition()
        self._running = set(names)
        self._waiting: set[str] = set()
        self._turn = ""
        self.log: list[str] = []

    def take(self, name: str, request: str) -> None:
        """Wait until it is this client's turn to send a request."""
        with self._condition:
            self._waiting.add(name)
            self._choose()
            self._condition.wait_for(lambda: self._turn == name)
            self._turn = ""
            self._waiting.discard(name)
            self.log.append(f"{name}: {request}")

    def end(self, name: str) -> None:
        """The client sends no more requests."""
        with self._condition:
            self._running.discard(name)
            self._waiting.discard(name)
            self._choose()

    def _choose(self) -> None:
        # Only when all are at a request, so that the order depends on the seed alone.
        if self._running and self._waiting >= self._running and not self._turn:
            self._turn = self._random.choice(sorted(self._waiting))
            self._condition.notify_all()


class MemoryBucket:
    """The objects of one bucket. Those under ``stream/`` are files of ``folder`` as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bodies: dict[str, bytes] = {}
        self.modified: dict[str, datetime] = {}

    def put(self, key: str, body: bytes, modified: datetime = MODIFIED) -> None:
        """Write an object, and its file."""
        self.bodies[key] = body
        self.modified[key] = modified
        if key.startswith("stream/"):
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def listed(self, prefix: str, delimiter: str) -> list[str]:
        """The keys under a prefix, or the folders in which they lie, in order."""
        rests = {key: key.removeprefix(prefix) for key in self.bodies if key.startswith(prefix)}
        if not delimiter:
            return sorted(rests)
        return sorted({prefix + "".join(rest.partition("/")[:2]) for rest in rests.values()})

    def etag(self, key: str) -> str:
        """The quoted MD5 of an object, as S3 has it without KMS."""
        return f'"{hashlib.md5(self.bodies[key], usedforsecurity=False).hexdigest()}"'


class InterleavedS3:
    """The requests of one client to a bucket, as boto3's S3 client has them.

    Args:
        before: called with the request's name before each request is carried out.
        after: called when it has been carried out, before the client has the response.
    """

    def __init__(
        self,
        bucket: MemoryBucket,
        before: Callable[[str], None] = lambda request: None,
        after: Callable[[str], None] = lambda request: None,
    ) -> None:
        self._bucket = bucket
        self._before = before
        self._after = after

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **conditions: str) -> Any:
        """Write an object."""
        return self._request(f"put {Key}", lambda: self._put(Key, Body, conditions))

    def get_object(self, *, Bucket: str, Key: str) -> Any:
        """Read an object."""
        return self._request(f"get {Key}", lambda: self._get(Key))

    def delete_object(self, *, Bucket: str, Key: str, **conditions: str) -> Any:
        """Delete an object."""
        return self._request(f"delete {Key}", lambda: self._delete(Key, conditions))

    def get_paginator(self, name: str) -> Any:
        """The paginator of ``list_objects_v2``."""
        assert name == "list_objects_v2"
        return self

    def paginate(
        self, *, Bucket: str, Prefix: str, Delimiter: str = "", **_: Any
    ) -> Iterator[Mapping[str, Any]]:
        """The objects under a prefix in pages of 1000 entries, as ``list_objects_v2`` has them."""
        entries = self._bucket.listed(Prefix, Delimiter)
        for start in range(0, max(len(entries), 1), PAGE):
            page = entries[start : start + PAGE]
            yield self._request(f"list {Prefix}", partial(self._page, page))

    def _request(self, request: str, carry_out: Callable[[], Any]) -> Any:
        self._before(request)
        response = carry_out()
        self._after(request)
        return response

    def _put(self, key: str, body: bytes, conditions: Mapping[str, str]) -> Any:
        self._check(key, conditions)
        self._bucket.put(key, body)
        return {"ETag": self._bucket.etag(key)}

    def _get(self, key: str) -> Any:
        if key not in self._bucket.bodies:
            raise refused("NoSuchKey", 404)
        body = BytesIO(self._bucket.bodies[key])
        return {"Body": body, "ETag": self._bucket.etag(key), "LastModified": MODIFIED}

    def _delete(self, key: str, conditions: Mapping[str, str]) -> Any:
        self._check(key, conditions)
        self._bucket.bodies.pop(key, None)
        return {}

    def _check(self, key: str, conditions: Mapping[str, str]) -> None:
        exists = key in self._bucket.bodies
        if conditions.get("IfNoneMatch") == "*" and exists:
            raise refused("PreconditionFailed", 412)
        expected = conditions.get("IfMatch")
        if expected is not None and not exists:
            raise refused("NoSuchKey", 404)
        if expected is not None and expected != self._bucket.etag(key):
            raise refused("PreconditionFailed", 412)

    def _page(self, entries: Sequence[str]) -> Mapping[str, Any]:
        return {
            "Contents": [self._entry(key) for key in entries if key in self._bucket.bodies],
            "CommonPrefixes": [{"Prefix": entry} for entry in entries if entry.endswith("/")],
        }

    def _entry(self, key: str) -> Mapping[str, Any]:
        return {
            "Key": key,
            "Size": len(self._bucket.bodies[key]),
            "ETag": self._bucket.etag(key),
            "LastModified": self._bucket.modified.get(key, MODIFIED),
        }


def refused(code: str, status: int) -> ClientError:
    """The error of a request that S3 refuses."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "S3")
