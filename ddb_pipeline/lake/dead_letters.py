"""Dead letters read back: changes that could never be delivered, to try again or to count."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ddb_pipeline.lake.layout import REDELIVERED_PREFIX
from ddb_pipeline.lake.objects import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class DeadLetters(NamedTuple):
    """An object of dead letters; ``unreadable`` are its lines that are none, as they are."""

    letters: tuple[Mapping[str, Any], ...]
    unreadable: tuple[bytes, ...]

    @property
    def event(self) -> dict[str, Any]:
        """The changes as an event of the streaming function."""
        return {"Records": [letter["record"] for letter in self.letters]}


def read_dead_letters(body: bytes) -> DeadLetters:
    """The letters of an object's JSON lines (``functions.dead_letters.body`` writes them)."""
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


def archive(s3: "S3Client", bucket: str, stored: StoredObject) -> None:
    """Keep a copy of an object whose letters have come back; twice does no more than once."""
    s3.copy_object(
        Bucket=bucket,
        CopySource={"Bucket": bucket, "Key": stored.key},
        Key=f"{REDELIVERED_PREFIX}{stored.key}.{stored.etag[:8]}",
    )


def settle(
    s3: "S3Client", bucket: str, stored: StoredObject, unreadable: tuple[bytes, ...]
) -> None:
    """Take an archived object away, all but the lines that could not be read."""
    if unreadable:
        s3.put_object(Bucket=bucket, Key=stored.key, Body=b"\n".join(unreadable) + b"\n")
    else:
        s3.delete_object(Bucket=bucket, Key=stored.key)
