"""Exports in a bucket: one in memory, or one of an emulator that boto3 opens."""

import io
from datetime import datetime, timezone
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from ddb_pipeline.export.layout import Export, md5_text, write_export
from ddb_pipeline.export.manifest import Open
from ddb_pipeline.export.read import read_items

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=timezone.utc)
ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/search-logs"
FOLDER = "lake/AWSDynamoDB/01767323045678-a1b2c3d4/"


class Objects(dict[str, bytes]):
    """A bucket in memory."""

    def open(self, key: str) -> BinaryIO:
        if key not in self:
            raise FileNotFoundError(key)
        return io.BytesIO(self[key])


def numbered_items(count: int) -> list[dict[str, Any]]:
    return [{"id": {"S": str(number)}, "n": {"N": str(number)}} for number in range(count)]


def written(objects: Objects, some: Any, **options: Any) -> Export:
    return write_export(
        some,
        objects.__setitem__,
        table_arn=ARN,
        bucket="bucket",
        prefix="lake",
        export_id="01767323045678-a1b2c3d4",
        export_time=NOW,
        now=lambda: NOW,
        **options,
    )


def all_items(objects: Objects, export: Export) -> list[Any]:
    return [item for file in export.files for item in read_items(objects.open, file)]


def export_of_one_file(body: bytes, **changes: Any) -> tuple[Objects, Any]:
    """An export with this data file, whose checksum the manifest has."""
    objects = Objects()
    export = written(objects, numbered_items(2), files=1)
    objects[export.files[0].key] = body
    return objects, export.files[0]._replace(md5=md5_text(body), **changes)


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
