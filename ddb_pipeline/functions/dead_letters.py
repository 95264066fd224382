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
    return b"".join(
        json.dumps(
            {
                "event_id": change.event_id,
                "sequence_number": change.sequence_number,
                "table": change.table,
                "code": change.problem and change.problem.code,
                "reason": change.problem and change.problem.reason,
                "record": change.record,
            },
            default=_jsonable,
            separators=(",", ":"),
        ).encode("ascii")
        + b"\n"
        for change in changes
    )


def day_and_digest(changes: Sequence[Change], identity: str) -> str:
    """The end of an object's key: the day of its first change, and a hash of its changes."""
    day = datetime.fromtimestamp(changes[0].seconds, timezone.utc).strftime("%Y-%m-%d")
    return f"{day}/{hashlib.sha256(identity.encode('utf-8')).hexdigest()[:32]}"


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
