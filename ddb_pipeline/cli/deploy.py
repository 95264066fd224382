"""``ddb-pipeline package``, ``deploy`` and ``remove``: the functions' code, and the stacks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ddb_pipeline.cli.deploy_report import removal_text, result_json, result_text, summary_text
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target, load_settings
from ddb_pipeline.deploy.bundle import build_bundles, write_bundles
from ddb_pipeline.deploy.estate import (
    Account,
    Outcome,
    StackResult,
    deploy_stacks,
    remove_stacks,
    waves,
)
from ddb_pipeline.deploy.existing_bucket import existing_buckets, prepare_bucket
from ddb_pipeline.deploy.parameters import REGION_MARK, regional_bucket
from ddb_pipeline.deploy.spark_libraries import ARCHITECTURES, write_spark_libraries
from ddb_pipeline.deploy.stack import DeployError, find_stack, template_body, upload_code
from ddb_pipeline.embedded.stacks import code_bucket as embedded_code_bucket
from ddb_pipeline.resources.cloud import CloudResource

PARALLEL = 8
SHOWN_IN_FULL = 3
"""Deployments of so many stacks print each resource that changes."""


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default="dist")
@click.option(
    "--spark-libraries",
    is_flag=True,
    help="Also write the libraries that the export job needs on EMR Serverless; pip downloads them "
    "(about 65 MB).",
)
@click.option(
    "--architecture",
    type=click.Choice(list(ARCHITECTURES)),
    default="ARM64",
    show_default=True,
    help="Architecture of the EMR Serverless application.",
)
def package(directory: Path, spark_libraries: bool, architecture: str) -> None:
    """Write the files that a deployment needs.

    DIRECTORY gets the zips of the functions, the Spark jobs and the template. A zip holds only what
    the function or job imports; equal code produces equal bytes.
    """
    for path in write_bundles(directory):
        click.echo(f"{path} ({path.stat().st_size:,} bytes)")
    template = directory / "template.yaml"
    template.write_text(template_body(), "utf-8")
    click.echo(str(template))
    if spark_libraries:
        path = directory / "spark" / "libraries.zip"
        click.echo(f"{path} ({write_spark_libraries(path, architecture):,} bytes)")


@click.command()
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option(
    "--code-bucket",
    default="",
    help="S3 bucket for the functions' zips and the template; required on AWS. {region} in it "
    "stands for the region of a stack, which reads its code in its own region only.",
)
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option(
    "--parallel",
    default=PARALLEL,
    show_default=True,
    type=click.IntRange(1, 50),
    help="Stacks deployed at the same time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def deploy(
    pipelines: tuple[str, ...], code_bucket: str, dry_run: bool, parallel: int, as_json: bool
) -> None:
    """Deploy the stacks of pipelines, of all without PIPELINE.

    The stack of a lake that pipelines share comes first. Of each stack CloudFormation computes a
    change set, which is executed. What is deployed as configured is skipped: after an interruption
    or a failure, run the same command again. A stack that fails stops none of the others.
    """
    settings = load_settings()
    cloud = CloudResource.of(settings)
    bucket = code_bucket or default_code_bucket(settings)
    chosen = chosen_pipelines(settings, pipelines)
    bundles = build_bundles()
    planned = waves(settings.lake, chosen, settings.pipelines, bucket, bundles)
    regions = clouds(cloud, chosen)
    require_code_bucket_in_each(bucket, regions)
    urls = {name: uploaded(each, regional_bucket(bucket, name)) for name, each in regions.items()}
    account = account_in_regions(cloud, regions, urls)
    count = sum(map(len, planned))
    in_full = dry_run or count <= SHOWN_IN_FULL
    with progress_bar(count, hidden=as_json) as advance:

        def show(result: StackResult) -> None:
            advance(None if as_json else result_text(result, in_full=in_full))

        results = deploy_stacks(
            account, planned, parallel=parallel, dry_run=dry_run, on_result=show
        )
    notes = bucket_notes(cloud, chosen, results, dry_run=dry_run)
    if as_json:
        click.echo(
            json.dumps({"stacks": [result_json(each) for each in results], "buckets": notes})
        )
    else:
        for name, lines in notes.items():
            click.echo("\n".join(f"bucket {name}: {line}" for line in lines))
        click.echo(summary_text(results))
    if any(each.outcome in (Outcome.FAILED, Outcome.NOT_BEGUN) for each in results):
        raise SystemExit(1)


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--parallel", default=PARALLEL, show_default=True, type=click.IntRange(1, 50))
def remove(pipelines: tuple[str, ...], yes: bool, parallel: int) -> None:
    """Delete the stacks of pipelines; their data stays.

    The DynamoDB table, the bucket with its objects, the database and the catalog tables of the
    stream and the snapshots stay. Deploy a pipeline again to continue with them.
    """
    settings = load_settings()
    cloud = CloudResource.of(settings, deploys=False)
    named = chosen_pipelines(settings, pipelines)
    account = account_in_regions(cloud, clouds(cloud, named))
    chosen = [each for each in named if found_stack(account, each)]
    for each in named:
        click.echo(removal_text(each) if each in chosen else f"{each.stack}: is not deployed.")
    if not chosen:
        return
    if not yes:
        click.confirm(f"Delete {len(chosen)} stack(s)?", abort=True)
    with progress_bar(len(chosen)) as advance:
        results = remove_stacks(
            account,
            [(each.region, each.stack) for each in chosen],
            parallel=parallel,
            on_result=lambda result: advance(result_text(result)),
        )
    if any(each.outcome is Outcome.FAILED for each in results):
        raise SystemExit(1)


def chosen_pipelines(settings: Settings, names: Sequence[str]) -> list[PipelineConfig]:
    """The pipelines of these names, all without names.

    Raises:
        ConfigError: there is no pipeline of a name.
    """
    chosen = [settings.pipeline(name) for name in dict.fromkeys(names)]
    return chosen or list(settings.pipelines)


def clouds(cloud: CloudResource, pipelines: Sequence[PipelineConfig]) -> dict[str, CloudResource]:
    """This AWS in each region that has one of the pipelines."""
    return {each.region: cloud.in_region(each.region) for each in pipelines}


def require_code_bucket_in_each(bucket: str, regions: Iterable[str]) -> None:
    """Check that stacks of several regions do not share a bucket for code.

    Raises:
        click.UsageError: they do.
    """
    names = sorted(regions)
    if len(names) > 1 and REGION_MARK not in bucket:
        buckets = ", ".join(f"{bucket}-{name}" for name in names)
        raise click.UsageError(
            f"The pipelines are in {', '.join(names)}, and Lambda reads a function's code in its "
            f"own region. Give --code-bucket '{bucket}-{REGION_MARK}', with the buckets {buckets}, "
            "or deploy the pipelines of one region at a time."
        )


def account_in_regions(
    cloud: CloudResource,
    regions: Mapping[str, CloudResource],
    template_urls: Mapping[str, str] | None = None,
) -> Account:
    """The account in which stacks are deployed, with its part in each of these regions."""
    urls = template_urls or {}
    found = {name: account_of(each, urls.get(name, "")) for name, each in regions.items()}
    return replace(account_of(cloud, ""), regions=found)


def found_stack(account: Account, pipeline: PipelineConfig) -> bool:
    """Whether a pipeline's stack exists."""
    there = account.in_region(pipeline.region)
    return find_stack(there.cloudformation, pipeline.stack) is not None


