"""The home folder of an embedded AWS: its files, which only their owner reads, and its credentials.

The credentials are made with the folder. Requests to the server must be signed with them, so that
only who can read the folder can use the server: a web page in the user's browser cannot.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ddb_pipeline.errors import DdbPipelineError

STATE_FILE = "server.json"
CREDENTIALS_FILE = "credentials.json"
LEASE_FILE = "in_use"
START_LOCK_FILE = "start.lock"
RUNNING_LOCK_FILE = "running.lock"
"""The server locks this file while it runs, so that a slow server is not taken for none."""
LOG_FILE = "server.log"

FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o077
"""The permissions of group and others, which no file of the home folder has."""


class EmbeddedError(DdbPipelineError):
    """The embedded AWS cannot be used; the message names the path and says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests to the embedded AWS of one home folder are signed with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def make_home(home: Path) -> Credentials:
    """Make the home folder and its credentials where they do not exist; return the credentials.

    Raises:
        EmbeddedError: the folder cannot be written, or its credentials cannot be read.
    """
    try:
        home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if home.stat().st_mode & OTHERS:
            home.chmod(FOLDER_MODE)
        open_private(home / START_LOCK_FILE).close()
        if not (home / CREDENTIALS_FILE).exists():
            _write_credentials(home)
    except OSError as error:
        raise EmbeddedError(
            f"{home} cannot be written ({error.strerror}). Make it writable, or set "
            "DDB_PIPELINE_HOME to a folder that is."
        ) from error
    return read_credentials(home)


def read_credentials(home: Path) -> Credentials:
    """Return the credentials of a home folder.

    Raises:
        EmbeddedError: they cannot be read.
    """
    path = home / CREDENTIALS_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
        return Credentials(document["access_key_id"], document["secret_access_key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbeddedError(
            f"The credentials in {path} cannot be read: {error}. Stop what uses the embedded AWS, "
            "and remove this file to have new ones made."
        ) from error


def open_private(path: Path, mode: str = "a") -> IO[str]:
    """Open a file for writing that only its owner reads, whatever the process's umask is."""
    return open(path, mode, encoding="utf-8", opener=_private_opener)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _write_credentials(home: Path) -> None:
    """Write new credentials in one step, unless another process has done so meanwhile."""
    document = {
        "access_key_id": f"EMBEDDED{secrets.token_hex(8).upper()}",
        "secret_access_key": secrets.token_urlsafe(32),
    }
    partial = home / f"{CREDENTIALS_FILE}.{os.getpid()}"
    with open_private(partial, "w") as file:
        json.dump(document, file)
    try:
        os.link(partial, home / CREDENTIALS_FILE)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
