"""Dead letters: reading them, and delivering them again."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ddb_pipeline.lake.archive import archive
from ddb_pipeline.lake.conditional import leave, read_if_exists
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class DeadLetters(NamedTuple):
    """The dead letters of an object, and its lines that cannot be delivered again.

    Attributes:
        letters: the dead letters. One of a record that could not be redacted has no ``record``.
        remaining: the lines of letters without a record, and those that are no dead letters.
    """

    letters: tuple[Mapping[str, Any], ...]
    remaining: tuple[bytes, ...]

    @property
    def event(self) -> dict[str, Any]:
        """The changes as an event of the streaming function."""
        return {"Records": [letter["record"] for letter in self.letters if "record" in letter]}


def read_dead_letters(body: bytes) -> DeadLetters:
    """Read an object's JSON lines, which ``functions.dead_letters.dead_letter_line`` writes."""
    letters: list[Mapping[str, Any]] = []
    remaining: list[bytes] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            letter = json.loads(line)
        except (ValueError, RecursionError):
            letter = None
        is_letter = isinstance(letter, dict)
        if is_letter and ("record" in letter or "event_id" in letter):
            letters.append(letter)
        if not is_letter or "record" not in letter:
            remaining.append(line)
    return DeadLetters(tuple(letters), tuple(remaining))


def redeliver_letters(
    s3: "S3Client",
    lake: LakeRoot,
    stored: StoredObject,
    deliver: Callable[[Mapping[str, Any]], str],
) -> bool:
    """Deliver an object's dead letters again, and remove it; returns whether it is gone.

    Safe to run twice. A copy is stored under the prefix of redelivered objects. Lines without a
    record stay in the object.

    Args:
        deliver: delivers an event of the streaming function, and returns the key of the object in
            which it wrote letters that still cannot be delivered: this one, where all are the same.
    """
    body = read_if_exists(s3, lake, stored.key)
    if body is None:
        return False
    found = read_dead_letters(body.content)
    event = found.event
    if not event["Records"]:
        return False
    # The copy comes first: the delivery itself may overwrite the object.
    archive(s3, lake, stored.key, body.content)
    if deliver(event) == stored.key:
        return False
    rest = b"".join(line + b"\n" for line in found.remaining)
    leave(s3, lake, stored.key, rest, body.etag)
    return True
