"""What a pipeline needs whose catalog or table belongs to another account."""

import re
from typing import Any

import pytest

from ddb_pipeline.config.names import shared_table_arn
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.sharing import sharing_problems
from ddb_pipeline_tests.support.other_accounts import (
    CATALOG,
    OF_CATALOG,
    OF_TABLE,
    OWN,
    STREAM,
    TABLE,
    pipeline,
)

LAKE = {
    "name": "company",
    "bucket": "company-data",
    "catalog_id": CATALOG,
    "existing_database": True,
    "schema_fix": "dagster",
}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (OF_CATALOG, ""),
        ({**OF_CATALOG, "catalog_id": "12"}, "catalog_id"),
        ({**OF_CATALOG, "crawl_with": "glue"}, 'catalog_id needs crawl_with = "builtin"'),
        ({**OF_CATALOG, "existing_database": False}, "catalog_id needs existing_database = true"),
        ({**OF_CATALOG, "schema_fix": "both"}, 'catalog_id needs schema_fix = "dagster"'),
        (OF_TABLE, ""),
        ({**OF_TABLE, "current": "stream"}, ""),
        ({**OF_TABLE, "stream_reader": "consumer"}, ""),
        ({**OF_TABLE, "existing_table": False, "stream_arn": STREAM}, ""),
        ({**OF_TABLE, **OF_CATALOG}, ""),
        ({**OF_TABLE, "table_account": "12"}, "table_account"),
        ({**OF_TABLE, "existing_table": False}, "table_account needs existing_table = true"),
        ({**OF_TABLE, "crawl_with": "glue"}, 'table_account needs crawl_with = "builtin"'),
        ({**OF_TABLE, "export_with": "export"}, 'table_account needs export_with = "scan"'),
        ({**OF_TABLE, "gap_policy": "heal"}, 'table_account needs gap_policy = "report"'),
        ({**OF_TABLE, "current": "exports"}, 'cannot be combined with current = "exports"'),
        ({**OF_TABLE, "stream_arn": STREAM.replace(TABLE, OWN)}, "stream_arn is of account"),
    ],
)
def test_what_a_pipeline_of_several_accounts_needs(config: dict[str, Any], problem: str) -> None:
    if problem:
        with pytest.raises(ValueError, match=re.escape(problem)):
            pipeline(**config)
    else:
        assert pipeline(**config).name == "orders"


def test_settings_stay_valid_when_the_region_is_filled_in() -> None:
    # A stream of the embedded AWS is in its own region, whatever the settings' is.
    given = {"name": "orders", "stream_arn": STREAM}
    settings = Settings.model_validate({"region": "us-east-1", "pipelines": [given]})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_the_pipelines_of_a_lake_have_its_catalog() -> None:
    pipelines = [
        {"name": "orders", "crawl_with": "builtin"},
        {"name": "logs", "bucket": "logs-data"},
    ]
    found = Settings.model_validate({"lake": LAKE, "pipelines": pipelines}).pipelines
    assert [each.catalog_id for each in found] == [CATALOG, ""]


@pytest.mark.parametrize("given", [{"existing_database": False}, {"schema_fix": "both"}])
def test_what_a_lake_of_another_catalog_needs(given: dict[str, Any]) -> None:
    lake = {**LAKE, **given}
    with pytest.raises(ValueError, match=f"catalog_id needs {next(iter(given))}"):
        Settings.model_validate({"lake": lake, "pipelines": [{"name": "a", "bucket": "b-lake"}]})


def test_two_catalogs_may_have_tables_of_the_same_name() -> None:
    same = {"dynamodb_table": "orders", "database": "sales", "existing_database": True}
    first = PipelineConfig.model_validate({"name": "first", **same})
    second = PipelineConfig.model_validate({"name": "second", **OF_CATALOG, **same})
    assert not list(sharing_problems([first, second]))


@pytest.mark.parametrize(
    ("region", "arn"),
    [
        ("eu-west-1", f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders"),
        ("cn-north-1", f"arn:aws-cn:dynamodb:cn-north-1:{TABLE}:table/orders"),
    ],
)
def test_the_arn_of_a_table_of_another_account(region: str, arn: str) -> None:
    assert shared_table_arn(pipeline(**OF_TABLE, region=region)) == arn
    assert shared_table_arn(pipeline(region=region)) == ""
