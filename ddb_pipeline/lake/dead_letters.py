"""Dead letters: reading them, and delivering them again."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ddb_pipeline.lake.archive import archive
from ddb_pipeline.lake.conditional import leave, read_if_exists
from ddb_pipeline.lake.objects import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class DeadLetters(NamedTuple):
    """The dead letters of an object, and its lines that are not dead letters."""

    letters: tuple[Mapping[str, Any], ...]
    unreadable: tuple[bytes, ...]

    @property
    def event(self) -> dict[str, Any]:
        """The changes as an event of the streaming function."""
        return {"Records": [letter["record"] for letter in self.letters]}


def read_dead_letters(body: bytes) -> DeadLetters:
    """Read an object's JSON lines, which ``functions.dead_letters.dead_letter_lines`` writes."""
    letters: list[Mapping[str, Any]] = []
    unreadable: list[bytes] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            letter = json.loads(line)
        except (ValueError, RecursionError):
            letter = None
        if isinstance(letter, dict) and "record" in letter:
            letters.append(letter)
        else:
            unreadable.append(line)
    return DeadLetters(tuple(letters), tuple(unreadable))


def redeliver_letters(
    s3: "S3Client", bucket: str, stored: StoredObject, deliver: Callable[[Mapping[str, Any]], str]
) -> bool:
    """Deliver an object's dead letters again, and remove it; returns whether it is gone.

    Safe to run twice. A copy is stored under the prefix of redelivered objects. Lines that are no
    dead letters stay in the object.

    Args:
        deliver: delivers an event of the streaming function, and returns the key of the object in
            which it wrote letters that still cannot be delivered: this one, where all are the same.
    """
    body = read_if_exists(s3, bucket, stored.key)
    if body is None:
        return False
    found = read_dead_letters(body.content)
    if not found.letters:
        return False
    # The copy comes first: the delivery itself may overwrite the object.
    archive(s3, bucket, stored.key, body.content)
    if deliver(found.event) == stored.key:
        return False
    rest = b"".join(line + b"\n" for line in found.unreadable)
    leave(s3, bucket, stored.key, rest, body.etag)
    return True
