"""The embedded AWS as its clients see it: its server starts on first use and ends after last use.

The server is a process in a session of its own. Every client process holds a shared lock on one
file, the lease. The operating system releases the lock of a process that ends, even if it is
killed; when the server gets an exclusive lock on the file, it has no client, saves its state and
ends.
"""

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from ddb_pipeline.embedded.home import (
    LEASE_FILE,
    LOG_FILE,
    RUNNING_LOCK_FILE,
    START_LOCK_FILE,
    STATE_FILE,
    Credentials,
    EmbeddedError,
    make_home,
    open_private,
    read_credentials,
)

START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
ANSWER_SECONDS = 5.0
SUPERVISOR_POLL_SECONDS = 1.0

DEV_VARIABLE = "DAGSTER_IS_DEV_CLI"
"""Set by ``dagster dev`` for its child processes (dagster._cli.dev)."""

LOG_TAIL_LINES = 12
STATUS_PATH = "/_ddb_pipeline/status"

STATUS_SERVICE = "status"
"""The name by which requests for the server's status are signed."""

REGION = "us-east-1"

_leases: dict[Path, IO[str]] = {}
_children: dict[int, subprocess.Popen[bytes]] = {}
_watched: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the embedded AWS listens, and its home folder's credentials."""

    url: str
    credentials: Credentials
    region: str = REGION


@dataclass(frozen=True, slots=True)
class ServerState:
    """The process and port of a running server, as in its state file."""

    pid: int
    port: int

    def endpoint(self, credentials: Credentials) -> Endpoint:
        """Return the endpoint for clients of this server, which have its home's credentials."""
        return Endpoint(f"http://127.0.0.1:{self.port}", credentials)


def connect(home: Path) -> Endpoint:
    """Return the endpoint of the embedded AWS of ``home``, and start it if it does not run.

    It runs at least until the calling process ends.

    Raises:
        EmbeddedError: it cannot be started, or ``home`` cannot be written.
    """
    home = home.resolve()
    supervisor = _supervisor()
    credentials = make_home(home)
    _hold_lease(home)
    if supervisor is not None:
        _release_after(home, supervisor)
    running = find_running(home)
    if running is None:
        with open_private(home / START_LOCK_FILE) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            running = _wait_for_running(home) or _start(home)
    return running.endpoint(credentials)


def _wait_for_running(home: Path) -> ServerState | None:
    """Return the server of ``home`` once it answers; None if none runs.

    Raises:
        EmbeddedError: a server runs and does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        running = find_running(home)
        if running is not None or not _is_locked(home / RUNNING_LOCK_FILE):
            return running
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"The embedded AWS of {home} runs and does not answer within "
                f"{START_SECONDS:.0f} s. Look at {home / LOG_FILE} and end it by hand."
            )
        time.sleep(POLL_SECONDS)


def _is_locked(path: Path) -> bool:
    with open_private(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def status(home: Path) -> ServerState | None:
    """Return the server that runs for ``home``, if there is one."""
    return find_running(home.resolve())


def stop(home: Path) -> bool:
    """End the server of ``home``, which saves its state; return whether there was one.

    Raises:
        EmbeddedError: it did not end in time.
    """
    home = home.resolve()
    running = find_running(home)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not _alive(running.pid):
            return True
        time.sleep(POLL_SECONDS)
    raise EmbeddedError(
        f"The embedded AWS (process {running.pid}) did not end within {STOP_SECONDS:.0f} s. "
        f"Look at {home / LOG_FILE} and end it by hand."
    )


def find_running(home: Path) -> ServerState | None:
    """Return the server in the state file of ``home``, if it is the one that listens there."""
    try:
        data = json.loads((home / STATE_FILE).read_text("utf-8"))
        state = ServerState(int(data["pid"]), int(data["port"]))
        endpoint = state.endpoint(read_credentials(home))
    except (OSError, ValueError, KeyError, TypeError, EmbeddedError):
        return None
    return state if _served_home(endpoint) == str(home) else None


def write_state(home: Path, state: ServerState) -> None:
    """Write the state file atomically."""
    partial = home / f"{STATE_FILE}.{os.getpid()}"
    with open_private(partial, "w") as file:
        json.dump(asdict(state), file)
    partial.replace(home / STATE_FILE)


def _log_tail(home: Path) -> str:
    try:
        lines = (home / LOG_FILE).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])


def _served_home(endpoint: Endpoint) -> str | None:
    """Return the home folder of the server at the endpoint; None if none of ours answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(_status_request(endpoint), timeout=ANSWER_SECONDS) as response:
            document = json.load(response)
    except (OSError, ValueError):
        return None
    return document.get("home") if isinstance(document, dict) else None


