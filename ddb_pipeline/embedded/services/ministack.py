"""The adapter to ministack, the emulator underneath, whose private names it uses.

ministack has no extension points. Its services are modules whose operations are private functions,
looked up by name for each request, and whose data lies in private stores; CloudFormation calls the
same functions. Replacing them is the only way to complete a service. Hence the exact version, and
the contract tests of each service through boto3.

ministack reads its environment when it is imported, so it is imported here inside functions only.
Beside this module only ``services.ministack_dynamodb`` and ``services.saved_state`` use private
names.
"""

import contextvars
import importlib
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

MINISTACK_VERSION = "1.5.33"
"""The version whose private names this module uses. When it changes, run the contract tests."""

Document = dict[str, Any]
Operation = Callable[[Document], Document]
"""An operation of an API, from the request's members to the response's; raises ServiceError."""

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[Document], Response]
"""An operation as ministack calls it; the response is status, headers and body."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


class ServiceError(Exception):
    """A request that the service refuses, with the error code and message for the client."""

    def __init__(self, code: str, message: str, response: Response | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        from ministack.core.responses import error_response_json

        self.response: Response = response or error_response_json(code, message, 400)


def load_application() -> Application:
    """Import ministack and return its ASGI application."""
    import ministack.app

    application: Application = ministack.app.app
    return application


def saved_default(value: Any) -> Any:
    """Encode what ministack's state has beside JSON, as the argument of ``json.dumps``."""
    from ministack.core import persistence

    return persistence._json_default(value)


def saved_object_hook(value: dict[str, Any]) -> Any:
    """Decode what ``saved_default`` encoded, as the argument of ``json.loads``."""
    from ministack.core import persistence

    return persistence._json_object_hook(value)


def is_signed(scope: Scope, body: bytes, secret_access_key: str) -> bool:
    """Return whether a request has a signature (SigV4) made with this secret.

    The access key identifier is not checked, since by its value ministack chooses an account.
    """
    from ministack.core import sigv4

    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), sigv4.decode_header_value(value)
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    presigned = "authorization" not in headers
    signature = (
        sigv4.parse_query_signature(query) if presigned else sigv4.parse_header_signature(headers)
    )
    if not isinstance(signature, sigv4.HeaderSignature):
        return False
    sent: str = scope["raw_path"].decode("latin-1").partition("?")[0]
    # S3 encodes the path itself; clients differ in what they leave unencoded.
    for path in dict.fromkeys((sent, sigv4.uri_encode(unquote(sent), encode_slash=False))):
        if not sigv4.header_signature_failure(
            signature,
            secret_access_key,
            scope["method"],
            path,
            query,
            headers,
            body,
            presigned=presigned,
        ):
            return True
    return False


@contextmanager
def request_scope(account: str, region: str) -> Iterator[None]:
    """Access ministack's stores as a request of that account and region does."""
    from ministack.core import responses

    account_token = responses._request_account_id.set(account)
    region_token = responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(account_token)
        responses._request_region.reset(region_token)


def current_region() -> str:
    """Return the region of the current request."""
    from ministack.core import responses

    region: str = responses.get_region()
    return region


