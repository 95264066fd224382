"""An HTTP proxy on loopback between clients and the embedded AWS, which injects faults.

A client uses it through botocore's ``proxies``, or ``HTTP_PROXY``: the request, its signature
included, is then the same as without the proxy.
"""

import http.client
import http.server
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

RETRYABLE = (500, "InternalServerError")
THROTTLED = {
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "firehose": (503, "ServiceUnavailableException"),
    "s3": (503, "SlowDown"),
}
FAULTS = {
    "throttled": 4,
    "error before the effect": 4,
    "error after the effect": 4,
    "reset before the effect": 3,
    "reset after the effect": 3,
    "partial": 6,
    "hang": 0.2,
}
"""Kinds of faults, with their relative frequency."""
HANG_SECONDS = 12.0
"""Longer than the streaming function waits for a response."""
UPSTREAM_SECONDS = 60.0

Response = tuple[int, list[tuple[str, str]], bytes]


@dataclass
class FaultProxy:
    """The proxy's address and what it did.

    Attributes:
        url: for ``proxies``.
        share: the share of requests that have a fault.
        faults: how often each kind was injected.
        requests: how many requests came.
    """

    url: str
    credentials: Credentials
    share: float
    randomness: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self) -> str | None:
        """Return the fault of the next request; None for none."""
        with self.lock:
            self.requests += 1
            if self.randomness.random() >= self.share:
                return None
            fault = self.randomness.choices(list(FAULTS), list(FAULTS.values()))[0]
            self.faults[fault] += 1
            return fault


@contextmanager
def fault_proxy(
    access_key_id: str, secret_access_key: str, *, share: float, seed: int
) -> Iterator[FaultProxy]:
    """Run a proxy which signs anew what it changes."""
    server = _Server(("127.0.0.1", 0), _Handler)
    proxy = FaultProxy(
        f"http://127.0.0.1:{server.server_port}",
        Credentials(access_key_id, secret_access_key),
        share,
        random.Random(seed),
    )
    server.proxy = proxy
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield proxy
    server.shutdown()
    server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed, and end connections whenever they like."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = proxy.choose()
        if fault == "hang":
            time.sleep(HANG_SECONDS)
        if fault in ("hang", "reset before the effect"):
            self.close_connection = True
            return
        response = self._response(proxy, fault, body)
        if response is None or fault == "reset after the effect":
            self.close_connection = True
            return
        self._send(response)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def _response(self, proxy: FaultProxy, fault: str | None, body: bytes) -> Response | None:
        """Return the response to the client; None where there is none."""
        service = _service(dict(self.headers.items()))
        if fault == "throttled":
            return _error(*THROTTLED.get(service, RETRYABLE))
        if fault == "error before the effect":
            return _error(*RETRYABLE)
        split = _SPLITS.get(self.headers.get("X-Amz-Target", "").partition(".")[2])
        if fault == "partial" and split is not None:
            request, complete = split(json.loads(body), proxy.randomness)
            response = self._forward(json.dumps(request).encode(), proxy.credentials)
            if response is None or response[0] != 200:
                return response
            changed = json.dumps(complete(json.loads(response[2]))).encode()
            return 200, [("Content-Type", "application/x-amz-json-1.1")], changed
        response = self._forward(body, None)
        return _error(*RETRYABLE) if fault == "error after the effect" else response

    def _forward(self, body: bytes, credentials: Credentials | None) -> Response | None:
        """Send the request on; None where the embedded AWS does not answer it."""
        url = urlsplit(self.path)
        path = f"{url.path}?{url.query}" if url.query else url.path
        headers = {n: v for n, v in self.headers.items() if not n.lower().startswith("proxy-")}
        if credentials is not None:
            headers = _signed(self.path, body, headers, credentials)
        connection = http.client.HTTPConnection(url.netloc, timeout=UPSTREAM_SECONDS)
        try:
            connection.request(self.command, path, body, headers)
            upstream = connection.getresponse()
            return upstream.status, upstream.getheaders(), upstream.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _send(self, response: Response) -> None:
        status, headers, body = response
        self.send_response_only(status)
        left_out = ("content-length", "connection", "transfer-encoding", "x-amz-crc32")
        for name, value in headers:
            if name.lower() not in left_out:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _service(headers: Mapping[str, str]) -> str:
    """Return the service of a signed request."""
    scope = headers.get("Authorization", "").partition("Credential=")[2].partition(",")[0]
    return scope.split("/")[3] if scope.count("/") >= 3 else ""


def _error(status: int, code: str) -> Response:
    body = json.dumps({"__type": code, "message": "Injected by the proxy."}).encode()
    return status, [("x-amzn-errortype", code)], body


def _signed(
    url: str, body: bytes, headers: Mapping[str, str], credentials: Credentials
) -> dict[str, str]:
    kept = {n: v for n, v in headers.items() if n.lower() in ("content-type", "x-amz-target")}
    request = AWSRequest("POST", url, data=body, headers=kept)
    SigV4Auth(credentials, _service(headers), "us-east-1").add_auth(request)
    return dict(request.headers.items())


Split = Callable[[Any, random.Random], tuple[Any, Callable[[Any], Any]]]
"""Returns the part of a batch that is forwarded, and what completes its response."""


def _split_put_record_batch(request: Any, randomness: random.Random) -> tuple[Any, Any]:
    records = request["Records"]
    kept = [index for index in range(len(records)) if randomness.random() < 0.7] or [0]

    def complete(response: Any) -> Any:
        failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        responses = [dict(failed) for _ in records]
        for index, entry in zip(kept, response["RequestResponses"], strict=True):
            responses[index] = entry
        failures = len(records) - len(kept) + response["FailedPutCount"]
        return {**response, "FailedPutCount": failures, "RequestResponses": responses}

    return {**request, "Records": [records[index] for index in kept]}, complete


def _split_batch_write(request: Any, randomness: random.Random) -> tuple[Any, Any]:
    left: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for table, writes in request["RequestItems"].items():
        count = randomness.randint(1, len(writes))
        kept[table] = writes[:count]
        if writes[count:]:
            left[table] = writes[count:]

    def complete(response: Any) -> Any:
        return {**response, "UnprocessedItems": {**response.get("UnprocessedItems", {}), **left}}

    return {**request, "RequestItems": kept}, complete


_SPLITS: dict[str, Split] = {
    "PutRecordBatch": _split_put_record_batch,
    "BatchWriteItem": _split_batch_write,
}