def _status_request(endpoint: Endpoint) -> urllib.request.Request:
    """Return the signed request for the server's status."""
    # botocore is slow to import, and most commands do not get here.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as SigningCredentials

    url, keys = f"{endpoint.url}{STATUS_PATH}", endpoint.credentials
    request = AWSRequest("GET", url)
    credentials = SigningCredentials(keys.access_key_id, keys.secret_access_key)
    SigV4Auth(credentials, STATUS_SERVICE, endpoint.region).add_auth(request)
    return urllib.request.Request(url, headers=dict(request.headers.items()))


def _hold_lease(home: Path) -> None:
    """Hold the lease until this process ends."""
    if home in _leases:
        return
    lease = open_private(home / LEASE_FILE)
    fcntl.flock(lease, fcntl.LOCK_SH)
    _leases[home] = lease


def _supervisor() -> psutil.Process | None:
    """Return the ``dagster dev`` process that started this process; None if there is none.

    A killed ``dagster dev`` leaves its web server, daemon and code servers running. These must
    neither keep the embedded AWS running nor start it again.

    Raises:
        EmbeddedError: the ``dagster dev`` that started this process has ended.
    """
    if not os.environ.get(DEV_VARIABLE):
        return None
    for ancestor in psutil.Process().parents():
        if is_dev_command(_command_line(ancestor)):
            return ancestor
    raise EmbeddedError(
        f"The dagster dev that started this process ({os.getpid()}) has ended. End this one too."
    )


def is_dev_command(command_line: list[str]) -> bool:
    """Return whether a command is ``dagster dev`` or ``dg dev``, started by Python or directly."""
    names = [Path(word).name for word in command_line[:4]]
    return any(
        program in ("dagster", "dg") and argument == "dev"
        for program, argument in itertools.pairwise(names)
    )


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _release_after(home: Path, supervisor: psutil.Process) -> None:
    """Release the lease once the supervisor has ended."""

    def watch() -> None:
        while supervisor.is_running() and supervisor.status() != psutil.STATUS_ZOMBIE:
            time.sleep(SUPERVISOR_POLL_SECONDS)
        lease = _leases.pop(home, None)
        if lease is not None:
            lease.close()

    if home not in _watched:
        _watched.add(home)
        threading.Thread(target=watch, name="dagster-dev-watch", daemon=True).start()


def _start(home: Path) -> ServerState:
    with open_private(home / LOG_FILE, "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ddb_pipeline.embedded.server", "--home", str(home)],
            cwd=home,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find_running(home)
        if running is not None:
            return running
        if process.poll() is not None:
            # A client that was killed since may have started another server, which has the lock.
            running = _wait_for_running(home)
            if running is not None:
                return running
            raise EmbeddedError(
                f"The embedded AWS did not start (exit status {process.returncode}). Its log, "
                f"{home / LOG_FILE}, ends with:\n{_log_tail(home)}\nWhere its data is damaged, "
                f"remove {home} to begin anew."
            )
        time.sleep(POLL_SECONDS)
    process.terminate()
    raise EmbeddedError(
        f"The embedded AWS was not ready within {START_SECONDS:.0f} s. Its log: {home / LOG_FILE}"
    )


def server_environment() -> dict[str, str]:
    """Return this process's environment without AWS settings, and without proxies."""
    environment = {
        name: value for name, value in os.environ.items() if not name.upper().startswith("AWS_")
    }
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [environment.get("PYTHONPATH")])]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(paths),
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def _alive(pid: int) -> bool:
    if pid in _children:
        return _children[pid].poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
