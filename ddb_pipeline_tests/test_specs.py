"""Every spec of the code location, compared with the files in ``specs/``.

A change of a name, dependency, partition, target or description shows up as a change of these
files. Write them again, and review the difference:

    python -m ddb_pipeline_tests.test_specs
"""

import json
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.definitions import build_defs

SPECS = Path(__file__).parent / "specs"
START = datetime(2026, 9, 21, tzinfo=timezone.utc)
CONFIGURED = """
[[pipelines]]
name = "search_logs"
bucket = "our-lake"
start = 2026-09-21T00:00:00Z
export_schedule = "0 3 * * *"
[pipelines.relevance]
window_days = 30

[[pipelines]]
name = "orders"
dynamodb_table = "Orders"
bucket = "our-orders"
delivery_schema = "crawled"
stream_reader = "consumer"
start = 2026-03-01T00:00:00Z
crawl_with = "builtin"
"""


def demo(folder: Path) -> Settings:
    """The settings without a configuration file, with a fixed start."""
    settings = load_settings({}, folder)
    pipelines = tuple(p.model_copy(update={"start": START}) for p in settings.pipelines)
    return settings.model_copy(update={"pipelines": pipelines})


def configured(folder: Path) -> Settings:
    """Two pipelines in a real account."""
    (folder / ".ddb_pipeline.toml").write_text(CONFIGURED, "utf-8")
    return load_settings({"DDB_PIPELINE_TARGET": "aws"}, folder)


def specs(settings: Settings) -> dict[str, Any]:
    """The code location as plain values, in the order of names."""
    definitions = build_defs(settings)
    repository = definitions.get_repository_def()
    graph = definitions.resolve_asset_graph()

    def ops(job_name: str) -> str:
        """The ops of a job; an asset's op has the name of the asset."""
        return joined(node.name for node in repository.get_job(job_name).nodes)

    def targets(job_names: Iterable[str]) -> str:
        """The jobs, or the ops of those that Dagster makes of a selection of assets."""
        return joined(ops(name) if name.startswith("__") else name for name in job_names)

    return {
        "assets": {
            spec.key.to_user_string(): asset(spec)
            for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda s: s.key)
        },
        "checks": {
            f"{key.asset_key.to_user_string()}:{key.name}": graph.get_check_spec(key).description
            for key in sorted(graph.asset_check_keys)
        },
        "jobs": {
            job.name: {"description": job.description, "ops": ops(job.name)}
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "sensors": {
            sensor.name: {
                "description": sensor.description,
                "targets": targets(target.job_name for target in sensor.targets),
                "assets": joined(
                    key.to_user_string() for key in sensor.asset_selection.resolve(graph)
                )
                if sensor.asset_selection
                else "",
                "seconds": sensor.minimum_interval_seconds,
                "default_status": sensor.default_status.value,
            }
            for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
        },
        "schedules": {
            schedule.name: {
                "description": schedule.description,
                "targets": targets([schedule.job_name]),
                "cron": schedule.cron_schedule,
                "timezone": schedule.execution_timezone,
                "default_status": schedule.default_status.value,
            }
            for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
        },
    }


def asset(spec: dg.AssetSpec) -> dict[str, Any]:
    """One asset's spec as plain values."""
    return {
        "description": spec.description,
        "deps": joined(dep.asset_key.to_user_string() for dep in spec.deps),
        "group": spec.group_name,
        "kinds": joined(spec.kinds),
        "partitions": str(spec.partitions_def) if spec.partitions_def else None,
    }


def joined(names: Iterable[str]) -> str:
    """Names in order, in one line."""
    return ", ".join(sorted(names))


def as_text(settings: Settings) -> str:
    """The specs as a file's text."""
    return json.dumps(specs(settings), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("case", [demo, configured])
def test_specs_are_as_recorded(case: Any, tmp_path: Path) -> None:
    recorded = (SPECS / f"{case.__name__}.json").read_text("utf-8")
    assert json.loads(as_text(case(tmp_path))) == json.loads(recorded)


def main() -> None:
    """Write the files again."""
    SPECS.mkdir(exist_ok=True)
    for case in (demo, configured):
        with tempfile.TemporaryDirectory() as folder:
            text = as_text(case(Path(folder)))
        (SPECS / f"{case.__name__}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
