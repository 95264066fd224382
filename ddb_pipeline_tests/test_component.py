"""The pipelines in a Dagster project that is not this one, as its user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

import ddb_pipeline
from ddb_pipeline.component import DynamoDBParquetPipeline, build_pipeline
from ddb_pipeline.config.settings import ConfigError

TYPE = "ddb_pipeline.DynamoDBParquetPipeline"
ROOT = Path(ddb_pipeline.__file__).parents[1]
PYPROJECT = """
[project]
name = "shop"
version = "0.1.0"
requires-python = ">=3.10"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg

@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
OTHER = """
import dagster as dg

@dg.asset(deps=[dg.AssetKey(["orders", "parquet_stream"])])
def report(): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Dagster project with an asset of its own."""
    package = tmp_path / "src" / "shop"
    (package / "defs").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS, "utf-8")
    (package / "defs" / "report.py").write_text(OTHER, "utf-8")
    return tmp_path


def dg_command(project: Path, *arguments: str, **environment: str) -> str:
    """The output of ``dg`` in the project, with this package's entry point."""
    program = str(Path(sys.executable).with_name("dg"))
    done = subprocess.run(
        [program, *arguments],
        cwd=project,
        env={
            **os.environ,
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": os.pathsep.join([str(project / "src"), str(entry_point(project))]),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def entry_point(project: Path) -> Path:
    """A folder with this package and its metadata, as if it were installed."""
    folder = project / "installed"
    metadata = folder / "ddb_pipeline_here-0.1.0.dist-info"
    if not metadata.exists():
        metadata.mkdir(parents=True)
        (folder / "ddb_pipeline").symlink_to(ROOT / "ddb_pipeline")
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ddb-pipeline-here\n")
        (metadata / "entry_points.txt").write_text(
            "[dagster_dg_cli.registry_modules]\nddb_pipeline = ddb_pipeline\n"
        )
    return folder


@pytest.mark.e2e
def test_a_project_finds_scaffolds_and_loads_the_component(project: Path) -> None:
    assert TYPE in dg_command(project, "list", "components", "--json")
    dg_command(project, "scaffold", "defs", TYPE, "orders")
    path = project / "src" / "shop" / "defs" / "orders" / "defs.yaml"
    written = yaml.safe_load(path.read_text("utf-8"))
    assert written["type"] == TYPE
    assert written["attributes"]["pipelines"][0]["name"] == "orders"
    bucket = {"name": "orders", "bucket": "{{ env.LAKE }}"}
    text = yaml.safe_dump({"type": TYPE, "attributes": {"pipelines": [bucket]}})
    path.write_text(text, "utf-8")
    listed = json.loads(dg_command(project, "list", "defs", "--json", LAKE="our-lake"))
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {"report", "orders/normalized_schema", "orders/parquet_stream"} <= keys
    assert "demo_traffic" not in {sensor["name"] for sensor in listed["sensors"]}


def test_the_package_has_the_two_names_of_the_component() -> None:
    assert ddb_pipeline.DynamoDBParquetPipeline is DynamoDBParquetPipeline
    assert ddb_pipeline.build_pipeline is build_pipeline
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        ddb_pipeline.other  # noqa: B018


def test_definitions_merge_with_a_projects_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDB_PIPELINE_TARGET", "aws")

    @dg.asset
    def report() -> None: ...

    own = dg.Definitions(assets=[report], executor=dg.multiprocess_executor)
    pipelines = build_pipeline({"pipelines": [{"name": "orders", "bucket": "our-lake"}]})
    merged = dg.Definitions.merge(own, pipelines)
    dg.Definitions.validate_loadable(merged)
    assert merged.executor is dg.multiprocess_executor


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"pipelines": [{"name": "orders", "buket": "x"}]}, r"pipelines\[0\].buket: unknown key"),
        ({"pipelines": [{"name": "orders", "bucket": "_"}]}, "is not an S3 bucket name"),
        ({"pipelines": [{"name": "a b"}]}, r"pipelines\[0\].name"),
    ],
)
def test_a_configuration_that_is_not_valid_names_its_key(
    config: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_pipeline(config)


def test_the_attributes_have_a_schema_with_every_key_of_a_pipeline() -> None:
    schema = json.dumps(DynamoDBParquetPipeline.get_model_cls().model_json_schema())
    for key in ("dynamodb_table", "crawl_schedule", "delivery_schema", "The lake's S3 bucket."):
        assert key in schema
