"""``ddb-pipeline``: the list of commands; the module of a command is imported when it is used."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final, NamedTuple

import click

from ddb_pipeline.cli.errors import one_line


class LazyCommand(NamedTuple):
    """Where a command is defined, and the first sentence of its help.

    Attributes:
        module: a module of ``ddb_pipeline.cli``.
        attribute: the command's name in that module.
    """

    module: str
    attribute: str
    summary: str


COMMANDS: Final[Mapping[str, LazyCommand]] = {
    "demo": LazyCommand("demo", "demo", "Run the whole flow on the embedded AWS."),
    "init": LazyCommand("init", "init", "Write a configuration for DynamoDB tables that exist."),
    "check": LazyCommand("check", "check", "Compare the configuration with the account."),
    "policy": LazyCommand("policy", "policy", "Print the IAM policy that Dagster's role needs."),
    "preflight": LazyCommand(
        "preflight", "preflight", "Report what Firehose would refuse, drop or change in SOURCE."
    ),
    "crawl": LazyCommand("schema", "crawl", "Write a DynamoDB table's schema to the Glue catalog."),
    "fix": LazyCommand("schema", "fix", "Repair the column types of a Glue table for Firehose."),
    "ddl": LazyCommand("schema", "ddl", "Print the CREATE TABLE statement of a Parquet table."),
    "export": LazyCommand("export", "export_command", "Export a DynamoDB table to S3."),
    "convert-export": LazyCommand(
        "convert_export", "convert_export_command", "Convert a DynamoDB export to Parquet."
    ),
    "current": LazyCommand(
        "current", "current_command", "Build or update the current view of a table from exports."
    ),
    "vacuum": LazyCommand(
        "vacuum", "vacuum_command", "Remove objects of a lake that newer ones have replaced."
    ),
    "enable-stream": LazyCommand(
        "enable_stream", "enable_stream", "Turn on the streams of DynamoDB tables that exist."
    ),
    "verify": LazyCommand(
        "verify", "verify", "Look whether what this project assumes about AWS holds in an account."
    ),
    "package": LazyCommand("deploy", "package", "Write the files that a deployment needs."),
    "deploy": LazyCommand(
        "deploy", "deploy", "Deploy the stacks of pipelines, of all without PIPELINE."
    ),
    "remove": LazyCommand("deploy", "remove", "Delete the stacks of pipelines; their data stays."),
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"ddb_pipeline.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, from ``COMMANDS`` only."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ddb-pipeline")
def cli() -> None:
    """DynamoDB to a Parquet lake in near real time, with a schema that is repaired automatically.

    The commands use the embedded AWS on this machine. Set DDB_PIPELINE_TARGET=aws to use your AWS
    account.
    """


def main() -> None:
    """Entry point. An expected error becomes one line on standard error and exit status 1.

    Expected are errors that a user can cause or repair: see ``cli.errors``.
    """
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of the output has ended, such as head. Python would fail to flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        text = one_line(error)
        if not text:
            raise
        click.echo(f"Error: {text}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
