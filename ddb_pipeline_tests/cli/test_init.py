"""``ddb-pipeline init`` on tables of the embedded AWS: the file that it writes, and its errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ddb_pipeline.cli.main import cli
from ddb_pipeline.config.settings import account_settings, load_settings
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.existing_tables import KEYS, create_table, items

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CloudResource, Path]]:
    """An account with tables of mixed keys, a bucket and a database, and its home."""
    home = tmp_path_factory.mktemp("cli-init")
    settings = account_settings({"DDB_PIPELINE_HOME": str(home)}, home)
    cloud = CloudResource.of(settings, deploys=False)
    for number, keys in enumerate(KEYS):
        create_table(cloud.dynamodb, f"prod-{number}", keys, recovery=number != 3)
        for item in items(keys, 3):
            cloud.dynamodb.put_item(TableName=f"prod-{number}", Item=item)
    create_table(cloud.dynamodb, "prod-quiet", stream=None)
    yield cloud, home
    stop(home / "embedded")


def run(home: Path, file: Path, *arguments: str) -> Result:
    environment = {
        "DDB_PIPELINE_HOME": str(home),
        "DDB_PIPELINE_TARGET": "embedded",
        "DDB_PIPELINE_CONFIG": str(file),
    }
    return CliRunner().invoke(cli, ["init", *arguments], env=environment)


def test_the_tables_of_a_pattern(account: tuple[CloudResource, Path], tmp_path: Path) -> None:
    cloud, home = account
    file = tmp_path / "pipelines.toml"
    written = run(home, file, "--pattern", "prod-*")
    assert written.exit_code == 0, written.output
    assert f"{file}: 6 pipeline(s) of 7 table(s)." in written.output
    assert "prod_quiet: a comment only. The table has no stream." in written.output
    settings = load_settings({"DDB_PIPELINE_CONFIG": str(file)}, tmp_path)
    assert [each.dynamodb_table for each in settings.pipelines] == [f"prod-{n}" for n in range(6)]
    assert all(pipeline.existing_table for pipeline in settings.pipelines)
    text = file.read_text("utf-8")
    assert "# prod-2: key Device.Id (B);" in text
    assert "A sample of 3 items has 4 columns." in text
    assert [p.export_with.value for p in settings.pipelines].count("scan") == 1
    # No stack was deployed by looking.
    assert not cloud.client("cloudformation").describe_stacks()["Stacks"]

    again = run(home, file, "prod-1")
    assert again.exit_code == 2
    assert "exists. Give --append" in again.output
    none = run(home, file, "prod-1", "--append")
    assert none.exit_code == 1
    assert "All of these tables are configured already." in none.output


def test_tables_are_added_to_a_file(account: tuple[CloudResource, Path], tmp_path: Path) -> None:
    _, home = account
    file = tmp_path / "pipelines.toml"
    file.write_text('[[pipelines]]\nname = "mine"\ndynamodb_table = "prod-0"', "utf-8")
    added = run(home, file, "--pattern", "prod-[01]", "--append", "--json", "--sample", "0")
    assert added.exit_code == 0, added.output
    (pipeline,) = json.loads(added.output)["pipelines"]
    assert pipeline["dynamodb_table"] == "prod-1"
    assert pipeline["configured"]
    assert pipeline["decide"] == []
    settings = load_settings({"DDB_PIPELINE_CONFIG": str(file)}, tmp_path)
    assert [each.name for each in settings.pipelines] == ["mine", "prod_1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name tables, or give --pattern."),
        (["no-such-table"], "DynamoDB table 'no-such-table' does not exist"),
        (["--pattern", "x*"], "No table matches 'x*'. There are 7 tables"),
        (["prod-1", "--prefix", "a"], "--prefix is a prefix in --bucket."),
        (["prod-1", "--bucket", "no-such-bucket"], "'no-such-bucket' does not exist"),
        (["prod-1", "--database", "none"], "aws glue create-database"),
    ],
)
def test_what_is_refused(
    account: tuple[CloudResource, Path], tmp_path: Path, arguments: list[str], said: str
) -> None:
    file = tmp_path / "pipelines.toml"
    result: Any = run(account[1], file, *arguments)
    assert result.exit_code != 0
    assert said in (result.output + str(result.exception))
    assert not file.exists()


def test_standard_output(account: tuple[CloudResource, Path], tmp_path: Path) -> None:
    result = run(account[1], tmp_path / "none.toml", "prod-1", "--output", "-")
    assert result.exit_code == 0, result.output
    assert '\n[[pipelines]]\nname = "prod_1"\n' in result.output
