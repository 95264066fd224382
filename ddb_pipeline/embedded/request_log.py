"""A log of the requests to the embedded AWS, which shows the permissions that each client needs.

The server writes it where ``DDB_PIPELINE_EMBEDDED_REQUESTS`` names a file when it starts. A line is
a JSON object. Callers differ by their access key ids, of which the embedded AWS takes any with the
secret of its home folder.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from ddb_pipeline.embedded.home import open_private

REQUESTS_VARIABLE: Final = "DDB_PIPELINE_EMBEDDED_REQUESTS"
CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/\d+/[^/]+/([^/]+)/aws4_request")
"""The caller's access key id, and the service, in the header of a signature (SigV4)."""
LONGEST_BODY: Final = 1 << 20


class RequestLog:
    """Writes one line for each request."""

    def __init__(self, path: Path) -> None:
        """Open the file, which only its owner reads: bodies contain items' values."""
        self._file = open_private(path)

    def note(self, scope: Mapping[str, Any], body: bytes) -> None:
        """Write the line of a request."""
        self._file.write(json.dumps(request_entry(scope, body)) + "\n")
        self._file.flush()


def request_entry(scope: Mapping[str, Any], body: bytes) -> dict[str, str]:
    """What is written of a request.

    Returns:
        ``caller``, ``service``, ``method``, ``path``, ``query``, ``target`` (the operation in the
        JSON protocols), ``copy_source`` (of an S3 object) and ``body``, which is empty for the
        content of an object.
    """
    headers = {name.decode("latin-1").lower(): text for name, text in scope["headers"]}

    def header(name: str) -> str:
        found: bytes = headers.get(name, b"")
        return found.decode("latin-1")

    signed = CREDENTIAL.search(header("authorization"))
    caller, service = signed.groups() if signed else ("", "")
    is_content = service == "s3" and scope["method"] == "PUT"
    return {
        "caller": caller,
        "service": service,
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "target": header("x-amz-target"),
        "copy_source": unquote(header("x-amz-copy-source")),
        "body": "" if is_content else body[:LONGEST_BODY].decode("utf-8", "replace"),
    }
