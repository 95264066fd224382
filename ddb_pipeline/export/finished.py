"""The finished exports under a prefix of a bucket."""

from typing import TYPE_CHECKING

from ddb_pipeline.export.layout import FOLDER, SUMMARY

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def finished_exports(s3: "S3Client", bucket: str, prefix: str) -> list[str]:
    """Ids of the exports under a prefix whose summary manifest is written, oldest first.

    DynamoDB writes the manifest last. An export's id begins with the time of its request.
    """
    root = f"{prefix.strip('/')}/{FOLDER}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root, Delimiter="/")
    folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
    return sorted(folder[len(root) : -1] for folder in folders if _has_manifest(s3, bucket, folder))


def _has_manifest(s3: "S3Client", bucket: str, folder: str) -> bool:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}{SUMMARY}.json", MaxKeys=1)
    return bool(listed.get("Contents"))
