"""The code location loads with any configuration, and makes no request while it loads."""

from pathlib import Path

import dagster as dg
import pytest

from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.definitions import build_defs

CONFIGURED = """
[[pipelines]]
name = "search_logs"
bucket = "our-lake"
[[pipelines]]
name = "orders"
bucket = "our-orders"
delivery_schema = "crawled"
start = 2026-03-01T00:00:00Z
crawl_with = "builtin"
"""


@pytest.fixture(params=["demo", "embedded", "aws"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "demo":
        return load_settings({}, tmp_path)
    (tmp_path / ".ddb_pipeline.toml").write_text(CONFIGURED, "utf-8")
    return load_settings({"DDB_PIPELINE_TARGET": request.param}, tmp_path)


def test_definitions_load(settings: Settings) -> None:
    definitions = build_defs(settings)
    dg.Definitions.validate_loadable(definitions)
    keys = {key.to_user_string() for key in definitions.resolve_all_asset_keys()}
    for pipeline in settings.pipelines:
        assert f"{pipeline.name}/normalized_schema" in keys
    assert not (settings.home / "embedded").exists()


def test_sensors_and_schedules_run_by_default_in_the_embedded_aws_only(settings: Settings) -> None:
    repository = build_defs(settings).get_repository_def()
    statuses = {sensor.default_status.value for sensor in repository.sensor_defs}
    statuses |= {schedule.default_status.value for schedule in repository.schedule_defs}
    assert statuses == ({"STOPPED"} if settings.target.value == "aws" else {"RUNNING"})


def test_demo_traffic_is_written_to_the_embedded_aws_only(settings: Settings) -> None:
    names = {sensor.name for sensor in build_defs(settings).get_repository_def().sensor_defs}
    assert ("demo_traffic" in names) == (settings.target.value == "embedded")
