"""The log of requests, and what a line has of a request."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.embedded.request_log import RequestLog, request_entry

SIGNED = b"AWS4-HMAC-SHA256 Credential=DAGSTER/20261127/us-east-1/%s/aws4_request, Signature=0"


def scope(method: str, path: str, query: str = "", **headers: bytes) -> dict[str, Any]:
    return {
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), text) for name, text in headers.items()],
    }


@pytest.mark.parametrize(
    ("request_scope", "body", "expected"),
    [
        (
            scope("POST", "/", authorization=SIGNED % b"glue", x_amz_target=b"AWSGlue.GetTable"),
            b'{"Name": "orders"}',
            {"service": "glue", "target": "AWSGlue.GetTable", "body": '{"Name": "orders"}'},
        ),
        (
            scope("PUT", "/lake/key", "partNumber=1", authorization=SIGNED % b"s3"),
            b"content",
            {"service": "s3", "path": "/lake/key", "query": "partNumber=1", "body": ""},
        ),
        (
            scope("PUT", "/l/b", authorization=SIGNED % b"s3", x_amz_copy_source=b"/l/a%20b"),
            b"",
            {"copy_source": "/l/a b"},
        ),
        (scope("GET", "/lake", "X-Amz-Signature=0"), b"", {"caller": "", "service": ""}),
    ],
)
def test_a_line_has_what_a_permission_depends_on(
    request_scope: dict[str, Any], body: bytes, expected: dict[str, str]
) -> None:
    found = request_entry(request_scope, body)
    assert {name: found[name] for name in expected} == expected
    if request_scope["headers"]:
        assert found["caller"] == "DAGSTER"


def test_lines_are_written_at_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    log = RequestLog(path)
    for _ in range(2):
        log.note(scope("GET", "/lake", authorization=SIGNED % b"s3"), b"")
    assert [json.loads(line)["path"] for line in path.read_text().splitlines()] == ["/lake"] * 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
