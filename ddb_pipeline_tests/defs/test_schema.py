"""Crawl, fix and lake table as Dagster runs them, with their checks, in an embedded AWS."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from ddb_pipeline.cli.main import cli
from ddb_pipeline.config.choices import FunctionSetting, SchemaFix
from ddb_pipeline.config.names import lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, parsed_settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
)
from ddb_pipeline.defs.checks import configured_redaction, conflict_table
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.glue.catalog import (
    TableReference,
    columns_of,
    read_table,
    table_input,
    with_columns,
)
from ddb_pipeline.hive.infer import InferenceOptions, infer_items, inferred_schema
from ddb_pipeline.hive.type_decisions import read_decisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.resources.cloud import CloudResource

pytestmark = pytest.mark.embedded

FIX_SECONDS = 30.0


@dataclass(frozen=True)
class Account:
    """An embedded AWS with two pipelines: one repaired by Dagster, the other by its Lambda."""

    settings: Settings
    cloud: CloudResource
    instance: dg.DagsterInstance

    def materialize(self, pipeline: PipelineConfig, *names: str) -> dg.ExecuteInProcessResult:
        keys = [asset_key(pipeline, name) for name in names]
        defs = build_defs(self.settings)
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=keys, instance=self.instance
        )

    def columns(self, pipeline: PipelineConfig) -> dict[str, str]:
        reference = TableReference(pipeline.database, pipeline.dynamodb_table.replace("-", "_"))
        return {c.name: c.type for c in read_table(self.cloud.glue, reference).columns}

    def put(self, pipeline: PipelineConfig, *items: dict[str, Any]) -> None:
        for item in items:
            self.cloud.dynamodb.put_item(TableName=pipeline.dynamodb_table, Item=item)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    home = tmp_path_factory.mktemp("schema")
    settings = Settings(
        home=home,
        pipelines=(
            PipelineConfig(name="by_dagster", schema_fix=SchemaFix.DAGSTER),
            PipelineConfig(name="by_lambda", schema_fix=SchemaFix.LAMBDA),
        ),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Account(settings, CloudResource.of(settings), instance)
    stop(home / "embedded")


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_types_in_conflict_are_listed_with_keys_and_counts(account: Account) -> None:
    pipeline = account.settings.pipeline("by_dagster")
    account.put(
        pipeline,
        *({"log_id": {"S": f"n{i}"}, "score": {"N": str(i)}, "t": {"SS": ["a"]}} for i in range(5)),
        {
            "log_id": {"S": "other"},
            "score": {"S": "high"},
            "inner": {"M": {"x": {"NS": ["1"]}}},
        },
    )
    result = account.materialize(pipeline, CRAWLED_CATALOG_TABLE, NORMALIZED_SCHEMA, LAKE_TABLE)
    checks = evaluations(result)
    assert {name: check.passed for name, check in checks.items()} == {
        "type_conflicts": False,
        "valid_hive_types": True,
        "nothing_pending": True,
        "only_widening": True,
        "crawl_fits": True,
    }
    (crawled,) = result.asset_materializations_for_node("by_dagster__crawled_catalog_table")
    changes = str(crawled.metadata["changes"].value).splitlines()
    assert changes[0] == "| column | before | after |"
    assert "| t |  | `set<string>` |" in changes
    conflicts = checks["type_conflicts"]
    assert conflicts.severity is dg.AssetCheckSeverity.WARN
    table = str(conflicts.metadata["attributes"].value).splitlines()
    assert table[0] == "| attribute | type | values | keys of items |"
    assert any(line.startswith("| `score` | N | 5 |") and "n0" in line for line in table)
    assert any(line.startswith("| `score` | S | 1 |") and "other" in line for line in table)
    added = str(conflicts.metadata["add_to_configuration"].value)
    _, lines = added.split("```toml\n")
    assert lines == '[pipelines.type_conflicts]\nscore = "split"  # 5 N, 1 S\n```'
    settings = parsed_settings(f'[[pipelines]]\nname = "orders"\n{lines.rstrip("`")}', "file")
    assert settings.pipelines[0].type_decisions == read_decisions({"score": "split"})
    assert account.columns(pipeline) == {
        "log_id": "string",
        "inner": "struct<x:array<bigint>>",
        "score": "string",
        "t": "array<string>",
    }


@pytest.mark.parametrize(
    ("redacted", "shown"),
    [({}, True), ({FunctionSetting.DROP_ATTRIBUTES: "score,a.log_id"}, True)]
    + [
        ({FunctionSetting.PSEUDONYMISE_ATTRIBUTES: paths}, False)
        for paths in ("log_id", "a,log_id.b")
    ],
)
def test_keys_that_are_redacted_in_the_lake_are_not_shown(
    redacted: dict[FunctionSetting, str], shown: bool
) -> None:
    secret = {FunctionSetting.PSEUDONYM_KEY_SECRET_ARN: "arn:aws:secretsmanager:r:0:secret:k"}
    pipeline = PipelineConfig(name="redacted", function_settings=secret | redacted)
    assert configured_redaction(pipeline).includes(("log_id",)) is not shown
    inference = infer_items(
        [{"log_id": {"S": "marker"}, "x": value} for value in ({"S": "a"}, {"N": "1"})], ("log_id",)
    )
    schema = inferred_schema(inference, InferenceOptions(keys=("log_id",)))
    assert ("marker" in conflict_table(schema, shown)) is shown


def test_a_lake_that_someone_narrowed_fails_its_check_and_is_widened_again(
    account: Account,
) -> None:
    pipeline = account.settings.pipeline("by_dagster")
    account.put(pipeline, {"log_id": {"S": "one"}, "t": {"SS": ["a"]}, "late": {"S": "x"}})
    account.materialize(pipeline, CRAWLED_CATALOG_TABLE, NORMALIZED_SCHEMA, LAKE_TABLE)
    lake = read_table(account.cloud.glue, lake_table(pipeline))
    kept = [column for column in lake.columns if column.name not in ("late", "t")]
    account.cloud.glue.update_table(
        DatabaseName=pipeline.database,
        TableInput=with_columns(lake.definition, [*kept, Column("t", "string")]),
    )
    checks = evaluations(account.materialize(pipeline, LAKE_TABLE))
    assert not checks["only_widening"].passed
    assert checks["only_widening"].metadata["narrowed"].value == [["t", "array<string>", "string"]]
    assert not checks["crawl_fits"].passed
    now = dict(read_table(account.cloud.glue, lake_table(pipeline)).columns)
    assert (now["late"], now["t"]) == ("string", "string")


def test_the_lambda_repairs_every_crawl_without_dagster(account: Account) -> None:
    """Through Glue's event, EventBridge's rule and the function's zip."""
    pipeline = account.settings.pipeline("by_lambda")
    account.put(pipeline, {"log_id": {"S": "a"}, "t": {"SS": ["x"]}, "ids": {"NS": ["1"]}})

    def wait_for(columns: dict[str, str]) -> None:
        deadline = time.monotonic() + FIX_SECONDS
        while True:
            try:
                found = account.columns(pipeline)
            except Exception as error:  # noqa: BLE001 - shown when the time is over
                found = {"error": str(error)}
            if found == columns:
                return
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    types = {"log_id": "string", "ids": "array<bigint>", "t": "array<string>"}
    account.cloud.glue.start_crawler(Name=pipeline.crawler)
    wait_for(types)
    # A revert to an earlier, broken version is a table change like any other.
    reference = TableReference(pipeline.database, "by_lambda")
    versions = account.cloud.glue.get_table_versions(
        DatabaseName=reference.database, TableName=reference.name
    )["TableVersions"]
    broken = next(
        version["Table"]
        for version in versions
        if any("set<" in column.type for column in columns_of(table_input(version["Table"])))
    )
    account.cloud.glue.update_table(
        DatabaseName=reference.database,
        TableInput={"Name": reference.name, "StorageDescriptor": broken["StorageDescriptor"]},
    )
    wait_for(types)
    last_version = read_table(account.cloud.glue, reference).version_id
    time.sleep(2)
    assert read_table(account.cloud.glue, reference).version_id == last_version


