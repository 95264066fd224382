"""A running ``dagster dev``, started and stopped as a user does, asked through its GraphQL."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
STOP_SECONDS = 30

ASSETS = """
{ assetNodes { assetKey { path } assetMaterializations(limit: 1) { runId }
  assetObservations(limit: 1) { runId } } }
"""
RUNS = """
query Runs($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}, limit: 50) {
  ... on Runs { results { id status tags { key value } assetSelection { path } } } } }
"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""
CHECKS = """
{ assetNodes { assetKey { path } assetChecksOrError { ... on AssetChecks { checks { name
  executionForLatestMaterialization { status evaluation { success severity } } } } } } }
"""


@dataclass(frozen=True)
class DagsterDev:
    """The server's address, its process and where its output goes."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def query(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=60
        ) as answer:
            document = json.load(answer)
        assert "errors" not in document, document["errors"]
        return document["data"]

    def materialized(self) -> dict[str, bool]:
        """Whether each asset has been materialised, or observed."""
        return {
            "/".join(node["assetKey"]["path"]): bool(
                node["assetMaterializations"] or node["assetObservations"]
            )
            for node in self.query(ASSETS)["assetNodes"]
        }

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        wanted = [{"key": key, "value": value} for key, value in tags.items()]
        found: list[dict[str, Any]] = self.query(RUNS, {"tags": wanted})["runsOrError"]["results"]
        return found

    def wait(self, done: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until ``done``; returns the seconds it took."""
        started = time.monotonic()
        while True:
            try:
                if done():
                    return time.monotonic() - started
            except OSError:
                pass
            tail = self.log.read_text("utf-8", "replace")[-4000:]
            assert self.process.poll() is None, f"dagster dev ended: {tail}"
            assert time.monotonic() - started < seconds, f"{what} not within {seconds} s: {tail}"
            time.sleep(1)

    def loaded(self) -> bool:
        entries = self.query(LOCATIONS)["workspaceOrError"]["locationEntries"]
        for entry in entries:
            found = entry["locationOrLoadError"] or {}
            assert found.get("__typename") != "PythonError", found.get("message")
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dagster_dev(
    directory: Path, home: Path, *, command: tuple[str, ...] = ("dagster", "dev")
) -> Iterator[DagsterDev]:
    """``dagster dev`` in the project, its embedded AWS under ``home``, until the block ends."""
    port = free_port()
    log = directory / "dagster-dev.log"
    environment = {
        **os.environ,
        "DDB_PIPELINE_HOME": str(home),
        "DDB_PIPELINE_TARGET": "embedded",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("DAGSTER_HOME", None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-p", str(port)],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        server = DagsterDev(f"http://127.0.0.1:{port}", process, log)
        try:
            yield server
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it as Ctrl-C does, the whole group by force where that takes too long."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
