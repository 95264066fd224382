"""Dead letters: changes that can never be delivered, stored whole in S3 with the reason."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.functions.changes import Change
from ddb_pipeline.functions.stream_settings import StreamSettings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


NOT_STORED = (
    "it is not stored here. The stream holds it for 24 hours; replay it from there by its sequence "
    "number."
)


class DeadLetterError(Exception):
    """Changes could not be written to S3; the message names bucket, key and permission."""


def write_dead_letters(s3: "S3Client", settings: StreamSettings, changes: Sequence[Change]) -> str:
    """Write a batch's dead letters as one object; returns its key.

    The key depends on the changes and not on the time of writing, so that a retry overwrites.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    identity = "\n".join(map(_identity, changes))
    table = changes[0].table or "unknown"
    key = f"{settings.dead_letter_prefix}{table}/{day_and_digest(changes, identity)}.jsonl"
    return put_object(s3, settings.dead_letter_bucket, key, dead_letter_lines(changes))


def dead_letter_lines(changes: Sequence[Change]) -> bytes:
    """Dead letters as JSON Lines: identity, reason and the record whole, as it arrived."""
    return b"".join(_json_line(change).encode("ascii") + b"\n" for change in changes)


def _json_line(change: Change) -> str:
    letter = {
        "event_id": change.event_id,
        "sequence_number": change.sequence_number,
        "table": change.table,
        "code": change.problem and change.problem.code,
        "reason": change.problem and change.problem.reason,
    }
    try:
        return _json({**letter, "record": change.record})
    except (RecursionError, TypeError, ValueError) as error:
        not_json = f" The record cannot be written as JSON ({type(error).__name__}): {NOT_STORED}"
        return _json({**letter, "reason": f"{letter['reason']}{not_json}"})


def _json(value: Any) -> str:
    return json.dumps(value, default=_jsonable, separators=(",", ":"))


def day_and_digest(changes: Sequence[Change], identity: str) -> str:
    """The end of an object's key: the day of its first change, and a hash of its changes.

    The day is that of the first change which states its time; 1970-01-01 where none does.
    """
    seconds = next((change.seconds for change in changes if change.seconds), 0.0)
    day = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
    # The identity may hold a lone surrogate, which UTF-8 has no bytes for.
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{day}/{digest[:32]}"


def put_object(s3: "S3Client", bucket: str, key: str, body: bytes) -> str:
    """Write an object; returns its key.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    if not bucket:
        raise DeadLetterError(
            f"DEAD_LETTER_BUCKET is not set, so {key} cannot be written. Set it to a bucket."
        )
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/x-ndjson")
    except (ClientError, BotoCoreError) as error:
        raise DeadLetterError(
            f"s3://{bucket}/{key} could not be written ({error}). The function's role needs "
            "s3:PutObject there."
        ) from error
    return key


def _identity(change: Change) -> str:
    return change.event_id or change.sequence_number or _json_line(change)


def _jsonable(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.timestamp()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
