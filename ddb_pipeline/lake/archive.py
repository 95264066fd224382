"""Objects whose records are redelivered: a copy of each is stored before it changes."""

from typing import TYPE_CHECKING

from ddb_pipeline.lake.layout import REDELIVERED_PREFIX
from ddb_pipeline.lake.objects import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def archive(s3: "S3Client", bucket: str, stored: StoredObject, version: str) -> None:
    """Copy an object under the prefix of redelivered objects; it may run twice.

    ``version`` identifies the object's content; its first 8 characters end the copy's key.
    """
    s3.copy_object(
        Bucket=bucket,
        CopySource={"Bucket": bucket, "Key": stored.key},
        Key=f"{REDELIVERED_PREFIX}{stored.key}.{version[:8]}",
    )


def overwrite_or_delete(s3: "S3Client", bucket: str, stored: StoredObject, rest: bytes) -> None:
    """Leave only ``rest`` in an object; delete the object if that is empty."""
    if rest:
        s3.put_object(Bucket=bucket, Key=stored.key, Body=rest)
    else:
        s3.delete_object(Bucket=bucket, Key=stored.key)
