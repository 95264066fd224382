"""A scan written as an export, for tables without point-in-time recovery.

It has the layout and the manifests of an export. Unlike an export it is not one point in time: each
item is in the state that it had when the scan read its page. A scan uses the table's read capacity.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ddb_pipeline.dynamodb.scan import plan_scan, scan_pages
from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.layout import Export, export_folder, new_export_id, write_export

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client


def scan_to_export(
    dynamodb: "DynamoDBClient",
    s3: "S3Client",
    table: str,
    bucket: str,
    prefix: str = "",
    *,
    scan_rate: float | None = None,
    export_id: str = "",
    on_progress: Callable[[int], None] = lambda items: None,
) -> tuple[str, Export]:
    """Scan a table into a bucket. The manifests are written last, when the scan is complete.

    Args:
        scan_rate: share of the table's read capacity, see ``plan_scan``.
        on_progress: called with the number of items read so far.

    Returns:
        The export's folder, ``bucket/prefix``, and its manifests.
    """
    description = dynamodb.describe_table(TableName=table)["Table"]
    plan = plan_scan(description, scan_all=True, scan_rate=scan_rate)
    started = datetime.now(timezone.utc)
    export_id = export_id or new_export_id(started)

    def put(key: str, body: bytes) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    export = write_export(
        _counted(scan_pages(dynamodb, table, plan), on_progress),
        put,
        table_arn=description["TableArn"],
        table_id=description.get("TableId", ""),
        bucket=bucket,
        prefix=prefix,
        export_id=export_id,
        export_time=started,
    )
    return f"{bucket}/{export_folder(prefix, export_id)}".rstrip("/"), export


def _counted(pages: Iterable[Sequence[Item]], on_progress: Callable[[int], None]) -> Iterator[Item]:
    read = 0
    for page in pages:
        yield from page
        read += len(page)
        on_progress(read)
