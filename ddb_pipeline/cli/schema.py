"""``ddb-pipeline crawl``, ``fix`` and ``ddl``: schemas in the Glue catalog."""

import json

import click

from ddb_pipeline.cli.regions import (
    cloud_of_catalog_table,
    cloud_of_table,
    decisions_of_catalog_table,
)
from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.glue.catalog import TableReference, read_table
from ddb_pipeline.glue.crawled_table import CrawlTarget, run_crawl
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.repair import Repair, fix_table


@click.command()
@click.argument("database")
@click.argument("table")
@click.option("--dry-run", is_flag=True, help="Print the changes and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def fix(database: str, table: str, dry_run: bool, as_json: bool) -> None:
    """Repair the column types of a Glue table for Firehose.

    Sets become arrays at any depth. Other types that Firehose, Hive, Spark or Athena refuse are
    repaired too, and the types of a configured pipeline's crawled table follow its type_conflicts.
    A table of files is left alone: its types are those of its files. The update names the table's
    VersionId, so that it overwrites no concurrent one.
    """
    settings, reference = load_settings(), TableReference(database, table)
    repair = fix_table(
        cloud_of_catalog_table(settings, reference).glue,
        reference,
        decisions_of_catalog_table(settings, reference),
        dry_run=dry_run,
    )
    click.echo(repair_json(repair) if as_json else repair_text(repair, dry_run=dry_run))


def repair_json(repair: Repair) -> str:
    """The repair as one JSON object."""
    return json.dumps(
        {
            "table": str(repair.table),
            "version_before": repair.version_before,
            "version_after": repair.version_after,
            "written": repair.written,
            "left_alone": repair.left_alone,
            "changes": [
                {
                    "column": change.column,
                    "path": change.path,
                    "before": change.before,
                    "after": change.after,
                    "reason": change.reason,
                }
                for change in repair.changes
            ],
        }
    )


def repair_text(repair: Repair, *, dry_run: bool) -> str:
    """The repair as a diff: for each change the reason, the old line and the new line."""
    if repair.left_alone:
        return (
            f"{repair.table}: nothing written, because {repair.left_alone}. Only tables of a "
            "DynamoDB table are repaired; the types of files stay."
        )
    if not repair.changes:
        return f"{repair.table}: version {repair.version_before}, every column is valid."
    lines = []
    for change in repair.changes:
        lines += [
            f"@ {change.path}: {change.reason}",
            click.style(f"- {change.before}", fg="red"),
            click.style(f"+ {change.after}", fg="green"),
        ]
    count = len(repair.changes)
    if dry_run:
        lines.append(f"{repair.table}: {count} change(s) to make, nothing written.")
    else:
        versions = f"version {repair.version_before} -> {repair.version_after}"
        lines.append(f"{repair.table}: {count} change(s) made, {versions}.")
    return "\n".join(lines)


@click.command()
@click.argument("dynamodb_table")
@click.argument("database")
@click.option(
    "--scan-all/--sample",
    default=True,
    show_default=True,
    help="Read all items or a sample.",
)
@click.option(
    "--scan-rate",
    type=click.FloatRange(0.1, 1.5),
    help="Share of the table's read capacity that the scan may use.",
)
@click.option("--table-prefix", default="", help="Prefix of the catalog table's name.")
def crawl(
    dynamodb_table: str,
    database: str,
    scan_all: bool,
    scan_rate: float | None,
    table_prefix: str,
) -> None:
    """Write a DynamoDB table's schema to the Glue catalog.

    The items of DYNAMODB_TABLE are scanned, and the catalog table in DATABASE gets the columns that
    a Glue crawler would write. No Glue crawler is needed.
    """
    cloud = cloud_of_table(load_settings(), dynamodb_table)
    target = CrawlTarget(dynamodb_table, scan_all=scan_all, scan_rate=scan_rate)
    result = run_crawl(
        cloud.dynamodb, cloud.glue, target, database=database, table_prefix=table_prefix
    )
    verb = "created" if result.created else "updated" if result.changed else "unchanged"
    click.echo(f"{result.table}: {verb}, {len(result.columns)} columns from {result.items} items.")
    for column in result.columns:
        click.echo(f"  {column.name}: {column.type}")


@click.command()
@click.argument("database")
@click.argument("table")
@click.option(
    "--dialect",
    type=click.Choice([dialect.value for dialect in Dialect]),
    default=Dialect.SPARK.value,
    show_default=True,
    help="SQL dialect; hive is for Hive and Athena.",
)
@click.option("--location", default="", help="Location of the data, if not the table's.")
def ddl(database: str, table: str, dialect: str, location: str) -> None:
    """Print the CREATE TABLE statement of a Parquet table."""
    reference = TableReference(database, table)
    found = read_table(cloud_of_catalog_table(load_settings(), reference).glue, reference)
    click.echo(create_statement(found, Dialect(dialect), location=location) + ";")
