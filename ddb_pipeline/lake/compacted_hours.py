"""Hours that were compacted and may have something to remove: older generations, raw objects.

A small object for each such hour, written before a compaction writes anything, so that whoever
removes what is not needed any more visits these hours only, and finds what a compaction left that
was killed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ddb_pipeline.lake.layout import STATE_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

COMPACTED_HOURS_PREFIX = f"{STATE_PREFIX}compacted-hours/"


def note_compaction(s3: "S3Client", lake: LakeRoot, hour: DeliveryHour, folder: str) -> None:
    """Note that a compaction of an hour begins to write a generation to this folder."""
    s3.put_object(Bucket=lake.bucket, Key=lake.object_key(_key(hour)), Body=folder.encode("ascii"))


def compacted_hours(s3: "S3Client", lake: LakeRoot) -> Iterator[tuple[DeliveryHour, StoredObject]]:
    """The noted hours, the oldest first, each with its object."""
    for stored in list_objects(s3, lake, COMPACTED_HOURS_PREFIX):
        name = stored.key.removeprefix(COMPACTED_HOURS_PREFIX)
        yield DeliveryHour(name[:10], name[11:13]), stored


def _key(hour: DeliveryHour) -> str:
    return f"{COMPACTED_HOURS_PREFIX}{hour.date}-{hour.hour}"
