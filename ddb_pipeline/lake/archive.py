"""Objects whose records are redelivered: a copy of each is stored before it changes."""

import hashlib
from typing import TYPE_CHECKING

from ddb_pipeline.lake.conditional import create
from ddb_pipeline.lake.layout import REDELIVERED_PREFIX
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def content_id(key: str, content: bytes) -> str:
    """Identifies an object's content under its key, whoever reads it and whenever."""
    return hashlib.sha256(key.encode("utf-8") + b"\0" + content).hexdigest()[:32]


def archive_key(key: str, version: str) -> str:
    """The key of the copy of a content, of which ``version`` is the id."""
    return f"{REDELIVERED_PREFIX}{key}.{version[:8]}"


def archive(s3: "S3Client", lake: LakeRoot, key: str, content: bytes) -> None:
    """Store what was read of an object under the prefix of redelivered objects; may run twice."""
    create(s3, lake, archive_key(key, content_id(key, content)), content)
