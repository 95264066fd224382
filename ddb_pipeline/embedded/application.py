"""The ASGI application of the embedded AWS: what the server adds to every service of ministack."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ddb_pipeline.embedded.access import refusal, without_cors
from ddb_pipeline.embedded.home import Credentials
from ddb_pipeline.embedded.process import STATUS_PATH, ServerState, write_state
from ddb_pipeline.embedded.request_log import RequestLog
from ddb_pipeline.embedded.services.ministack import (
    Application,
    Receive,
    Scope,
    Send,
    is_signed,
)

logger = logging.getLogger("ddb_pipeline.embedded")

RECORD_OPERATIONS = frozenset(
    f"{service}.{operation}".encode()
    for service, operations in {
        "DynamoDB_20120810": (
            "PutItem UpdateItem DeleteItem Query Scan BatchWriteItem TransactGetItems "
            "TransactWriteItems ExecuteStatement BatchExecuteStatement ExecuteTransaction"
        ),
        "Firehose_20150804": "PutRecord PutRecordBatch",
    }.items()
    for operation in operations.split()
)
"""Operations that change nothing but items, stream records and buffered records."""
READ_PREFIXES = (b"Get", b"List", b"Describe", b"BatchGet")
"""How the names of operations begin that change nothing."""


class ServerApplication:
    """Passes requests on to ministack if their sender knows the home folder's credentials.

    A response is sent when the changes of its request are in the journal. Requests for the server's
    own status are answered here. The status lets a client distinguish this server from another one
    that has got its port. The state file, where clients find the port, is written once ministack
    has started up.

    Attributes:
        has_changes: whether there were requests since the state was last saved.
    """

    def __init__(
        self,
        ministack: Application,
        home: Path,
        state: ServerState,
        credentials: Credentials,
        *,
        save: Callable[..., None],
        on_startup: Callable[[], None],
        request_log: RequestLog | None = None,
    ) -> None:
        """Create the application.

        Args:
            ministack: the application that answers the requests.
            home: the home folder.
            state: the server's process and port.
            credentials: the home folder's credentials.
            save: writes changes to the journal, all or (``everything=False``) those of records;
                raises OSError.
            on_startup: called once ministack has started up, before the first request.
            request_log: where requests are written; nowhere if None.
        """
        self._ministack = ministack
        self._home = home
        self._state = state
        self._credentials = credentials
        self._save = save
        self._on_startup = on_startup
        self._request_log = request_log
        self.has_changes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._ministack(scope, receive, self._announcing(send))
        elif scope["type"] == "http":
            await self._request(scope, receive, _without_cors(send))
        else:
            # No service that the project uses has WebSockets. Closing refuses the handshake.
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = refusal(scope["headers"], self._state.port)
        if reason is None and not _has_signature(scope):
            reason = "Requests are to be signed with the credentials of the home folder."
        if reason is not None:
            await _send_error(scope, send, 403, "AccessDenied", reason)
            return
        body = await _read_body(receive)
        if body is None:
            return
        if not is_signed(scope, body, self._credentials.secret_access_key):
            reason = "The request is signed with other credentials than those of the home folder."
            await _send_error(scope, send, 403, "SignatureDoesNotMatch", reason)
        elif scope["path"] == STATUS_PATH:
            status = json.dumps({"home": str(self._home), "pid": self._state.pid})
            await _send(send, 200, "application/json", status)
        else:
            self.has_changes = True
            if self._request_log is not None:
                self._request_log.note(scope, body)
            save_first = self._saving(scope, send)
            await self._ministack(scope, _receive_again(body, receive), save_first)

    def _saving(self, scope: Scope, send: Send) -> Send:
        """Return a function that sends a response after the changes of its request are saved."""
        everything = not _changes_records_only(scope)
        failed = False

        async def save_and_send(message: dict[str, Any]) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                try:
                    self._save(everything=everything)
                except OSError as error:
                    failed = True
                    logger.error("The state cannot be saved: %s", error)
                    reason = f"The embedded AWS cannot write to {self._home}: {error.strerror}."
                    await _send_error(scope, send, 500, "InternalServerError", reason)
            if not failed:
                await send(message)

        return save_and_send

    def _announcing(self, send: Send) -> Send:
        async def announce(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._on_startup()
                write_state(self._home, self._state)
            await send(message)

        return announce


def _changes_records_only(scope: Scope) -> bool:
    """Return whether a request changes only what is noted as it changes, or an object of S3.

    What is not noted is compared, which takes about 20 ms.
    """
    headers = dict(scope["headers"])
    target = headers.get(b"x-amz-target")
    if target is not None:
        operation = target.rpartition(b".")[2]
        return target in RECORD_OPERATIONS or operation.startswith(READ_PREFIXES)
    if scope["method"] in ("GET", "HEAD"):
        return True
    is_s3 = b"/s3/aws4_request" in headers.get(b"authorization", b"")
    return is_s3 and "/" in scope["path"].strip("/") and not scope["query_string"]


def _has_signature(scope: Scope) -> bool:
    """Return whether a request has a signature at all; only then its body is read."""
    in_header = any(name.lower() == b"authorization" for name, _ in scope["headers"])
    return in_header or b"X-Amz-Signature=" in scope["query_string"]


async def _read_body(receive: Receive) -> bytes | None:
    """Return the request's body; None if the client has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _receive_again(body: bytes, receive: Receive) -> Receive:
    """Return a function that receives a body which was read already, then what follows it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_next


def _without_cors(send: Send) -> Send:
    async def send_without_cors(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": without_cors(message.get("headers", []))}
        await send(message)

    return send_without_cors


async def _send_error(scope: Scope, send: Send, status: int, code: str, reason: str) -> None:
    """Send an error in the protocol of the request: JSON, or XML, which a browser shows as text."""
    if b"json" in dict(scope["headers"]).get(b"content-type", b""):
        body = json.dumps({"__type": code, "message": reason})
    else:
        error = f"<Error><Code>{code}</Code><Message>{escape(reason)}</Message></Error>"
        body = f"<ErrorResponse>{error}</ErrorResponse>"
    await _send(send, status, "text/plain", body, (b"x-amzn-errortype", code.encode()))


async def _send(
    send: Send, status: int, content_type: str, body: str, *headers: tuple[bytes, bytes]
) -> None:
    all_headers = [(b"content-type", content_type.encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body.encode()})
