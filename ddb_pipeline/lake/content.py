"""Versions of the lake's content: digests that change whenever objects do."""

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ddb_pipeline.lake.layout import STREAM_PREFIX, DeliveryHour, hour_of_key
from ddb_pipeline.lake.objects import StoredObject, list_objects, objects_by_hour

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def content_version(objects: Iterable[StoredObject]) -> str:
    """Changes whenever one of the objects is added, overwritten or removed."""
    return _digest(sorted((stored.key, stored.etag) for stored in objects))


def hour_versions(s3: "S3Client", bucket: str, since: DeliveryHour) -> dict[DeliveryHour, str]:
    """The content version of each delivered hour from ``since`` on."""
    hours = objects_by_hour(list_objects(s3, bucket, STREAM_PREFIX))
    return {hour: content_version(found) for hour, found in hours.items() if hour >= since}


def stream_version(versions: Mapping[DeliveryHour, str]) -> str:
    """Changes whenever an object of any of the hours is added, overwritten or removed."""
    return _digest([[hour.partition_key, version] for hour, version in sorted(versions.items())])


def delivered_within(days: int, now: float) -> Callable[[str], bool]:
    """Whether an object's key names an hour of the last ``days`` and the day before them.

    ``now`` is in epoch seconds.
    """
    oldest = DeliveryHour.of(now - 86_400 * (days + 1))

    def is_recent(key: str) -> bool:
        hour = hour_of_key(key)
        return hour is not None and hour >= oldest

    return is_recent


def _digest(content: Any) -> str:
    return sha256(json.dumps(content).encode("utf-8")).hexdigest()[:16]
