"""Links to the AWS console: where they lead, and that the embedded AWS has none."""

from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.console_links import console_links, dataset_metadata
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.table_metadata import TABLE_CATALOG


def settings(region: str = "eu-west-1", target: str = "aws") -> Settings:
    pipelines = [{"name": "orders", "dynamodb_table": "prod.Orders", "bucket": "data"}]
    return Settings.model_validate({"target": target, "region": region, "pipelines": pipelines})


@pytest.mark.parametrize(
    ("resource", "name", "url"),
    [
        (
            {"dynamodb_table": "prod.Orders"},
            "dynamodb_console",
            "https://eu-west-1.console.aws.amazon.com/dynamodbv2/home?region=eu-west-1"
            "#table?name=prod.Orders",
        ),
        (
            {"catalog_table": TableReference("lake", "orders")},
            "glue_console",
            "https://eu-west-1.console.aws.amazon.com/glue/home?region=eu-west-1"
            "#/v2/data-catalog/tables/view/orders?database=lake",
        ),
        (
            {"lake": LakeRoot("data", "sales/a b/"), "prefix": "stream/"},
            "s3_console",
            "https://eu-west-1.console.aws.amazon.com/s3/buckets/data?region=eu-west-1"
            "&prefix=sales/a%20b/stream/",
        ),
    ],
)
def test_where_a_link_leads(resource: dict[str, Any], name: str, url: str) -> None:
    assert {
        k: v.url for k, v in console_links(settings(), settings().pipelines[0], **resource).items()
    } == {name: url}


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "us-east-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_console_of_a_partition(region: str, host: str) -> None:
    given = settings(region)
    found = console_links(given, given.pipelines[0], dynamodb_table="orders")
    assert str(found["dynamodb_console"].url).startswith(f"https://{host}/")


def test_the_console_of_a_pipelines_own_region() -> None:
    elsewhere = {"name": "logs", "bucket": "logs-data", "region": "us-east-1"}
    given = Settings.model_validate(
        {"target": "aws", "region": "eu-west-1", "pipelines": [{"name": "orders"}, elsewhere]}
    )
    first, second = (
        dataset_metadata(given, each, TableReference("lake", "t"), "stream/")
        for each in given.pipelines
    )
    assert "eu-west-1" in first["s3_console"].url
    assert "us-east-1" in second["s3_console"].url
    assert "ddb_pipeline/region" not in first
    assert second["ddb_pipeline/region"] == "us-east-1"


def test_each_asset_of_a_real_account_has_its_links() -> None:
    specs = build_defs(settings()).resolve_all_asset_specs()
    found = {spec.key.path[-1]: links(spec) for spec in specs if spec.key.path[0] == "orders"}
    assert all(found.values())
    assert found["dynamodb_table"] == {"dynamodb_console"}
    assert found["normalized_schema"] == {"glue_console"}
    assert found["parquet_stream"] == {"glue_console", "s3_console"}


def test_the_embedded_aws_has_no_console() -> None:
    specs = build_defs(settings(target="embedded")).resolve_all_asset_specs()
    assert not any(links(spec) for spec in specs)


def links(spec: dg.AssetSpec) -> set[str]:
    return {name for name in spec.metadata if name.endswith("_console")}


def test_the_io_manager_finds_tables_of_two_catalogs() -> None:
    there = {
        "catalog_id": "222233334444",
        "existing_database": True,
        "crawl_with": "builtin",
        "schema_fix": "dagster",
    }
    pipelines = [
        {"name": "theirs", "bucket": "theirs", "database": "sales", **there},
        {"name": "ours", "bucket": "ours", "database": "sales"},
    ]
    two = Settings.model_validate({"target": "aws", "pipelines": pipelines})
    found = [
        dataset_metadata(two, each, TableReference("sales", "t"), "") for each in two.pipelines
    ]
    assert [each.get(TABLE_CATALOG) for each in found] == ["222233334444", None]
    resources = build_defs(two).resources or {}
    assert resources["parquet_io_manager"].cloud.catalog_id == ""
