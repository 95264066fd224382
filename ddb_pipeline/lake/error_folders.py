"""The folders of error objects, and which of them a run or a tick has to look at.

Error objects lie in a folder for each kind of error and each day: ``errors/KIND/YYYY-MM-DD/``.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ddb_pipeline.lake.layout import ERROR_PREFIX
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

DAY_SECONDS = 86_400
RECHECK_SECONDS = 60
"""How long one of the old folders is the one that is looked at again."""
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})/\Z")
_DAY_DEPTH = 3
"""Slashes in a day's folder. What lies higher is listed without the folders below."""


def error_folders(s3: "S3Client", lake: LakeRoot, prefix: str = ERROR_PREFIX) -> list[str]:
    """The folders that hold error objects, the newest day first; those without a day precede.

    Takes one request for each kind of error and a thousand days. Dead letters have the same layout
    under their ``prefix``, with a folder for each table.
    """
    kinds, has_objects = _below(s3, lake, prefix)
    folders = [prefix] if has_objects else []
    for kind in kinds:
        days, has_objects = _below(s3, lake, kind)
        folders += [kind] if has_objects else []
        folders += days
    return sorted(folders, key=lambda folder: (day_of(folder) or "9999", folder), reverse=True)


def day_of(folder: str) -> str:
    """The day of a folder, ``YYYY-MM-DD``; empty where it is not a day's."""
    found = _DAY.search(folder)
    return found.group(1) if found else ""


def objects_in(s3: "S3Client", lake: LakeRoot, folder: str) -> Iterator[StoredObject]:
    """The error objects of a folder in key order."""
    is_day = folder.count("/") >= _DAY_DEPTH
    return list_objects(s3, lake, folder, delimiter="" if is_day else "/")


def day_at(epoch_seconds: float) -> str:
    """The day that contains a moment, ``YYYY-MM-DD`` in UTC."""
    return f"{datetime.fromtimestamp(epoch_seconds, tz=timezone.utc):%Y-%m-%d}"


def is_recent(folder: str, now: float) -> bool:
    """Whether new objects come into a folder: that of today or yesterday, or one without a day."""
    return (day_of(folder) or "9999") >= day_at(now - DAY_SECONDS)


@dataclass(frozen=True, slots=True)
class FoldersToVisit:
    """The folders in which there may be objects that this schema has not been tried on.

    Attributes:
        recent: those into which new objects come.
        unsettled: the others whose objects were not all tried, the newest day first.
        rechecked: one of the remaining folders, another each minute: a replay of old changes may
            write into any of them.
    """

    recent: Sequence[str]
    unsettled: Sequence[str]
    rechecked: Sequence[str]


def folders_to_visit(
    folders: Sequence[str], settled: Collection[str], now: float
) -> FoldersToVisit:
    """Choose among ``folders`` at ``now``, epoch seconds; ``settled`` are those tried whole."""
    recent = [folder for folder in folders if is_recent(folder, now)]
    old = [folder for folder in folders if not is_recent(folder, now)]
    unsettled = [folder for folder in old if folder not in settled]
    remaining = [folder for folder in old if folder in settled]
    turn = int(now // RECHECK_SECONDS) % len(remaining) if remaining else 0
    return FoldersToVisit(recent, unsettled, remaining[turn : turn + 1])


def _below(s3: "S3Client", lake: LakeRoot, prefix: str) -> tuple[list[str], bool]:
    """The folders directly under a prefix, and whether objects are there too."""
    folders: list[str] = []
    has_objects = False
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=lake.bucket, Prefix=lake.object_key(prefix), Delimiter="/"
    )
    for page in pages:
        found = (entry["Prefix"] for entry in page.get("CommonPrefixes", ()))
        folders += (folder.removeprefix(lake.prefix) for folder in found)
        has_objects = has_objects or any(entry["Size"] for entry in page.get("Contents", ()))
    return folders, has_objects
