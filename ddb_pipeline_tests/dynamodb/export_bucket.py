"""Exports in a bucket, opened by boto3."""

from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import ClientError

from ddb_pipeline.dynamodb.export_read import ExportError, Open

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def s3_objects(s3: "S3Client", bucket: str) -> Open:
    """Opens a bucket's objects as streams."""

    def open_object(key: str) -> BinaryIO:
        try:
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise FileNotFoundError(key) from error
            raise ExportError(
                key, f"cannot be read from bucket {bucket!r}: {error}. It takes s3:GetObject."
            ) from error
        return body  # type: ignore[return-value]

    return open_object
