"""Versions of the lake's content: digests that change whenever objects do."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ddb_pipeline.lake.layout import STREAM_PREFIX, DeliveryHour, hour_of_key
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

COMPACTED_SUFFIX = "-compacted"
SLICE_OBJECTS = 1000
"""The objects that one LIST request returns at most (S3 API reference, ListObjectsV2)."""


def content_version(objects: Iterable[StoredObject]) -> str:
    """Changes whenever one of the objects is added, overwritten or removed."""
    return _digest(sorted((stored.key, stored.etag) for stored in objects))


def hour_version(s3: "S3Client", lake: LakeRoot, hour: DeliveryHour) -> str:
    """The content version of one hour; that of an hour without objects is ``NO_CONTENT``."""
    return content_version(list_objects(s3, lake, hour.prefix))


def processed_version(content: str, *, compacted: bool) -> str:
    """The version that a run records that processed an hour's content, compacted or not."""
    return content + COMPACTED_SUFFIX if compacted and content != NO_CONTENT else content


def is_processed(wanted: str, recorded: str) -> bool:
    """Whether an hour, of which ``wanted`` would be recorded now, is in the recorded state.

    The raw objects of a compacted hour may be removed: its rows stay where they are.
    """
    return wanted == recorded or (wanted == NO_CONTENT and recorded.endswith(COMPACTED_SUFFIX))


def versions_between(
    s3: "S3Client", lake: LakeRoot, first: DeliveryHour, end: DeliveryHour
) -> tuple[dict[DeliveryHour, str], DeliveryHour]:
    """The content versions of the hours from ``first`` on that one or few LIST requests show.

    Returns:
        The version of each hour that has objects, and the hour at which to go on: every hour
        before it was listed completely. At least one hour is; ``end`` and later ones are not.
    """
    found: dict[DeliveryHour, list[StoredObject]] = {}
    objects = list_objects(s3, lake, STREAM_PREFIX, start_after=first.prefix)
    for count, stored in enumerate(objects, start=1):
        if stored.key >= end.prefix:
            break
        hour = hour_of_key(stored.key)
        if hour is not None:
            found.setdefault(hour, []).append(stored)
        if count >= SLICE_OBJECTS and len(found) > 1:
            # The last hour may have more objects than were read.
            end, _ = found.popitem()
            break
    return {hour: content_version(objects) for hour, objects in found.items()}, end


def _digest(content: Any) -> str:
    return sha256(json.dumps(content).encode("utf-8")).hexdigest()[:16]


NO_CONTENT = content_version(())
"""The content version of an hour without objects."""
