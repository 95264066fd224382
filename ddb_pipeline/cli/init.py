"""``ddb-pipeline init``: a configuration for DynamoDB tables that exist."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError

from ddb_pipeline.adoption.proposal import Place, Proposal, derived_tables, propose
from ddb_pipeline.adoption.tables import LookedAt, chosen_tables, look_at, table_names
from ddb_pipeline.adoption.toml_text import MARK, configuration, pipelines_text
from ddb_pipeline.cli.policy import caller_account
from ddb_pipeline.client_errors import error_code
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import account_settings, config_path, parsed_settings
from ddb_pipeline.resources.cloud import CloudResource

STANDARD_OUTPUT = "-"
SAMPLE_ITEMS = 500


@click.command("init")
@click.argument("tables", nargs=-1, metavar="TABLE...")
@click.option("--pattern", default="", help="Also all tables of this pattern, such as 'prod-*'.")
@click.option("--bucket", default="", help="An existing bucket for all; by default one each.")
@click.option("--prefix", default="", help="What all object keys in --bucket begin with.")
@click.option("--database", default="", help="An existing Glue database for all.")
@click.option("--region", default="", help="The tables' region. Default: the configuration's.")
@click.option(
    "--sample",
    default=SAMPLE_ITEMS,
    show_default=True,
    type=click.IntRange(min=0),
    help="Items to read of each table, 1 MB at most; 0: none.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="The file to write, - for standard output. Default: the configuration file.",
)
@click.option("--append", is_flag=True, help="Add to a file that exists the tables it lacks.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def init(
    tables: tuple[str, ...],
    pattern: str,
    bucket: str,
    prefix: str,
    database: str,
    region: str,
    sample: int,
    output: str | None,
    append: bool,
    as_json: bool,
) -> None:
    """Write a configuration for DynamoDB tables that exist.

    Looks at each TABLE (keys, stream, point-in-time recovery, size, and a sample of items) and
    writes a pipeline for it, with comments. What could not be decided is marked DECIDE. Nothing in
    the account is changed.

    A table without a stream of new and old images becomes a comment that says how to turn it on.
    """
    if not tables and not pattern:
        raise click.UsageError("Name tables, or give --pattern.")
    if prefix and not bucket:
        raise click.UsageError("--prefix is a prefix in --bucket. Give both.")
    path = output or str(config_path())
    existing = existing_text(path, append=append)
    settings = account_settings()
    cloud = CloudResource.of(settings, deploys=False).in_region(region)
    configured = configured_pipelines(existing, path)
    region = region or settings.region
    there = [each for each in configured if each.region == region]
    place = place_of(cloud, bucket, prefix, database, there)
    place = replace(place, region="" if region == settings.region else region)
    found = looked_at(cloud, tables, pattern, sample, {each.dynamodb_table for each in there})
    start = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    proposals = propose(found, place, start, {each.name for each in configured})
    text = existing + (
        pipelines_text(proposals)
        if existing
        else configuration(proposals, settings.region, f"{start:%Y-%m-%d}")
    )
    if has_pipelines(text):
        parsed_settings(text, path)
    if path == STANDARD_OUTPUT:
        click.echo(text, nl=False)
        return
    Path(path).write_text(text, "utf-8")
    click.echo(report_json(proposals, path) if as_json else report_text(proposals, path))


def existing_text(path: str, *, append: bool) -> str:
    """The text of the file to which pipelines are added; empty for a new file.

    Raises:
        click.UsageError: the file exists and nothing is to be added to it.
    """
    if path == STANDARD_OUTPUT or not Path(path).exists():
        return ""
    if not append:
        raise click.UsageError(
            f"{path} exists. Give --append to add the tables that it lacks, or --output FILE."
        )
    return Path(path).read_text("utf-8").rstrip("\n") + "\n"


def configured_pipelines(text: str, path: str) -> tuple[PipelineConfig, ...]:
    """The pipelines of a configuration file's text.

    Raises:
        ConfigError: the text is not a valid configuration.
    """
    return parsed_settings(text, path).pipelines if has_pipelines(text) else ()


def has_pipelines(text: str) -> bool:
    """Whether a configuration file's text has pipelines, and not only comments."""
    return any(line.strip().startswith("[[pipelines]]") for line in text.splitlines())


