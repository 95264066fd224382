"""Exports in a bucket of an emulator, opened by boto3."""

from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from ddb_pipeline.export.read import Open


def s3_objects(s3: Any, bucket: str) -> Open:
    """Opens a bucket's objects by their keys."""

    def open_object(key: str) -> BinaryIO:
        try:
            body: BinaryIO = s3.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise FileNotFoundError(key) from error
            raise
        return body

    return open_object
