"""``ddb-pipeline export``: export a table to S3, or scan it into the same layout."""

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import click
from botocore.exceptions import ClientError
from rich.console import Console

from ddb_pipeline.cli.locations import S3
from ddb_pipeline.cli.regions import cloud_of_table
from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.export.layout import DYNAMODB_JSON, ION, NEW_AND_OLD_IMAGES, VIEWS
from ddb_pipeline.export.request import ExportState, start_export, wait_for_export
from ddb_pipeline.export.scan import scan_to_export
from ddb_pipeline.export.window import Window
from ddb_pipeline.glue.crawled_table import dynamodb_error
from ddb_pipeline.hive.times import read_timestamp
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline.resources.cloud import CloudResource


class UtcTime(click.ParamType[datetime]):
    """A time in ISO 8601, to the second."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        """The time in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return read_timestamp(value).replace(tzinfo=timezone.utc)
        except UndecodableValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-26T09:00:00Z.", param, ctx)


def given_window(from_time: datetime | None, to_time: datetime | None) -> Window | None:
    """The window that the options give; None if they give none.

    Raises:
        click.UsageError: only one of the times is given.
        WindowRefusedError: DynamoDB makes no exports of such windows.
    """
    if from_time is None and to_time is None:
        return None
    if from_time is None or to_time is None:
        raise click.UsageError("Give --from and --to, or neither.")
    return Window(from_time, to_time)


@click.command("export")
@click.argument("table")
@click.argument("destination")
@click.option("--scan", is_flag=True, help="Scan a table that has no point-in-time recovery.")
@click.option(
    "--scan-rate",
    type=click.FloatRange(0.1, 1.5),
    help="Share of the table's read capacity that the scan may use.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice([DYNAMODB_JSON, ION]),
    default=DYNAMODB_JSON,
    show_default=True,
    help="Format of the data files; a scan writes DYNAMODB_JSON.",
)
@click.option(
    "--from",
    "from_time",
    type=UtcTime(),
    help="Export the changes from this time on: 2026-11-26T09:00:00Z, UTC without a zone.",
)
@click.option("--to", "to_time", type=UtcTime(), help="The time up to which, exclusive.")
@click.option(
    "--view",
    type=click.Choice(VIEWS),
    default=NEW_AND_OLD_IMAGES,
    show_default=True,
    help="Images of the changed items.",
)
def export_command(
    table: str,
    destination: str,
    scan: bool,
    scan_rate: float | None,
    output_format: str,
    from_time: datetime | None,
    to_time: datetime | None,
    view: str,
) -> None:
    """Export a DynamoDB table to S3.

    TABLE is the table's name, DESTINATION an s3:// URL. The command waits until the export is
    complete.

    DynamoDB exports tables that have point-in-time recovery; this uses no read capacity. With
    --scan the table is read with a share of its read capacity and written in the same layout.

    With --from and --to the export is incremental: it has the items that changed in this window of
    15 minutes to 24 hours, each as it was at the window's end.
    """
    window = given_window(from_time, to_time)
    if window is not None and scan:
        raise click.UsageError("A scan cannot read the changes of a window.")
    if not destination.startswith(S3):
        raise click.UsageError(f"{destination} is not an s3:// URL.")
    bucket, _, prefix = destination[len(S3) :].strip("/").partition("/")
    cloud = cloud_of_table(load_settings(), table)
    started = time.monotonic()
    with Console(stderr=True).status(f"Exporting {table}") as status:
        try:
            folder, items = (
                scanned(cloud, table, bucket, prefix, scan_rate, status.update)
                if scan
                else exported(
                    cloud, table, bucket, prefix, output_format, window, view, status.update
                )
            )
        except ClientError as error:
            if error.operation_name in ("DescribeTable", "Scan"):
                raise dynamodb_error(error, table) from error
            raise click.ClickException(f"Bucket {bucket!r} cannot be written: {error}") from error
    click.echo(f"{items:,} items in {time.monotonic() - started:.1f} s: {S3}{folder}")


def scanned(
    cloud: CloudResource,
    table: str,
    bucket: str,
    prefix: str,
    scan_rate: float | None,
    show: Callable[[str], None],
) -> tuple[str, int]:
    """Scan the table; returns ``bucket/prefix`` of the export and the number of items."""
    folder, export = scan_to_export(
        cloud.dynamodb,
        cloud.s3,
        table,
        bucket,
        prefix,
        scan_rate=scan_rate,
        on_progress=lambda items: show(f"{items:,} items read"),
    )
    return folder, export.summary.item_count


def exported(
    cloud: CloudResource,
    table: str,
    bucket: str,
    prefix: str,
    output_format: str,
    window: Window | None,
    view: str,
    show: Callable[[str], None],
) -> tuple[str, int]:
    """Let DynamoDB export the table; returns ``bucket/prefix`` of the export and the items."""
    arn = cloud.dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    started = start_export(
        cloud.dynamodb, arn, bucket, prefix, window=window, output_format=output_format, view=view
    )

    def on_progress(state: ExportState, seconds: float) -> None:
        show(f"Export of {table} is {state.status} after {seconds:.0f} s")

    state = wait_for_export(
        cloud.dynamodb,
        started.arn,
        poll_seconds=1.0 if cloud.embedded else 30.0,
        on_progress=on_progress,
    )
    return state.folder, state.items
