"""Objects of a lake: listings, and their grouping by delivery hour."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a lake; ``key`` is that in the lake, ``size`` in bytes, ``modified_at`` in epoch
    seconds."""

    key: str
    size: int
    etag: str
    modified_at: float


def list_objects(
    s3: "S3Client",
    lake: LakeRoot,
    prefix: str,
    *,
    limit: int | None = None,
    start_after: str = "",
    delimiter: str = "",
    with_empty: bool = False,
) -> Iterator[StoredObject]:
    """List the objects under a prefix in key order, at most ``limit``, without empty objects.

    With ``start_after`` from the first key that sorts after it on. With a ``delimiter`` without the
    objects whose key has it after the prefix. With ``with_empty`` also those that are empty.
    """
    count = 0
    request: Any = {"Bucket": lake.bucket, "Prefix": lake.object_key(prefix)}
    if start_after:
        request["StartAfter"] = lake.object_key(start_after)
    if delimiter:
        request["Delimiter"] = delimiter
    for page in s3.get_paginator("list_objects_v2").paginate(**request):
        for entry in page.get("Contents", ()):
            if not with_empty and (not entry["Size"] or entry["Key"].endswith("/")):
                continue
            yield StoredObject(
                entry["Key"].removeprefix(lake.prefix),
                entry["Size"],
                entry["ETag"].strip('"'),
                entry["LastModified"].timestamp(),
            )
            count += 1
            if limit is not None and count >= limit:
                return


def list_folders(s3: "S3Client", lake: LakeRoot, prefix: str) -> Iterator[str]:
    """The prefixes, each with a slash at the end, of which the first slash after ``prefix`` ends
    the name."""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=lake.bucket, Prefix=lake.object_key(prefix), Delimiter="/"
    )
    for page in pages:
        for entry in page.get("CommonPrefixes", ()):
            yield entry["Prefix"].removeprefix(lake.prefix)


def read_object(s3: "S3Client", lake: LakeRoot, key: str) -> bytes:
    """The whole body of an object."""
    return s3.get_object(Bucket=lake.bucket, Key=lake.object_key(key))["Body"].read()
