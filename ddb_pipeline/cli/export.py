"""``ddb-pipeline export``: a table exported to S3, or scanned into the same layout."""

import time

import click
from rich.console import Console

from ddb_pipeline.cli.places import S3
from ddb_pipeline.dynamodb.export import DYNAMODB_JSON, ION
from ddb_pipeline.dynamodb.export_request import ExportState, start_export, wait_for_export
from ddb_pipeline.dynamodb.scan_export import scan_to_export


@click.command("export")
@click.argument("table")
@click.argument("destination")
@click.option("--scan", is_flag=True, help="Scan the table: for one without recovery.")
@click.option(
    "--scan-rate",
    type=click.FloatRange(0.1, 1.5),
    help="Share of the table's read capacity that a scan takes.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice([DYNAMODB_JSON, ION]),
    default=DYNAMODB_JSON,
    show_default=True,
)
def export_command(
    table: str, destination: str, scan: bool, scan_rate: float | None, output_format: str
) -> None:
    """Export TABLE to DESTINATION, an s3:// URL, and wait for it.

    DynamoDB exports tables with point-in-time recovery, at no cost of read capacity. With --scan
    the table is read within a budget of its capacity and written in the same layout.
    """
    # Dagster's AWS resources are slow to import.
    from ddb_pipeline.config import load_settings
    from ddb_pipeline.resources.cloud import CloudResource

    if not destination.startswith(S3):
        raise click.UsageError(f"{destination} is no s3:// URL.")
    bucket, _, prefix = destination[len(S3) :].strip("/").partition("/")
    cloud = CloudResource.of(load_settings())
    console = Console(stderr=True)
    started = time.monotonic()
    with console.status(f"Exporting {table}") as status:
        if scan:
            folder, export = scan_to_export(
                cloud.dynamodb,
                cloud.s3,
                table,
                bucket,
                prefix,
                scan_rate=scan_rate,
                on_progress=lambda items: status.update(f"{items:,} items read"),
            )
            items = export.summary.item_count
        else:
            arn = cloud.dynamodb.describe_table(TableName=table)["Table"]["TableArn"]

            def told(state: ExportState, seconds: float) -> None:
                status.update(f"Export of {table} is {state.status} after {seconds:.0f} s")

            state = wait_for_export(
                cloud.dynamodb,
                start_export(cloud.dynamodb, arn, bucket, prefix, output_format=output_format).arn,
                poll_seconds=1.0 if cloud.embedded else 30.0,
                on_progress=told,
            )
            folder, items = state.folder, state.items
    seconds = time.monotonic() - started
    click.echo(f"{items:,} items in {seconds:.1f} s: {S3}{folder}")
