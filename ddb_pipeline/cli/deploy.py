"""``ddb-pipeline package`` and ``deploy``: the code of the functions, and the stacks."""

import time
from pathlib import Path

import click
from botocore.exceptions import ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target, load_settings
from ddb_pipeline.deploy.bundle import build_bundles, write_bundles
from ddb_pipeline.deploy.existing_bucket import existing_buckets, prepare_bucket
from ddb_pipeline.deploy.spark_libraries import ARCHITECTURES, write_spark_libraries
from ddb_pipeline.deploy.stack import (
    ChangeSet,
    DeployError,
    create_change_set,
    creating_first,
    discard_change_set,
    execute_change_set,
    stack_parameters,
    template_body,
    upload_code,
)
from ddb_pipeline.embedded.stacks import CODE_BUCKET
from ddb_pipeline.resources.cloud import CloudResource


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
@click.argument("pipeline", required=False)
@click.option(
    "--code-bucket", default="", help="S3 bucket for the functions' zips; required on AWS."
)
@click.option("--dry-run", is_flag=True, help="Print the change set and discard it.")
def deploy(pipeline: str | None, code_bucket: str, dry_run: bool) -> None:
    """Deploy the stack of one pipeline, or of all.

    PIPELINE is a name in the configuration; without it all configured pipelines are deployed.
    CloudFormation computes a change set, which is printed and then executed.
    """
    settings = load_settings()
    cloud = CloudResource.of(settings)
    bucket = code_bucket or default_code_bucket(settings)
    chosen = [settings.pipeline(pipeline)] if pipeline else settings.pipelines
    for each in creating_first(chosen):
        deploy_pipeline(cloud, each, bucket, dry_run=dry_run)
    for name, users in existing_buckets(chosen).items():
        for line in prepare_bucket(cloud.s3, name, users, dry_run=dry_run):
            click.echo(f"{name}: {line}")


def default_code_bucket(settings: Settings) -> str:
    """The embedded AWS's bucket for code.

    Raises:
        click.UsageError: the target is a real account.
    """
    if settings.target is Target.AWS:
        raise click.UsageError("On AWS, give --code-bucket: a bucket for the functions' zips.")
    return CODE_BUCKET


def deploy_pipeline(
    cloud: CloudResource, pipeline: PipelineConfig, code_bucket: str, *, dry_run: bool
) -> None:
    """Upload the code, then create, print and execute the change set of a pipeline's stack.

    Raises:
        DeployError: the code could not be uploaded, or CloudFormation refused or failed.
    """
    bundles = build_bundles()
    try:
        upload_code(cloud.s3, code_bucket, bundles)
    except ClientError as error:
        raise DeployError(
            f"The functions' zips could not be written to bucket {code_bucket!r}: {error}. "
            "Create the bucket in the stack's region, or name another with --code-bucket."
        ) from error
    cloudformation = cloud.client("cloudformation")
    name = f"deploy-{int(time.time() * 1000)}"
    change_set = create_change_set(
        cloudformation, pipeline.stack, stack_parameters(pipeline, code_bucket, bundles), name
    )
    if change_set is None:
        click.echo(f"{pipeline.stack}: no changes.")
        return
    click.echo(change_set_text(change_set))
    if dry_run:
        discard_change_set(cloudformation, change_set)
        click.echo(f"{pipeline.stack}: nothing was executed.")
        return
    outputs = execute_change_set(cloudformation, change_set)
    click.echo(f"{pipeline.stack}: deployed.")
    for key, value in sorted(outputs.items()):
        click.echo(f"  {key}: {value}")


def change_set_text(change_set: ChangeSet) -> str:
    """One line for each resource: the action, and whether the resource is replaced."""
    signs = {"Add": "+", "Remove": "-", "Modify": "~"}
    verb = "creates" if change_set.creates_stack else "changes"
    lines = [f"{change_set.stack}: the change set {verb} {len(change_set.changes)} resource(s):"]
    for change in change_set.changes:
        replaced = "  (REPLACED)" if change.replacement == "True" else ""
        lines.append(
            f"  {signs.get(change.action, '?')} {change.logical_id:<28} "
            f"{change.resource_type}{replaced}"
        )
    return "\n".join(lines)
