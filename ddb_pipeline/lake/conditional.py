"""Conditional reads and writes of a lake's objects: what another writer did is not overwritten.

Each write states which content it expects to find; S3 compares that with the object's ETag and
writes, as one step ("Add preconditions to S3 operations with conditional requests", S3 User Guide).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client

CHANGED_CODES = frozenset(("PreconditionFailed", "412", "NoSuchKey", "404"))
"""Another writer has created, changed or deleted the object. A conditional write or delete of a
missing object is answered with 404."""
CONFLICT_CODE = "ConditionalRequestConflict"
"""Another write of this key was in progress: the request may be sent again (PutObject, S3 API)."""
CONFLICT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """An object as it was read; ``modified_at`` in epoch seconds."""

    content: bytes
    etag: str
    modified_at: float


def read_if_exists(s3: "S3Client", lake: LakeRoot, key: str) -> ObjectBody | None:
    """The object of a key with the ETag of just this content; None where there is none."""
    try:
        found = s3.get_object(Bucket=lake.bucket, Key=lake.object_key(key))
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404"):
            return None
        raise
    return ObjectBody(found["Body"].read(), found["ETag"], found["LastModified"].timestamp())


def create(s3: "S3Client", lake: LakeRoot, key: str, content: bytes) -> str | None:
    """Write an object unless the key has one.

    Returns its ETag; None where the key has an object. If the response to a write was lost, boto3
    sends it again, and this returns None although it was written: where that matters, the caller
    reads what is there.
    """
    put = _unless_changed(
        lambda: s3.put_object(
            Bucket=lake.bucket, Key=lake.object_key(key), Body=content, IfNoneMatch="*"
        )
    )
    return None if put is None else str(put["ETag"])


def replace(s3: "S3Client", lake: LakeRoot, key: str, content: bytes, etag: str) -> str | None:
    """Overwrite an object if it still has this ETag.

    Returns its new ETag; None where another writer has changed or deleted it.
    """
    put = _unless_changed(
        lambda: s3.put_object(
            Bucket=lake.bucket, Key=lake.object_key(key), Body=content, IfMatch=etag
        )
    )
    return None if put is None else str(put["ETag"])


def delete(s3: "S3Client", lake: LakeRoot, key: str, etag: str) -> bool:
    """Delete an object if it still has this ETag; returns whether it had."""
    request = _unless_changed(
        lambda: s3.delete_object(Bucket=lake.bucket, Key=lake.object_key(key), IfMatch=etag)
    )
    return request is not None


def leave(s3: "S3Client", lake: LakeRoot, key: str, rest: bytes, etag: str) -> str:
    """Leave only ``rest`` in an object that still has this ETag; delete it if that is empty.

    Returns the new ETag; empty where the object is gone or another writer has changed it.
    """
    if rest:
        return replace(s3, lake, key, rest, etag) or ""
    delete(s3, lake, key, etag)
    return ""


def _unless_changed(request: "Callable[[], Any]") -> Any:
    """The response; None where the request's condition does not hold."""
    for attempt in range(1, CONFLICT_ATTEMPTS + 1):
        try:
            return request()
        except ClientError as error:
            code = error_code(error)
            if code in CHANGED_CODES:
                return None
            if code != CONFLICT_CODE or attempt == CONFLICT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")
