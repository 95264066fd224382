"""The exports under a prefix of a bucket, in the order of their ids, and which are finished."""

from itertools import islice
from typing import TYPE_CHECKING

from ddb_pipeline.export.layout import DATA_FOLDER, SUMMARY, export_folder
from ddb_pipeline.export.manifest import MalformedExportError, read_summary

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def export_ids(
    s3: "S3Client", bucket: str, prefix: str, *, after: str = "", limit: int
) -> list[str]:
    """Ids of the exports under a prefix that sort after ``after``, finished or not, at most
    ``limit``; oldest first, since an id begins with the time of its request."""
    root = export_folder(prefix, "").removesuffix("/")
    # "0" is the character after "/": it sorts after all keys of the folder ``after``.
    start_after = f"{root}{after}0" if after else ""
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket,
        Prefix=root,
        Delimiter="/",
        StartAfter=start_after,
        PaginationConfig={"PageSize": min(limit, 1000)},
    )
    folders = (entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ()))
    names = (folder[len(root) : -1] for folder in islice(folders, limit))
    return [name for name in names if name != DATA_FOLDER]


def first_id(seconds: float) -> str:
    """Sorts before the ids of all exports requested at ``seconds`` of the epoch or later."""
    return f"{int(seconds * 1000):014d}"


def is_incremental(s3: "S3Client", bucket: str, prefix: str, export_id: str) -> bool | None:
    """Whether an export is incremental; None where its summary manifest is not written yet.

    DynamoDB writes the summary manifest last. One that cannot be read counts as that of a full
    export; who opens the export gets the reason.
    """
    key = f"{export_folder(prefix, export_id)}{SUMMARY}.json"
    if not s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"):
        return None
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        return read_summary(key, body).incremental
    except MalformedExportError:
        return False