def account_of(cloud: CloudResource, template_url: str) -> Account:
    """The account in which stacks are deployed."""
    delay = 1 if cloud.embedded else 5
    return Account(
        cloud.client("cloudformation"),
        cloud.glue,
        cloud.dynamodb,
        cloud.s3,
        template_url,
        delay,
        embedded=cloud.embedded,
    )


def uploaded(cloud: CloudResource, code_bucket: str) -> str:
    """Upload template and code; returns the template's URL.

    Raises:
        DeployError: the bucket cannot be written.
    """
    try:
        return upload_code(cloud.s3, code_bucket, build_bundles())
    except ClientError as error:
        raise DeployError(
            f"The functions' zips could not be written to bucket {code_bucket!r}: {error}. "
            "Create the bucket in the stack's region, or name another with --code-bucket."
        ) from error


def bucket_notes(
    cloud: CloudResource,
    pipelines: Sequence[PipelineConfig],
    results: Sequence[StackResult],
    *,
    dry_run: bool,
) -> dict[str, list[str]]:
    """Prepare the buckets that exist already for the deployed pipelines; what changed of each."""
    failed = {each.stack for each in results if each.outcome in (Outcome.FAILED, Outcome.NOT_BEGUN)}
    deployed = [each for each in pipelines if each.stack not in failed]
    notes = {
        name: prepare_bucket(cloud.for_pipeline(users[0]).s3, name, users, dry_run=dry_run)
        for name, users in existing_buckets(deployed).items()
    }
    return {name: lines for name, lines in notes.items() if lines}


def progress_bar(count: int, *, hidden: bool = False) -> "Bar":
    """A progress bar on the terminal's standard error; without a terminal only lines."""
    return Bar(count, hidden=hidden)


class Bar:
    """A progress bar of stacks, above which a line for each of them is printed."""

    def __init__(self, count: int, *, hidden: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("stacks"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=hidden or not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("stacks", total=count)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def __call__(self, text: str | None) -> None:
        """Count a stack, and print the text about it."""
        self._progress.advance(self._task)
        if text:
            click.echo(text)


def default_code_bucket(settings: Settings) -> str:
    """The embedded AWS's bucket for code.

    Raises:
        click.UsageError: the target is a real account.
    """
    if settings.target is Target.AWS:
        raise click.UsageError("On AWS, give --code-bucket: a bucket for the functions' zips.")
    return embedded_code_bucket({each.region for each in settings.pipelines}, settings.region)
