"""A scan written as an export, for tables without point-in-time recovery.

Same layout, same manifests, so that whatever reads an export reads it. Other than an export it is
no single point in time: an item written while the scan runs is in it as it was when its page was
read, and the scan consumes the table's read capacity.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ddb_pipeline.dynamodb.scan import Item, plan_scan, scan_pages
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
    """Scan a table into a bucket; answers with the export's folder, ``bucket/prefix``.

    Nothing is to be found there before the scan is complete: the manifests come last.
    ``scan_rate`` is the share of the table's read capacity, see ``plan_scan``.
    """
    description = dynamodb.describe_table(TableName=table)["Table"]
    plan = plan_scan(description, scan_all=True, scan_rate=scan_rate)
    started = datetime.now(timezone.utc)
    export_id = export_id or new_export_id(started)

    def put(key: str, body: bytes) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    def items() -> Iterator[Item]:
        read = 0
        for page in scan_pages(dynamodb, table, plan):
            yield from page
            read += len(page)
            on_progress(read)

    export = write_export(
        items(),
        put,
        table_arn=description["TableArn"],
        table_id=description.get("TableId", ""),
        bucket=bucket,
        prefix=prefix,
        export_id=export_id,
        export_time=started,
    )
    return f"{bucket}/{export_folder(prefix, export_id)}".rstrip("/"), export
