"""The pipeline of a table that a command line names."""

import pytest

from ddb_pipeline.cli.regions import (
    cloud_of_catalog_table,
    cloud_of_table,
    decisions_of_catalog_table,
)
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.glue.catalog import TableReference

SHARED = {"database": "sales", "dynamodb_table": "orders"}


def settings(*regions: str) -> Settings:
    """Pipelines with one table name and one database, each in a region; each decides otherwise."""
    pipelines = [
        {
            "name": f"orders_{number}",
            "bucket": f"lake-{number}",
            "region": region,
            **SHARED,
            "type_conflicts": {"score": decision},
        }
        for number, (region, decision) in enumerate(zip(regions, ("text", "split"), strict=False))
    ]
    return Settings.model_validate({"target": "aws", "region": "eu-west-1", "pipelines": pipelines})


@pytest.mark.parametrize(
    ("regions", "region", "decision"),
    [
        (("eu-west-1", "us-east-1"), "eu-west-1", "text"),
        (("us-east-1", "eu-west-1"), "eu-west-1", "split"),
        (("us-east-1", "us-west-2"), "us-east-1", "text"),
    ],
)
def test_region_and_decisions_are_those_of_one_pipeline(
    regions: tuple[str, ...], region: str, decision: str
) -> None:
    found, table = settings(*regions), TableReference("sales", "orders")
    assert cloud_of_table(found, "orders").region_name == region
    assert cloud_of_catalog_table(found, table).region_name == region
    decisions = decisions_of_catalog_table(found, table)
    assert decisions.names_by_path == {"score": decision}


def test_a_table_of_no_pipeline_is_one_of_the_settings_region() -> None:
    found, table = settings("us-east-1"), TableReference("other", "orders")
    assert cloud_of_table(found, "other").region_name == "eu-west-1"
    assert cloud_of_catalog_table(found, table).region_name == "eu-west-1"
    assert not decisions_of_catalog_table(found, table)
