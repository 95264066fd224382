"""The group of commands: what it imports, what it lists, how it reports errors."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from ddb_pipeline.cli.main import COMMANDS, cli
from ddb_pipeline_tests.support.exports import order, write_local_export

IMPORTED = """
import sys
from ddb_pipeline.cli import main
{before}
sys.argv = ["ddb-pipeline", *{arguments!r}]
try:
    main.main()
finally:
    print("IMPORTED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
STOP_AT_READING = """
from ddb_pipeline.export import read
from ddb_pipeline.export.manifest import ExportError
def stop(open_object, file):
    raise ExportError(file.key, "reading starts")
read._gunzipped = lambda source: stop(None, read.DataFile("data", 0, "", ""))
"""


def run_main(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = IMPORTED.format(arguments=arguments, before=before)
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stdout.partition("IMPORTED")[2].split())


def test_help_imports_no_command() -> None:
    done = run_main("--help")
    assert done.returncode == 0, done.stderr
    assert not imported(done) & {"boto3", "botocore", "dagster", "pandas", "pyarrow", "pydantic"}
    assert not imported(done) & {"dagster_aws", "numpy", "rich"}


def test_conversion_imports_only_what_it_needs(tmp_path: Path) -> None:
    source = write_local_export(tmp_path / "export", map(order, range(3)))
    arguments = ("convert-export", str(source), str(tmp_path / "lake"))
    for done in (
        run_main("convert-export", "--help"),
        run_main(*arguments, before=STOP_AT_READING),
    ):
        assert "pyarrow" in imported(done), done.stderr
        assert not imported(done) & {"boto3", "botocore", "dagster", "dagster_aws"}
        assert not imported(done) & {"pandas", "pydantic", "rich"}
    assert "reading starts" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_listed_summary_is_the_start_of_the_help(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == COMMANDS[name].summary


def test_unknown_command() -> None:
    done = run_main("no-such-command")
    assert done.returncode == 2
    assert "No such command 'no-such-command'" in done.stderr


def test_expected_error_is_one_line(tmp_path: Path) -> None:
    done = run_main("convert-export", str(tmp_path), str(tmp_path / "lake"))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Export object ")
    assert done.stderr.count("\n") == 1


def test_runs_as_a_module() -> None:
    arguments = [sys.executable, "-m", "ddb_pipeline.cli.main", "--help"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert "convert-export" in done.stdout
