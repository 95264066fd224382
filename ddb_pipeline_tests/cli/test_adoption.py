"""Existing tables of the embedded AWS on their way to the lake: ``init``, ``check``, ``deploy``."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from ddb_pipeline.cli.main import cli
from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, account_settings, load_settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.parquet_objects import count_rows
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.existing_tables import KEYS, create_table, items
from ddb_pipeline_tests.support.polling import wait_until

pytestmark = pytest.mark.embedded

ADOPTED = int(os.environ.get("DDB_PIPELINE_ADOPTED_TABLES", "3"))
"""Tables that become pipelines; 30 is the whole claim."""
BUCKET = "company-data"
DATABASE = "analytics"
ITEMS = 4


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
    for number in range(ADOPTED):
        create_table(cloud.dynamodb, f"shop-{number}", KEYS[number % len(KEYS)])
    cloud.s3.create_bucket(Bucket=BUCKET)
    cloud.glue.create_database(DatabaseInput={"Name": DATABASE})
    yield cloud, home
    stop(home / "embedded")


def run(home: Path, file: Path, *arguments: str, command: str = "init") -> Result:
    environment = {
        "DDB_PIPELINE_HOME": str(home),
        "DDB_PIPELINE_TARGET": "embedded",
        "DDB_PIPELINE_CONFIG": str(file),
    }
    return CliRunner().invoke(cli, [command, *arguments], env=environment)


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


def test_a_table_of_another_region(account: tuple[CloudResource, Path], tmp_path: Path) -> None:
    cloud, home = account
    file, there = tmp_path / "pipelines.toml", cloud.in_region("eu-west-1")
    create_table(there.dynamodb, "far-away", stream=None)
    enabled = run(home, file, "far-away", "--yes", "--region", "eu-west-1", command="enable-stream")
    assert enabled.exit_code == 0, enabled.output
    for arguments in (["prod-0"], ["far-away", "--region", "eu-west-1", "--append"]):
        written = run(home, file, *arguments)
        assert written.exit_code == 0, written.output
    settings = load_settings({"DDB_PIPELINE_CONFIG": str(file)}, tmp_path)
    found = {each.dynamodb_table: each.region for each in settings.pipelines}
    assert found == {"prod-0": "us-east-1", "far-away": "eu-west-1"}
    assert file.read_text("utf-8").count('region = "eu-west-1"') == 1


def test_a_bucket_of_the_embedded_aws_is_in_the_region_of_its_pipeline(
    account: tuple[CloudResource, Path], tmp_path: Path
) -> None:
    _, home = account
    file = tmp_path / "pipelines.toml"
    file.write_text(
        'region = "eu-west-1"\n[[pipelines]]\nname = "near"\nexisting_bucket = true\n'
        f'bucket = "{BUCKET}"\nlake_prefix = "near"\n',
        "utf-8",
    )
    checked = run(home, file, command="check")
    assert "bucket region" not in checked.output


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
        (["--pattern", "x*"], "No table matches 'x*'. There are"),
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


def test_tables_are_in_the_lake_after_init_check_and_deploy(
    account: tuple[CloudResource, Path], tmp_path: Path
) -> None:
    _, home = account
    file = tmp_path / "pipelines.toml"
    place = ["--bucket", BUCKET, "--prefix", "lake/shop", "--database", DATABASE]
    written = run(home, file, "--pattern", "shop-*", *place)
    assert written.exit_code == 0, written.output
    checked = run(home, file, "--json", command="check")
    found = json.loads(checked.output)
    assert (checked.exit_code, found["errors"]) == (0, False), checked.output
    assert len(found["costs"]) == ADOPTED
    deployed = run(home, file, command="deploy")
    assert deployed.exit_code == 0, deployed.output
    again = run(home, file, command="check")
    assert again.exit_code == 0, again.output
    assert " 0 error(s)" in again.output
    environment = {"DDB_PIPELINE_HOME": str(home), "DDB_PIPELINE_CONFIG": str(file)}
    deliver(load_settings(environment, tmp_path))


def deliver(settings: Settings) -> None:
    """Write items to all tables, and let the sensors run until each item is a row."""
    cloud = CloudResource.of(settings)
    for pipeline in settings.pipelines:
        keys = KEYS[int(pipeline.dynamodb_table.rpartition("-")[2]) % len(KEYS)]
        for item in items(keys, ITEMS):
            cloud.dynamodb.put_item(TableName=pipeline.dynamodb_table, Item=item)
    with dg.DagsterInstance.ephemeral() as instance:
        loop = SensorLoop(build_defs(settings), cloud, instance)

        def all_are_rows() -> bool:
            for sensor in ("crawl_sensor", "glue_table_change_sensor", "failed_records_sensor"):
                loop.tick(sensor)
            return all(rows(cloud, each) == ITEMS for each in settings.pipelines)

        wait_until(all_are_rows, "the rows of all tables", seconds=60 + 20 * ADOPTED)
    for pipeline in settings.pipelines:
        assert pipeline.lake.prefix == f"lake/shop/{pipeline.name}/"


def rows(cloud: CloudResource, pipeline: PipelineConfig) -> int:
    stored = list_objects(cloud.s3, pipeline.lake, "stream/")
    keys = [each.key for each in stored if each.key.endswith(".parquet")]
    return count_rows(cloud.filesystem(), pipeline.lake, keys)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('dynamodb_table = "prod-quiet"', "exists already, and the stack would create it"),
        (f'bucket = "{BUCKET}"', "existing_bucket = true"),
        ('database = "none"\nexisting_database = true', "aws glue create-database"),
    ],
)
def test_a_configuration_that_would_not_work(
    account: tuple[CloudResource, Path], tmp_path: Path, config: str, said: str
) -> None:
    file = tmp_path / "pipelines.toml"
    file.write_text(f'[[pipelines]]\nname = "mine"\n{config}\n', "utf-8")
    checked = run(account[1], file, "--items-per-day", "1M", command="check")
    assert checked.exit_code == 1, checked.output
    assert said in checked.output
    assert "1,000,000 changes a day" in checked.output


def test_what_a_role_lacks(account: tuple[CloudResource, Path], tmp_path: Path) -> None:
    cloud, home = account
    file = tmp_path / "pipelines.toml"
    file.write_text('[[pipelines]]\nname = "mine"\n', "utf-8")
    iam = cloud.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="dagster", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    policy = json.loads(run(home, file, command="policy").output)
    removed = policy["Statement"].pop()
    policy["Statement"][0]["Action"].remove("dynamodb:Scan")
    iam.put_role_policy(
        RoleName="dagster", PolicyName="pipelines", PolicyDocument=json.dumps(policy)
    )
    checked = run(home, file, "--role", role, command="check")
    assert checked.exit_code == 1
    assert checked.output.count("Missing: ") == 2
    assert "Missing: dynamodb:Scan." in checked.output
    assert f"Missing: {', '.join(removed['Action'])}." in checked.output
    whole = run(home, file, command="policy").output
    iam.put_role_policy(RoleName="dagster", PolicyName="pipelines", PolicyDocument=whole)
    assert run(home, file, "--role", role, command="check").exit_code == 0
