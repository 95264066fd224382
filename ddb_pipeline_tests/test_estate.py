"""Hundreds of pipelines: the cost of the code location grows with their number, not its square."""

from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import assets, build_defs
from ddb_pipeline.defs import copies
from ddb_pipeline.defs.checks import nothing_lost_check, type_conflicts_check
from ddb_pipeline.defs.health import health_checks
from ddb_pipeline.defs.overview import OVERVIEW


def estate(count: int, **options: Any) -> Settings:
    """Settings of many pipelines of a real account."""
    pipelines = [
        {"name": f"table_{number:03}", "export_schedule": "@daily", "relevance": {}, **options}
        for number in range(count)
    ]
    return Settings.model_validate({"target": "aws", "pipelines": pipelines})


def test_the_number_of_jobs_does_not_depend_on_the_pipelines() -> None:
    few, many = (
        {job.name for job in build_defs(estate(count)).get_repository_def().get_all_jobs()}
        for count in (2, 6)
    )
    assert few == many


def test_a_jobs_snapshot_has_no_settings_of_pipelines() -> None:
    sizes = [len(export_job_config(count)) for count in (2, 20)]
    assert sizes[0] == sizes[1]


def export_job_config(count: int) -> str:
    """The configuration of a job that is not about the assets, as Dagster stores it."""
    definitions = build_defs(estate(count))
    job = definitions.resolve_job_def("export_table")
    return str(job.get_config_schema_snapshot())


def test_each_group_has_sensors_of_its_own_by_configuration() -> None:
    groups = ["shop", "shop", ""]
    pipelines = [{"name": f"table_{n}", "group": group} for n, group in enumerate(groups)]
    settings = Settings.model_validate(
        {"target": "aws", "sensors": "group", "pipelines": pipelines}
    )
    definitions = build_defs(settings)
    repository = definitions.get_repository_def()
    found = {
        sensor.name: {key.path[0] for key in sensor.asset_selection.resolve(repository.asset_graph)}
        for sensor in repository.sensor_defs
        if sensor.name.startswith("landing_sensor") and sensor.asset_selection
    }
    assert found == {
        "landing_sensor_shop": {"table_0", "table_1"},
        "landing_sensor_table_2": {"table_2"},
    }
    specs = {spec.key.path[0]: spec.group_name for spec in definitions.resolve_all_asset_specs()}
    assert specs.pop(OVERVIEW) == "overview"
    assert specs == {"table_0": "shop", "table_1": "shop", "table_2": "table_2"}


@pytest.mark.parametrize("stage", range(7))
def test_an_asset_made_after_the_first_of_its_kind_is_as_dagster_defines_it(
    stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = estate(2)
    first, second = settings.pipelines
    monkeypatch.setattr(copies, "KINDS", {})
    inspected = facts(assets(settings, second)[stage])
    monkeypatch.setattr(copies, "KINDS", {})
    assets(settings, first)
    assert facts(assets(settings, second)[stage]) == inspected


def test_a_check_made_after_the_first_of_its_kind_is_as_dagster_defines_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = estate(2).pipelines
    monkeypatch.setattr(copies, "KINDS", {})
    inspected = [facts(check) for check in checks(second)]
    # Other kinds of datasets have the same check.
    monkeypatch.setattr(copies, "KINDS", {})
    made = [facts(check) for pipeline in (first, second) for check in checks(pipeline)]
    assert made[len(inspected) :] == inspected


def test_assets_and_checks_of_all_pipelines_have_the_resources_that_they_need() -> None:
    repository = build_defs(estate(3)).get_repository_def()
    found: dict[str, set[frozenset[str]]] = {}
    for asset in repository.asset_graph.assets_defs:
        if asset.is_executable:
            needed = asset.required_resource_keys - {"io_manager"}
            assert needed <= set(asset.resource_defs), asset
            kind = asset.op.name.partition("__")[2]
            found.setdefault(kind, set()).add(frozenset(asset.resource_defs))
    assert {kind for kind, resources in found.items() if len(resources) != 1} == set()


def test_a_resource_that_is_missing_is_an_error_of_the_definitions() -> None:
    definitions = build_defs(estate(2))
    without = dg.Definitions(assets=definitions.assets)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="'cloud' required"):
        without.get_repository_def()


def checks(pipeline: PipelineConfig) -> list[dg.AssetChecksDefinition]:
    """All checks of a pipeline that are not part of an asset."""
    return [type_conflicts_check(pipeline), nothing_lost_check(pipeline), *health_checks(pipeline)]


def facts(asset: dg.AssetsDefinition) -> dict[str, Any]:
    """All that an asset and its op consist of, besides the function."""
    op = asset.op
    return {
        "specs": list(asset.specs),
        "checks": list(asset.check_specs),
        "keys": (dict(asset.keys_by_input_name), dict(asset.keys_by_output_name)),
        "op": (op.name, op.description, op.pool, op.retry_policy, op.tags),
        "ins": dict(op.ins),
        "outs": dict(op.outs),
        "resources": op.required_resource_keys,
        "config": op.config_schema.as_field().config_type.key,
        "backfill": (asset.backfill_policy, asset.can_subset),
        "attributes": {k: plain(v) for k, v in vars(op).items() if k != "_config_schema"},
    }


def plain(value: Any) -> Any:
    """The attributes of an op and of its inputs and outputs as values that can be compared."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return [plain(each) for each in value]
    if type(value).__name__ in ("InputDefinition", "OutputDefinition"):
        return plain(vars(value))
    if type(value).__name__ == "DecoratedOpFunction":
        return plain(value.decorated_fn)
    return value.__qualname__ if callable(value) else value
