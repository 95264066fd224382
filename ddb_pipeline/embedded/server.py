"""The embedded AWS's server process: ministack behind the overlay, on loopback only.

``python -m ddb_pipeline.embedded.server --home DIRECTORY``
"""

import argparse
import asyncio
import fcntl
import importlib.metadata
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from ddb_pipeline.embedded.process import (
    ACCESS_KEY_ID,
    LEASE_FILE,
    REGION,
    RUNNING_LOCK_FILE,
    SECRET_ACCESS_KEY,
    STATE_FILE,
    STATUS_PATH,
    ServerState,
    write_state,
)

MINISTACK_VERSION = "1.5.33"
"""The overlay replaces private functions of this version; its contract tests hold them."""

LEASE_POLL_SECONDS = 1.0
LEASE_GRACE_SECONDS = 5.0
SAVE_SECONDS = 30.0
DATA_FOLDER = "state"
OBJECTS_FOLDER = "s3"
TEMPORARY_FOLDER = "tmp"

logger = logging.getLogger("ddb_pipeline.embedded")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--home", type=Path, required=True)
    home: Path = arguments.parse_args().home.resolve()
    installed = importlib.metadata.version("ministack")
    if installed != MINISTACK_VERSION:
        sys.exit(
            f"ministack {installed} is installed, the embedded AWS needs {MINISTACK_VERSION}: "
            "pip install -e '.[local]'"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for chatty in ("ministack", "persistence"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    running = hold_running_lock(home)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port: int = listener.getsockname()[1]
    configure(home, port)
    with running:
        asyncio.run(serve(home, port, listener))


def hold_running_lock(home: Path) -> IO[str]:
    """Be the one server of ``home`` until this process ends."""
    lock = (home / RUNNING_LOCK_FILE).open("a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another server already runs for {home}.")
    return lock


def configure(home: Path, port: int) -> None:
    """Tell ministack, which reads its environment on import, where and how to run."""
    for folder in (DATA_FOLDER, OBJECTS_FOLDER, TEMPORARY_FOLDER):
        (home / folder).mkdir(exist_ok=True)
    check_state(home / DATA_FOLDER)
    os.environ.update(
        {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "EDGE_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(home / DATA_FOLDER),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(home / OBJECTS_FOLDER),
            "TMPDIR": str(home / TEMPORARY_FOLDER),
            "LOG_LEVEL": "WARNING",
            "LAMBDA_EXECUTOR": "local",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }
    )


def check_state(folder: Path) -> None:
    """Refuse a damaged state file: ministack would begin anew beside it and overwrite it."""
    for path in sorted(folder.glob("*.json")):
        try:
            json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            sys.exit(f"State file {path} is damaged: {error}")


async def serve(home: Path, port: int, listener: socket.socket) -> None:
    """Serve until nobody holds a lease or a signal comes, then save everything."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    from ddb_pipeline.embedded.services.services import install, resume, suspend

    ministack = install(f"http://127.0.0.1:{port}")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    threading.Thread(
        target=watch_lease, args=(home, lambda: loop.call_soon_threadsafe(ended.set)), daemon=True
    ).start()
    saving = threading.Lock()
    threading.Thread(
        target=save_now_and_then, args=(ministack, saving), daemon=True, name="save"
    ).start()

    async def may_end() -> None:
        """Ministack saves as it shuts down, to the same files: never beside a save under way."""
        await ended.wait()
        await asyncio.to_thread(saving.acquire)

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    ready = announced(status_page(ministack.app, home), home, ServerState(os.getpid(), port))
    resume()
    await hypercorn_serve(ready, config, shutdown_trigger=may_end)  # type: ignore[arg-type]
    suspend()
    ministack.save_all(ministack._build_persistence_save_dict())
    (home / STATE_FILE).unlink(missing_ok=True)
    logger.info("ended")
    # Worker threads of services may still wait for something; nothing of theirs is needed.
    os._exit(0)


def status_page(application: Application, home: Path) -> Application:
    """Answers who this server is, so that a client knows it from another on the same port."""
    body = json.dumps({"home": str(home), "pid": os.getpid()}).encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != STATUS_PATH:
            await application(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def announced(application: Application, home: Path, state: ServerState) -> Application:
    """Writes the state file once the application has started up."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return

        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                write_state(home, state)
            await send(message)

        await application(scope, receive, told)

    return app


def watch_lease(home: Path, end: Callable[[], None]) -> None:
    """End the server once no client holds the lease any more.

    The lock is kept from then on, so that a new client waits until this server is gone.
    """
    lease = (home / LEASE_FILE).open("a", encoding="utf-8")
    time.sleep(LEASE_GRACE_SECONDS)
    while True:
        time.sleep(LEASE_POLL_SECONDS)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        logger.info("no client left")
        end()
        return


def save_now_and_then(ministack: Any, saving: threading.Lock) -> None:
    """Save the state every half minute, for the case that this process is killed."""
    while True:
        time.sleep(SAVE_SECONDS)
        with saving:
            ministack.save_all(ministack._build_persistence_save_dict())


if __name__ == "__main__":
    main()
