"""Every way that Dagster finds the code location leads to the same definitions."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.definitions import build_defs

pytestmark = pytest.mark.e2e

PROJECT = Path(__file__).parents[2]


def run(*command: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name(command[0]))
    return subprocess.run(
        [program, *command[1:]],
        cwd=cwd,
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_dg_lists_what_the_code_defines(tmp_path: Path) -> None:
    done = run("dg", "list", "defs", "--json")
    assert done.returncode == 0, done.stderr
    listed: dict[str, Any] = json.loads(done.stdout)
    repository = build_defs(load_settings({}, tmp_path)).get_repository_def()
    assert {asset["asset_key"] for asset in listed["assets"]} == {
        key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()
    }
    assert {sensor["name"] for sensor in listed["sensors"]} == {
        sensor.name for sensor in repository.sensor_defs
    }
    assert {schedule["name"] for schedule in listed["schedules"]} == {
        schedule.name for schedule in repository.schedule_defs
    }


def test_workspace_yaml_loads_from_the_project_folder() -> None:
    done = run("dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr
    assert "ddb_pipeline" in done.stdout + done.stderr


def test_a_malformed_configuration_names_its_key(tmp_path: Path) -> None:
    configuration = tmp_path / "pipelines.toml"
    configuration.write_text('[[pipelines]]\nname = "logs"\nbuket = "x"\n', "utf-8")
    done = run(
        "dagster",
        "definitions",
        "validate",
        "-m",
        "ddb_pipeline.definitions",
        DDB_PIPELINE_CONFIG=str(configuration),
    )
    assert done.returncode != 0
    assert "pipelines[0].buket: unknown key" in done.stdout + done.stderr
