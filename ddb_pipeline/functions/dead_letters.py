"""Dead letters: changes that can never be delivered, stored in S3 with the reason."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.dynamodb.stream import UndecodableRecordError
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.changes import Change
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.redacted_records import redacted_record
from ddb_pipeline.functions.rules import NO_REDACTION, Rules

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


NOT_STORED = (
    "The record is not stored here{why}. The stream holds it for 24 hours; replay it from there by "
    "its sequence number."
)


class DeadLetterError(DdbPipelineError):
    """Changes could not be written to S3; the message names bucket, key and permission."""


def write_dead_letters(s3: "S3Client", rules: Rules, changes: Sequence[Change]) -> str:
    """Write a batch's dead letters as one object; returns its key.

    The key depends on the changes and not on the time of writing, so that a retry overwrites.

    Raises:
        DeadLetterError: there is no bucket, or S3 did not take the object.
    """
    settings = rules.settings
    lines = [dead_letter_line(change, rules.redaction) for change in changes]
    identity = "\n".join(
        change.event_id or change.sequence_number or line
        for change, line in zip(changes, lines, strict=True)
    )
    table = next(filter(None, (change.table for change in changes)), "unknown")
    key = f"{settings.dead_letter_prefix}{table}/{day_and_digest(changes, identity)}.jsonl"
    body = "".join(line + "\n" for line in lines).encode("ascii")
    return put_object(s3, settings.dead_letter_bucket, key, body)


def dead_letter_line(change: Change, redaction: Redaction = NO_REDACTION) -> str:
    """A dead letter as JSON: identity, reason, and the record, from which it can be replayed.

    The record is stored as it arrived. With a redaction it is the record after that, marked as
    such (see ``redacted_records``). A record that cannot be redacted, because it or a value on the
    way to a redacted attribute is malformed, is not stored at all, and the reason says so.
    """
    reason = change.problem.reason if change.problem else ""
    letter: dict[str, Any] = {
        "event_id": change.event_id,
        "sequence_number": change.sequence_number,
        "table": change.table,
        "code": change.problem and change.problem.code,
        "reason": reason,
    }
    try:
        return _json({**letter, "record": _stored_record(change, redaction)})
    except (UndecodableRecordError, SettingsError):
        why = ", because it cannot be redacted"
    except (RecursionError, TypeError, ValueError) as error:
        why = f", because it is not JSON ({type(error).__name__})"
    return _json({**letter, "reason": f"{reason} {NOT_STORED.format(why=why)}"})


def _stored_record(change: Change, redaction: Redaction) -> Any:
    if not redaction:
        return change.record
    if change.decoded is None:
        raise UndecodableRecordError(change.event_id, "a malformed record cannot be redacted")
    return redacted_record(change.record, change.decoded, change.delivery_stream, redaction)


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


def _jsonable(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.timestamp()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
