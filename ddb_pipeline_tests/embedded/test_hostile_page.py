"""A web page in the user's browser cannot use the embedded AWS, not even with its own DNS."""

import base64
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response

from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.process import Endpoint, connect, stop
from ddb_pipeline_tests.support.browser import chromium

pytestmark = [pytest.mark.embedded, pytest.mark.e2e]

ROLE = "arn:aws:iam::000000000000:role/page"
HOSTILE_NAME = "evil.example"

FETCH = """
async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return {type: response.type, status: response.status, body: await response.text()};
  } catch (error) {
    return {type: "error", status: 0, body: ""};
  }
}
"""
FORM = """
([url, fields, enctype]) => new Promise(resolve => {
  const frame = document.createElement("iframe");
  frame.name = "target" + Math.random();
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {action: url, method: "POST", enctype: enctype, target: frame.name});
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, {name: name, value: value});
    form.append(input);
  }
  document.body.append(form);
  frame.onload = () => resolve();
  form.submit();
})
"""
IMAGE = """
url => new Promise(resolve => {
  const image = new Image();
  image.onload = () => resolve("loaded");
  image.onerror = () => resolve("failed");
  image.src = url;
})
"""
SOCKET = """
url => new Promise(resolve => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onerror = () => resolve("refused");
})
"""


@dataclass
class HostilePage:
    """A page, and the answers that the embedded AWS gave to its requests."""

    page: Page
    aws: str
    statuses: list[int] = field(default_factory=list)
    cors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("response", self._record)

    def _record(self, response: Response) -> None:
        if response.url.rpartition(":")[2].partition("/")[0] == self.aws.rpartition(":")[2]:
            self.statuses.append(response.status)
            self.cors += [n for n in response.all_headers() if n.startswith("access-control")]

    def fetch(self, path: str, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.page.evaluate(FETCH, [self.aws + path, options])
        return result


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    home = tmp_path_factory.mktemp("hostile") / "home"
    endpoint = connect(home)
    s3 = shared_client(endpoint, "s3")
    s3.create_bucket(Bucket="private")
    s3.put_object(Bucket="private", Key="image.svg", Body=b"<svg/>", ContentType="image/svg+xml")
    yield endpoint
    stop(home)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of another web site."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>page</title><body>")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOSTILE_NAME}:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Local network access of public pages is restricted by newer versions of Chromium; an attack
    # from a local page, or in another browser, is not.
    rules = f"--host-resolver-rules=MAP {HOSTILE_NAME} 127.0.0.1"
    with chromium(rules, "--disable-features=LocalNetworkAccessChecks") as browser:
        yield browser


def state(aws: Endpoint) -> dict[str, Any]:
    """What a page might have changed."""
    s3 = shared_client(aws, "s3")
    return {
        "functions": shared_client(aws, "lambda").list_functions()["Functions"],
        "queues": shared_client(aws, "sqs").list_queues().get("QueueUrls"),
        "buckets": [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]],
        "objects": [o["Key"] for o in s3.list_objects_v2(Bucket="private").get("Contents", [])],
    }


def function_request() -> str:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", "def handler(event, context): return 'ran'")
    return json.dumps(
        {
            "FunctionName": "page",
            "Runtime": "python3.11",
            "Role": ROLE,
            "Handler": "index.handler",
            "Code": {"ZipFile": base64.b64encode(code.getvalue()).decode()},
        }
    )


LAMBDA = "/2015-03-31/functions"
STATUS = "/_ddb_pipeline/status"


def attack(hostile: HostilePage) -> None:
    """Send the requests that a page can send."""
    plain = {"Content-Type": "text/plain"}
    function = function_request()
    hostile.fetch(LAMBDA, method="POST", headers=plain, body=function)
    hostile.fetch(LAMBDA, method="POST", mode="no-cors", headers=plain, body=function)
    hostile.fetch(f"{LAMBDA}/page/invocations", method="POST", mode="no-cors", body="{}")
    hostile.fetch(LAMBDA, method="POST", headers={"Content-Type": "application/json"}, body="{}")
    hostile.fetch("/?Action=CreateQueue&QueueName=page", mode="no-cors")
    hostile.fetch("/private/image.svg")
    hostile.fetch("/private/image.svg", mode="no-cors", credentials="include")
    hostile.fetch("/private/image.svg", method="DELETE")
    hostile.fetch("/page", method="PUT")
    hostile.fetch("/private/page", method="PUT", body="x")
    hostile.fetch("/_ministack/reset", method="POST", mode="no-cors")
    hostile.fetch("/_ministack/health")
    hostile.fetch(STATUS)
    hostile.fetch(STATUS, mode="no-cors")
    url, fields = f"{hostile.aws}/", {"Action": "CreateQueue", "QueueName": "page"}
    for enctype in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
        hostile.page.evaluate(FORM, [url, fields, enctype])
    image = hostile.page.evaluate(IMAGE, f"{hostile.aws}/private/image.svg")
    assert image == "failed"


def refused_without_effect(hostile: HostilePage, aws: Endpoint, before: dict[str, Any]) -> None:
    # Requests that need the server's consent first (preflight) are not sent to the end.
    assert len(hostile.statuses) >= 8
    assert set(hostile.statuses) == {403}
    assert hostile.cors == []
    assert state(aws) == before


def test_a_page_of_another_site(browser: Browser, site: str, aws: Endpoint) -> None:
    before = state(aws)
    hostile = HostilePage(browser.new_page(), aws.url)
    hostile.page.goto(site)
    attack(hostile)
    refused_without_effect(hostile, aws, before)


def test_a_page_of_a_name_that_was_resolved_anew_to_loopback(
    browser: Browser, aws: Endpoint
) -> None:
    """DNS rebinding: to the browser the page and the embedded AWS are of one origin."""
    before = state(aws)
    rebound = aws.url.replace("127.0.0.1", HOSTILE_NAME)
    hostile = HostilePage(browser.new_page(), rebound)
    hostile.page.goto(rebound)
    assert "private" not in hostile.page.content()
    attack(hostile)
    assert hostile.fetch("/private/image.svg")["status"] == 403
    refused_without_effect(hostile, aws, before)


def test_an_address_that_the_user_opens(browser: Browser, aws: Endpoint) -> None:
    """A link from mail opens a page without an origin; it has no credentials."""
    page = browser.new_page()
    for address in (aws.url, aws.url.replace("127.0.0.1", "localhost")):
        for path in ("/", "/private/image.svg", "/?Action=CreateQueue&QueueName=page", STATUS):
            response = page.goto(address + path)
            assert response is not None
            assert response.status == 403, path


def test_a_web_socket(browser: Browser, site: str, aws: Endpoint) -> None:
    page = browser.new_page()
    page.goto(site)
    port = aws.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", HOSTILE_NAME, "a.execute-api.localhost"):
        assert page.evaluate(SOCKET, f"ws://{host}:{port}/prod") == "refused", host


def test_no_file_of_the_home_folder_is_readable_by_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    endpoint = connect(home)
    try:
        shared_client(endpoint, "s3").create_bucket(Bucket="private")
        shared_client(endpoint, "s3").put_object(Bucket="private", Key="a/b", Body=b"x")
        shared_client(endpoint, "sqs").create_queue(QueueName="private")
    finally:
        stop(home)
    modes = {path: path.stat().st_mode & 0o077 for path in [home, *home.rglob("*")]}
    assert {str(path): mode for path, mode in modes.items() if mode} == {}
