"""Pipelines that share the stack of a lake."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ddb_pipeline.config.lake_stack import LONGEST_WATCH_LIST, LakeConfigError, watched_tables
from ddb_pipeline.config.names import alarm_topic
from ddb_pipeline.config.settings import Settings

LAKE = {"name": "company", "bucket": "company-data", "prefix": "sales"}


def settings(*pipelines: dict[str, Any], **lake: Any) -> Settings:
    return Settings.model_validate({"lake": {**LAKE, **lake}, "pipelines": pipelines})


def test_a_pipeline_has_the_lakes_names() -> None:
    (orders, own) = settings(
        {"name": "orders"}, {"name": "logs", "bucket": "other-bucket"}, tags={"team": "sales"}
    ).pipelines
    assert (orders.lake_name, own.lake_name) == ("company", "")
    assert orders.lake.uri() == "s3://company-data/sales/orders/"
    assert (orders.existing_bucket, orders.existing_database) == (True, True)
    assert (orders.database, orders.change_queue) == ("company", "company-table-changes")
    assert (orders.tags, own.tags) == ({"team": "sales"}, {})
    assert (alarm_topic(orders), alarm_topic(own)) == ("company-alarms", "logs-alarms")


def test_a_pipelines_own_settings_precede_the_lakes() -> None:
    (orders,) = settings(
        {"name": "orders", "lake_prefix": "elsewhere", "tags": {"team": "logistics"}},
        tags={"team": "sales"},
    ).pipelines
    assert orders.lake.prefix == "elsewhere/"
    assert orders.tags == {"team": "logistics"}


def test_settings_are_the_same_after_a_round_trip(tmp_path: Path) -> None:
    before = settings({"name": "orders"}, {"name": "logs", "bucket": "other-bucket"})
    assert Settings.model_validate(before.model_dump(mode="json")) == before


@pytest.mark.parametrize(
    ("pipelines", "problem"),
    [
        ([{"name": "company"}], "has the name of the lake"),
        ([{"name": "logs", "stack": "company"}], "has the name of the lake"),
        ([{"name": "one"}, {"name": "two", "lake_prefix": "sales/one"}], "would both use"),
    ],
)
def test_what_a_lake_cannot_have(pipelines: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(*pipelines)


def test_the_schema_fix_leaves_tables_of_others_alone() -> None:
    def watched(found: Settings) -> str:
        assert found.lake is not None
        return watched_tables(found.lake, found.pipelines)

    two = ({"name": "orders"}, {"name": "logs"})
    assert watched(settings(*two)) == "company.*"
    shared = {"database": "analytics", "existing_database": True}
    assert watched(settings(*two, **shared)) == "analytics.logs,analytics.orders"
    many = [{"name": f"table_with_a_long_name_{number:03}"} for number in range(150)]
    assert len(watched(settings(*many[:50], **shared))) <= LONGEST_WATCH_LIST
    assert watched(settings(*many, **shared, table_prefix="ddb_")) == "analytics.ddb_*"
    with pytest.raises(LakeConfigError, match="Set table_prefix"):
        watched(settings(*many, **shared))
