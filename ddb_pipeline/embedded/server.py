"""The server process of the embedded AWS: ministack with the project's services, on loopback only.

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
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ddb_pipeline.embedded.application import ServerApplication
from ddb_pipeline.embedded.home import (
    LEASE_FILE,
    OTHERS,
    RUNNING_LOCK_FILE,
    STATE_FILE,
    Credentials,
    EmbeddedError,
    make_home,
    open_private,
)
from ddb_pipeline.embedded.journal import Journal
from ddb_pipeline.embedded.process import REGION, Endpoint, ServerState
from ddb_pipeline.embedded.request_log import REQUESTS_VARIABLE, RequestLog
from ddb_pipeline.embedded.services.dynamodb import DynamoDB
from ddb_pipeline.embedded.services.firehose.service import Firehose
from ddb_pipeline.embedded.services.glue.service import Glue
from ddb_pipeline.embedded.services.history import ChangeHistory
from ddb_pipeline.embedded.services.lambda_ import Lambda
from ddb_pipeline.embedded.services.ministack import (
    MINISTACK_VERSION,
    load_application,
)
from ddb_pipeline.embedded.services.ministack_dynamodb import DynamoDBModule
from ddb_pipeline.embedded.services.saved_state import SavedState, end_interrupted_stacks
from ddb_pipeline.embedded.services.stored_objects import repair_objects

LEASE_POLL_SECONDS = 1.0
LEASE_GRACE_SECONDS = 5.0
SAVE_SECONDS = 1.0
"""What changes outside of a request, such as the position in a stream, is saved after this time."""
EXPIRY_SECONDS = 10.0
DATA_FOLDER = "state"
HISTORY_FOLDER = "history"
OBJECTS_FOLDER = "s3"
TEMPORARY_FOLDER = "tmp"

logger = logging.getLogger("ddb_pipeline.embedded")


def main() -> None:
    """Serve the home folder that the command line names until nobody uses it."""
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
    for name in ("ministack", "persistence"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.umask(OTHERS)
    credentials = make_home(home)
    running = hold_running_lock(home)
    listener = listen(home)
    port: int = listener.getsockname()[1]
    configure(home, port, credentials)
    with running:
        asyncio.run(serve(home, port, listener, credentials))


def listen(home: Path) -> socket.socket:
    """Listen on the port of a server that was killed, if it is free: its clients stay usable."""
    try:
        ports = [int(json.loads((home / STATE_FILE).read_text("utf-8"))["port"]), 0]
    except (OSError, ValueError, KeyError, TypeError):
        ports = [0]
    for port in ports:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            listener.close()
            continue
        listener.listen(128)
        return listener
    sys.exit("No port of 127.0.0.1 is free.")


def hold_running_lock(home: Path) -> IO[str]:
    """Lock ``home`` until this process ends; exit if another server has the lock."""
    lock = open_private(home / RUNNING_LOCK_FILE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another server already runs for {home}.")
    return lock


def configure(home: Path, port: int, credentials: Credentials) -> None:
    """Set the environment variables that ministack reads when it is imported."""
    for folder in (DATA_FOLDER, OBJECTS_FOLDER, TEMPORARY_FOLDER):
        (home / folder).mkdir(exist_ok=True)
    check_state(home / DATA_FOLDER)
    repair_objects(home / OBJECTS_FOLDER)
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
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        }
    )


def check_state(folder: Path) -> None:
    """Exit if a state file of an earlier version is damaged, because ministack would ignore it."""
    for path in sorted(folder.glob("*.json")):
        try:
            json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            sys.exit(f"State file {path} is damaged: {error}")


async def serve(home: Path, port: int, listener: socket.socket, credentials: Credentials) -> None:
    """Serve until there is no client or a signal comes, then save the state and exit."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    state = ServerState(os.getpid(), port)
    ministack = load_application()
    try:
        history = ChangeHistory(home / HISTORY_FOLDER)
        saved = SavedState(Journal(home / DATA_FOLDER), DynamoDBModule(), history)
        saved.install()
    except EmbeddedError as error:
        sys.exit(str(error))
    services = Services(state.endpoint(credentials), history)

    def start_up() -> None:
        saved.start(home / DATA_FOLDER)
        services.start()
        tasks.append(asyncio.create_task(expire_periodically(application, services.dynamodb)))

    tasks: list[asyncio.Task[None]] = []

    requests = os.environ.get(REQUESTS_VARIABLE)
    application = ServerApplication(
        ministack,
        home,
        state,
        credentials,
        save=saved.save,
        on_startup=start_up,
        request_log=RequestLog(Path(requests)) if requests else None,
    )
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    _start_thread(watch_lease, home, lambda: loop.call_soon_threadsafe(end.set))
    _start_thread(save_periodically, application, saved)

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    await hypercorn_serve(application, config, shutdown_trigger=end.wait)  # type: ignore[arg-type]
    services.firehose.stop()
    saved.save(everything=True)
    (home / STATE_FILE).unlink(missing_ok=True)
    logger.info("The embedded AWS has ended")
    # Threads of services may still be waiting for something, and nothing depends on them now.
    os._exit(0)


class Services:
    """The project's services, which answer requests in place of ministack."""

    def __init__(self, endpoint: Endpoint, history: ChangeHistory) -> None:
        """Install the services; ``endpoint`` is for those that call another service."""
        self.glue = Glue(endpoint)
        self.firehose = Firehose(endpoint, self.glue)
        self.dynamodb = DynamoDB(endpoint, history)
        for service in (self.glue, self.firehose, self.dynamodb, Lambda()):
            service.install()

    def start(self) -> None:
        """Do what needs no request, and go on with what the end of the last process interrupted."""
        end_interrupted_stacks()
        self.glue.resume()
        self.dynamodb.resume()
        self.firehose.start()


def _start_thread(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def watch_lease(home: Path, end: Callable[[], None]) -> None:
    """Call ``end`` once no client holds the lease.

    This process holds the lease from then on, so that a new client waits until it has ended.
    """
    lease = open_private(home / LEASE_FILE)
    time.sleep(LEASE_GRACE_SECONDS)
    while True:
        time.sleep(LEASE_POLL_SECONDS)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        logger.info("No client uses the embedded AWS any more")
        end()
        return


async def expire_periodically(application: ServerApplication, dynamodb: DynamoDB) -> None:
    """Delete expired items, on the event loop, as the requests that change items."""
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        if dynamodb.expire_items():
            application.has_changes = True


def save_periodically(application: ServerApplication, saved: SavedState) -> None:
    """Save what requests change after they were answered, and keep the journal small."""
    while True:
        time.sleep(SAVE_SECONDS)
        if not application.has_changes:
            continue
        application.has_changes = False
        try:
            saved.save(everything=True)
            saved.compact()
        except OSError as error:
            application.has_changes = True
            logger.error("The state cannot be saved: %s", error)


if __name__ == "__main__":
    main()
