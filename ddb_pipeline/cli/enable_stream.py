"""``ddb-pipeline enable-stream``: the stream of a DynamoDB table that exists."""

import click

from ddb_pipeline.config.settings import account_settings
from ddb_pipeline.dynamodb.table_streams import StreamChange, apply_stream_plan, stream_plan
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.resources.cloud import CloudResource


@click.command("enable-stream")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--replace", is_flag=True, help="Also turn a stream with other images off and on again."
)
@click.option("--region", default="", help="The tables' region. Default: the configuration's.")
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
def enable_stream(
    tables: tuple[str, ...], yes: bool, replace: bool, region: str, dry_run: bool
) -> None:
    """Turn on the streams of DynamoDB tables that exist.

    A stream gets new and old images. Prints what changes, and asks. A stream with other images is
    only replaced with --replace: its readers would get no later changes.
    """
    cloud = CloudResource.of(account_settings(), deploys=False).in_region(region)
    plans = [stream_plan(describe_table(cloud.dynamodb, name)) for name in tables]
    for plan in plans:
        click.echo(plan.text)
    refused = [plan.table.name for plan in plans if plan.change is StreamChange.REPLACE]
    if refused and not replace and not dry_run:
        raise click.UsageError(
            f"Streams with other images are not replaced without --replace: {', '.join(refused)}."
        )
    changes = [plan for plan in plans if plan.change is not StreamChange.NONE]
    if dry_run or not changes:
        return
    if not yes:
        click.confirm(f"Change {len(changes)} table(s)?", abort=True)
    for plan in changes:
        arn = apply_stream_plan(cloud.dynamodb, plan)
        click.echo(f"{plan.table.name}: the stream {arn} is on.")
    click.echo("Configure these tables with existing_table = true, then run: ddb-pipeline deploy")
