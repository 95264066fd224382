"""Changes that can never be delivered, kept whole in S3 with the reason."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.stream import epoch_seconds
from ddb_pipeline.functions.changes import Change, Problem

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PERMISSION = "s3:PutObject"


class DeadLetterError(Exception):
    """Dead letters could not be written; the message names bucket, key and permission."""


class DeadLetter(NamedTuple):
    """A change and why it cannot be delivered."""

    change: Change
    problem: Problem


def object_key(prefix: str, letters: Sequence[DeadLetter]) -> str:
    """Where a batch's letters go: table, day of the first change, hash of the event ids.

    Nothing of the moment of writing is in it, so that a retry overwrites.
    """
    first = letters[0].change
    day = datetime.fromtimestamp(epoch_seconds(first.event_time), timezone.utc).strftime("%Y-%m-%d")
    digest = hashlib.sha256("\n".join(_identity(letter) for letter in letters).encode("utf-8"))
    return f"{prefix}{first.table or 'unknown'}/{day}/{digest.hexdigest()[:32]}.jsonl"


def body(letters: Sequence[DeadLetter]) -> bytes:
    """The letters as JSON Lines: identity, reason and the record whole, as it arrived."""
    return b"".join(
        json.dumps(
            {
                "event_id": letter.change.event_id,
                "sequence_number": letter.change.sequence_number,
                "table": letter.change.table,
                "code": letter.problem.code,
                "reason": letter.problem.reason,
                "record": letter.change.record,
            },
            default=_jsonable,
            separators=(",", ":"),
        ).encode("ascii")
        + b"\n"
        for letter in letters
    )


def write_dead_letters(
    s3: "S3Client", bucket: str, prefix: str, letters: Sequence[DeadLetter]
) -> str:
    """Write a batch's letters as one object; answers with its key.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    if not bucket:
        raise DeadLetterError(
            f"{len(letters)} changes can never be delivered and DEAD_LETTER_BUCKET is not set."
        )
    key = object_key(prefix, letters)
    try:
        s3.put_object(
            Bucket=bucket, Key=key, Body=body(letters), ContentType="application/x-ndjson"
        )
    except (ClientError, BotoCoreError) as error:
        raise DeadLetterError(
            f"s3://{bucket}/{key} could not be written ({error}). The function's role needs "
            f"{PERMISSION} there."
        ) from error
    return key


def _identity(letter: DeadLetter) -> str:
    change = letter.change
    return (
        change.event_id
        or change.sequence_number
        or json.dumps(change.record, sort_keys=True, default=_jsonable)
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.timestamp()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