@pytest.fixture
def terminal(account: Account, tmp_path: Path) -> Any:
    """Runs ``ddb-pipeline`` against the same embedded AWS."""
    config = tmp_path / "pipelines.toml"
    config.write_text(
        '[[pipelines]]\nname = "by_dagster"\nschema_fix = "dagster"\n'
        '[[pipelines]]\nname = "by_lambda"\nschema_fix = "lambda"\n'
    )
    environment = {
        "DDB_PIPELINE_CONFIG": str(config),
        "DDB_PIPELINE_HOME": str(account.settings.home),
        "DDB_PIPELINE_TARGET": "embedded",
    }

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments, env=environment, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_crawl_and_fix_from_a_terminal(account: Account, terminal: Any) -> None:
    account.cloud.dynamodb.create_table(
        TableName="By-Hand",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    account.cloud.dynamodb.put_item(
        TableName="By-Hand", Item={"id": {"S": "a"}, "b": {"B": b"\x00"}, "t": {"NS": ["1", "2"]}}
    )
    account.cloud.glue.create_database(DatabaseInput={"Name": "by_hand"})
    crawled = terminal("crawl", "By-Hand", "by_hand")
    assert crawled.splitlines()[0] == "by_hand.by_hand: created, 3 columns from 1 items."
    assert "  t: set<bigint>" in crawled.splitlines()
    dry = terminal("fix", "by_hand", "by_hand", "--dry-run")
    assert "- set<bigint>" in dry
    assert "+ array<bigint>" in dry
    assert dry.splitlines()[-1] == "by_hand.by_hand: 2 change(s) to make, nothing written."
    assert terminal("fix", "by_hand", "by_hand", "--dry-run") == dry
    assert "2 change(s) made, version" in terminal("fix", "by_hand", "by_hand")
    assert "every column is valid" in terminal("fix", "by_hand", "by_hand")
    statement = terminal("ddl", "by_hand", "by_hand", "--location", "s3://lake/by-hand/")
    assert "  `t` array<bigint>" in statement
    assert statement.endswith("LOCATION 's3://lake/by-hand/';\n")
