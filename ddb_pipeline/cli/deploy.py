"""``ddb-pipeline package`` and ``ddb-pipeline deploy``: the functions' code and the stacks."""

import time
from pathlib import Path

import click
from botocore.exceptions import ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target, load_settings
from ddb_pipeline.deploy.bundle import build_bundles, write_bundles
from ddb_pipeline.deploy.spark_libraries import ARCHITECTURES, write_spark_libraries
from ddb_pipeline.deploy.stack import (
    ChangeSet,
    DeployError,
    create_change_set,
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
    help="Also what the export job needs on EMR Serverless, fetched by pip (about 65 MB).",
)
@click.option(
    "--architecture",
    type=click.Choice(list(ARCHITECTURES)),
    default="ARM64",
    show_default=True,
    help="Of the EMR Serverless application; the template's is ARM64.",
)
def package(directory: Path, spark_libraries: bool, architecture: str) -> None:
    """Write the functions' zips, the Spark jobs and the template to DIRECTORY.

    The zips hold only what each function or job imports, and have the same bytes for the same code.
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
@click.option("--code-bucket", default="", help="S3 bucket for the functions' zips.")
@click.option("--dry-run", is_flag=True, help="Show the change set and discard it.")
def deploy(pipeline: str | None, code_bucket: str, dry_run: bool) -> None:
    """Deploy the stack of PIPELINE, or of every configured pipeline.

    CloudFormation computes the change set, which is shown and then executed.
    """
    settings = load_settings()
    cloud = CloudResource.of(settings)
    bucket = code_bucket or default_code_bucket(settings)
    chosen = [settings.pipeline(pipeline)] if pipeline else list(settings.pipelines)
    for each in chosen:
        deploy_pipeline(cloud, each, bucket, dry_run=dry_run)


def default_code_bucket(settings: Settings) -> str:
    if settings.target is Target.AWS:
        raise click.UsageError("On AWS --code-bucket is needed: a bucket for the functions' zips.")
    return CODE_BUCKET


def deploy_pipeline(
    cloud: CloudResource, pipeline: PipelineConfig, code_bucket: str, *, dry_run: bool
) -> None:
    bundles = build_bundles()
    try:
        upload_code(cloud.s3, pipeline, code_bucket, bundles)
    except ClientError as error:
        raise DeployError(
            f"The functions' zips could not be put into bucket {code_bucket!r}: {error}. "
            "Make the bucket in the stack's region, or name another with --code-bucket."
        ) from error
    cloudformation = cloud.client("cloudformation")
    name = f"deploy-{int(time.time() * 1000)}"
    change_set = create_change_set(
        cloudformation, pipeline.stack, stack_parameters(pipeline, code_bucket, bundles), name
    )
    if change_set is None:
        click.echo(f"{pipeline.stack}: nothing to change.")
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
    """A line a resource: what happens to it, and whether it is replaced."""
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
