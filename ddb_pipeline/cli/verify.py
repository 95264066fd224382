"""``ddb-pipeline verify``: what this project assumes about AWS, observed in an account."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ddb_pipeline.adoption.assumptions import Result, estimated_cost, members, results
from ddb_pipeline.adoption.costs import prices
from ddb_pipeline.cli.policy import caller_account
from ddb_pipeline.cli.verify_run import Asked, Removal, Verification, temporary_pipeline
from ddb_pipeline.config.settings import Settings, Target, account_settings
from ddb_pipeline.resources.cloud import CloudResource

DEFAULT_PREFIX = "ddb_verify"
WORDS = {True: "holds", False: "DIFFERS", None: "not seen"}
COLOURS = {True: "green", False: "red", None: "yellow"}


@click.command("verify")
@click.option("--region", default="", help="The region. Default: the configuration's.")
@click.option(
    "--prefix", default=DEFAULT_PREFIX, show_default=True, help="What all names begin with."
)
@click.option("--items", default=200, show_default=True, type=click.IntRange(min=50))
@click.option("--shard-split", is_flag=True, help="Also provision capacity until shards split.")
@click.option("--emr", is_flag=True, help="Also run a job on EMR Serverless.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("verification.json"),
    show_default=True,
    help="The file for the results.",
)
@click.option("--remove", "to_remove", default="", help="Only remove what a run of NAME left.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def verify(
    region: str,
    prefix: str,
    items: int,
    shard_split: bool,
    emr: bool,
    yes: bool,
    output: Path,
    to_remove: str,
    as_json: bool,
) -> None:
    """Look whether what this project assumes about AWS holds in an account.

    Makes a temporary stack with a table, writes items, lets a crawl break the delivery and repairs
    it, looks at each assumption, writes what was found as JSON, and removes everything. States the
    cost first and asks.

    The exit status is 1 if an assumption does not hold or something was not removed.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{2,20}", prefix):
        raise click.UsageError(
            "--prefix takes 3 to 21 of a-z, 0-9 and _, and begins with a letter."
        )
    base = account_settings()
    name = to_remove or f"{prefix}_{os.urandom(3).hex()}"
    account = caller_account(CloudResource.of(base, deploys=False))
    asked = Asked(shard_split=shard_split, emr=emr)
    settings = temporary_settings(base, name, account, region, emr=emr)
    console = Console(stderr=True)
    if to_remove:
        sys.exit(1 if removed(settings, console) else 0)
    announce(settings, name, account, asked)
    if settings.target is Target.AWS and not yes:
        click.confirm("Begin?", abort=True, err=True)
    run = Verification(settings, asked, lambda stage: console.print(f"{stage} ..."))
    try:
        run.run(items)
    finally:
        left = removed(settings, console)
    found = results(run.found, run.skipped)
    document = {
        "region": settings.region,
        "target": settings.target.value,
        "name": name,
        "results": members(found),
        "not_removed": left,
    }
    output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    click.echo(json.dumps(document) if as_json else report_text(found, output))
    if left or any(each.holds is False for each in found):
        sys.exit(1)


def temporary_settings(
    base: Settings, name: str, account: str, region: str, *, emr: bool
) -> Settings:
    """The settings of a verification's pipeline."""
    embedded = base.target is Target.EMBEDDED
    pipeline = temporary_pipeline(name, account, embedded=embedded, emr=emr and not embedded)
    return Settings(
        target=base.target,
        home=base.home,
        region=region or base.region,
        pipelines=(pipeline,),
    )


def announce(settings: Settings, name: str, account: str, asked: Asked) -> None:
    """Say what is made, and what it costs."""
    cost = estimated_cost(shard_split=asked.shard_split, emr=asked.emr)
    known = prices()
    where = f"account {account}, {settings.region}"
    if settings.target is Target.EMBEDDED:
        where = "the embedded AWS on this machine, at no cost"
    click.echo(
        f"Makes the stack, the table, the database and the buckets {name} in {where}, and removes "
        f"them. In an account it takes about half an hour and costs up to ${cost:.2f} (prices of "
        f"{known['date']} in {known['region']}; three crawls of two DPU for ten minutes, exports "
        "and requests). If it is killed: "
        f"ddb-pipeline verify --remove {name}",
        err=True,
    )


def removed(settings: Settings, console: Console) -> list[str]:
    """Remove everything; returns what could not be removed."""
    console.print("removal ...")
    removal = Removal(settings)
    removal.run()
    for line in removal.left:
        console.print(f"not removed: {line}")
    return removal.left


def report_text(found: Sequence[Result], output: Path) -> str:
    """The results as a table: assumption, what was expected and found."""
    lines = []
    for each in found:
        state = click.style(f"{WORDS[each.holds]:<8}", fg=COLOURS[each.holds])
        lines.append(f"{state} {each.assumption.text}")
        seen: Any = each.note or each.found
        lines.append(f"         expected: {each.assumption.expected}; found: {seen}")
    held = sum(each.holds is True for each in found)
    differ = sum(each.holds is False for each in found)
    lines.append(
        f"{held} of {len(found)} assumptions hold, {differ} differ, {len(found) - held - differ} "
        f"were not seen: {output}"
    )
    return "\n".join(lines)
