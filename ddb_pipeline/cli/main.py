"""``ddb-pipeline``: the pipeline from a terminal, without the Dagster UI."""

import sys
from collections.abc import Callable
from typing import Any

import click

from ddb_pipeline.cli.convert_export import convert_export_command
from ddb_pipeline.cli.demo import demo
from ddb_pipeline.cli.deploy import deploy, package
from ddb_pipeline.cli.export import export_command
from ddb_pipeline.cli.preflight import preflight
from ddb_pipeline.cli.schema import crawl, ddl, fix
from ddb_pipeline.errors import DdbPipelineError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ddb-pipeline")
def cli() -> None:
    """DynamoDB to a Parquet lake in near real time, with a schema that mends itself.

    Speaks to the embedded AWS unless DDB_PIPELINE_TARGET=aws is set.
    """


COMMANDS: tuple[Callable[..., Any], ...] = (
    demo,
    preflight,
    crawl,
    fix,
    ddl,
    export_command,
    convert_export_command,
    package,
    deploy,
)
for command in COMMANDS:
    cli.add_command(command)  # type: ignore[arg-type]


def main() -> None:
    """Entry point: errors of the product as one line on standard error, exit status 1."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DdbPipelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