def run_in_background(work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work`` in a thread, with the account and region of the current request."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work, *arguments), daemon=True).start()


def put_aws_event(source: str, detail_type: str, resource: str, detail: Mapping[str, Any]) -> None:
    """Publish an event of an AWS service on the default event bus."""
    from ministack.services import eventbridge

    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": [resource],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


class ServiceModule:
    """The module of ministack that implements a service."""

    def __init__(self, name: str) -> None:
        self._module: Any = importlib.import_module(f"ministack.services.{name}")

    def replace_operations(self, operations: Mapping[str, Operation]) -> dict[str, Operation]:
        """Answer these operations' requests by ``operations``, and return what they replace.

        What is returned has no entry for an operation that ministack lacks.
        """
        replaced: dict[str, Operation] = {}
        for name, operation in operations.items():
            function = "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            if hasattr(self._module, function):
                replaced[name] = _operation(getattr(self._module, function))
                setattr(self._module, function, _handler(operation))
        # Some modules have a table of their functions, others look them up by name.
        for name in operations.keys() & getattr(self._module, "_HANDLERS", {}).keys():
            self._module._HANDLERS[name] = _handler(operations[name])
        return replaced


def _handler(operation: Operation) -> Handler:
    from ministack.core.responses import json_response

    def handle(request: Document) -> Response:
        try:
            response: Response = json_response(operation(request))
        except ServiceError as error:
            return error.response
        return response

    return handle


def _operation(handler: Handler) -> Operation:
    def call(request: Document) -> Document:
        response = handler(request)
        document: Document = json.loads(response[2] or b"{}")
        if response[0] >= 400:
            raise ServiceError(document.get("__type", ""), document.get("message", ""), response)
        return document

    return call


class GlueModule(ServiceModule):
    """ministack's Glue. Tables, partitions and versions have ``database/table`` as their key."""

    def __init__(self) -> None:
        from ministack.core.responses import AccountRegionScopedDict

        super().__init__("glue")
        self.databases = self._module._databases
        self.tables = self._module._tables
        self.partitions = self._module._partitions
        self.crawlers = self._module._crawlers
        self.table_versions: Any = AccountRegionScopedDict()
        # Every store in _ALL_STATE is saved and restored.
        self._module._ALL_STATE["table_versions"] = self.table_versions

    def replace_operations(self, operations: Mapping[str, Operation]) -> dict[str, Operation]:
        """Answer these operations' requests, including those of operations that ministack lacks."""
        replaced = super().replace_operations(operations)
        added = {name: _handler(operations[name]) for name in operations.keys() - replaced.keys()}
        dispatch = self._module._handle_request_sync

        def handle(method: Any, path: str, headers: Any, body: bytes, query: Any) -> Response:
            name = headers.get("x-amz-target", "").partition(".")[2]
            if name in added:
                return added[name](json.loads(body or b"{}"))
            response: Response = dispatch(method, path, headers, body, query)
            return response

        self._module._handle_request_sync = handle
        return replaced

    def put_event(self, detail_type: str, resource: str, detail: Mapping[str, Any]) -> None:
        """Publish an event of Glue's about a resource such as ``table/database/name``."""
        put_aws_event("aws.glue", detail_type, self._module._arn(*resource.split("/", 1)), detail)


class FirehoseModule(ServiceModule):
    """ministack's Firehose. Changes of a delivery stream's state are made under ``lock``."""

    BUFFER = "buffered"
    """The member of a delivery stream's state that has the records to deliver."""

    def __init__(self) -> None:
        super().__init__("firehose")
        self.streams = self._module._streams
        self.lock: threading.Lock = self._module._lock

    def scoped_streams(self) -> list[tuple[str, str, Document]]:
        """Return all delivery streams, each after its account and region."""
        return [
            (account, region, stream)
            for (account, region, _), stream in list(self.streams._data.items())
        ]


class LambdaModule(ServiceModule):
    """ministack's Lambda: functions, and event source mappings of DynamoDB streams."""

    def __init__(self) -> None:
        super().__init__("lambda_svc")

    def replace_stream_poll(self, poll: Callable[[], bool]) -> None:
        """Poll DynamoDB streams by ``poll``, which returns whether any mapping advanced."""
        self._module._poll_dynamodb_streams = poll

    def scoped_mappings(self) -> list[tuple[str, str, Document]]:
        """Return all event source mappings, each after its account and region."""
        return list(self._module._iter_all_esms())

    def function(self, mapping: Mapping[str, Any]) -> Document | None:
        """Return the function that the mapping invokes; None where it does not exist."""
        function: Document | None
        function, _ = self._module._get_func_record_for_qualifier(
            mapping["FunctionName"], mapping.get("Qualifier")
        )
        return function

    def matching(self, records: list[Document], mapping: Mapping[str, Any]) -> list[Document]:
        """Return the records that pass the mapping's filter."""
        matching: list[Document] = self._module._apply_filter_criteria(records, mapping)
        return matching

    def invoke(self, function: Document, records: list[Document]) -> Document:
        """Invoke the function and return ``body``, and ``error`` where it raised an exception."""
        result: Document = self._module._execute_function(function, {"Records": records})
        return result

    def position(self, mapping_id: str, initial: int) -> int:
        """Return the position at which the mapping reads on, ``initial`` for a new mapping."""
        with self._module._dynamodb_stream_positions_lock:
            position: int = self._module._dynamodb_stream_positions.setdefault(mapping_id, initial)
            return position

    def set_position(self, mapping_id: str, position: int) -> None:
        """Let the mapping read on at ``position``."""
        with self._module._dynamodb_stream_positions_lock:
            self._module._dynamodb_stream_positions[mapping_id] = position

    def send_to_failure_destination(
        self,
        mapping: Mapping[str, Any],
        function: Document,
        records: list[Document],
        result: Mapping[str, Any],
        condition: str,
    ) -> None:
        """Describe discarded records to the mapping's on-failure destination, if it has one."""
        self._module._send_ddb_stream_failure_record(
            mapping, function, records, mapping["EventSourceArn"], result, condition
        )