def looked_at(
    cloud: CloudResource,
    tables: Sequence[str],
    pattern: str,
    sample: int,
    configured: Iterable[str],
) -> list[LookedAt]:
    """The tables that are named or match the pattern, but for those that are configured.

    Raises:
        click.ClickException: all are configured already.
    """
    skipped = set(configured)
    existing = table_names(cloud.dynamodb) if pattern else ()
    names = [each for each in chosen_tables(tables, pattern, existing) if each not in skipped]
    if not names:
        raise click.ClickException("All of these tables are configured already.")
    functions = cloud.client("lambda")
    return [look_at(cloud.dynamodb, functions, name, sample_items=sample) for name in names]


def place_of(
    cloud: CloudResource,
    bucket: str,
    prefix: str,
    database: str,
    configured: Iterable[PipelineConfig] = (),
) -> Place:
    """Where the lake is to be.

    Raises:
        click.ClickException: the bucket or the database does not exist or may not be read.
    """
    if bucket:
        require_bucket(cloud, bucket)
    pages = cloud.glue.get_paginator("get_databases").paginate()
    databases = {each["Name"] for page in pages for each in page["DatabaseList"]}
    if database and database not in databases:
        raise click.ClickException(
            f"Glue database {database!r} does not exist in this account and region. Create it: "
            f"aws glue create-database --database-input Name={database}"
        )
    tables: set[str] = set()
    if database:
        listed = cloud.glue.get_paginator("get_tables").paginate(DatabaseName=database)
        tables = {each["Name"] for page in listed for each in page["TableList"]}
        for each in configured:
            if each.database == database:
                tables |= derived_tables(each.dynamodb_table, each.table_prefix)
    account = caller_account(cloud)
    return Place(account, bucket, prefix, database, frozenset(databases), frozenset(tables))


def require_bucket(cloud: CloudResource, bucket: str) -> None:
    """Look whether a bucket exists and may be listed.

    Raises:
        click.ClickException: it does not, or may not.
    """
    try:
        cloud.s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        denied = error_code(error) in ("403", "AccessDenied")
        what = "may not be listed by this role" if denied else "does not exist"
        advice = "Grant s3:ListBucket on it" if denied else "Create it, or correct its name"
        raise click.ClickException(f"Bucket {bucket!r} {what}. {advice}.") from error


def report_json(proposals: Sequence[Proposal], path: str) -> str:
    """The result as one JSON object."""
    return json.dumps({"file": path, "pipelines": [member(each) for each in proposals]})


def member(proposal: Proposal) -> dict[str, Any]:
    """A pipeline's member of the JSON output."""
    marked = [
        *(f"{each.key}: {each.why}" for each in proposal.settings if each.decide),
        *(each.text for each in proposal.notes if each.decide),
    ]
    return {
        "name": proposal.name,
        "dynamodb_table": next(s.value for s in proposal.settings if s.key == "dynamodb_table"),
        "configured": not proposal.off,
        "decide": [proposal.off, *marked] if proposal.off else marked,
    }


def report_text(proposals: Sequence[Proposal], path: str) -> str:
    """The result for a terminal."""
    configured = [each for each in proposals if not each.off]
    decisions = sum(each.decisions for each in proposals)
    lines = [f"{path}: {len(configured)} pipeline(s) of {len(proposals)} table(s)."]
    lines += [
        f"  {each.name}: a comment only. {each.off.partition('. ')[0]}."
        for each in proposals
        if each.off
    ]
    if decisions:
        lines.append(f"{decisions} decision(s) are yours: look for {MARK.strip(': ')} in the file.")
    if configured:
        lines.append("Next: ddb-pipeline check, then ddb-pipeline deploy.")
    return "\n".join(lines)
