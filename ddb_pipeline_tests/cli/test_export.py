"""``ddb-pipeline export`` on the embedded AWS, and its error messages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ddb_pipeline.cli.main import cli
from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.resources.cloud import CloudResource

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("cli-export")
    environment = {"DDB_PIPELINE_HOME": str(home), "DDB_PIPELINE_TARGET": "embedded"}
    cloud = CloudResource.of(load_settings(environment, home))
    write_items(cloud.dynamodb, "search-logs", SearchLogs(1, b"key").items(60, 1_700_000_000.0))
    yield environment
    stop(home / "embedded")


@pytest.mark.parametrize("options", [[], ["--scan"]])
def test_export_and_convert(
    environment: dict[str, str], tmp_path: Path, options: list[str]
) -> None:
    target = f"s3://search-logs-lake/by-hand{len(options)}"
    exported = CliRunner().invoke(cli, ["export", "search-logs", target, *options], env=environment)
    assert exported.exit_code == 0, exported.output
    output, _, folder = exported.output.strip().splitlines()[-1].partition(": ")
    assert output.startswith("60 items in ")
    assert folder.startswith(f"{target}/AWSDynamoDB/")
    converted = CliRunner().invoke(
        cli, ["convert-export", folder, str(tmp_path / "lake")], env=environment
    )
    assert converted.exit_code == 0, converted.output
    assert converted.output.startswith("60 rows of ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-table", "s3://search-logs-lake/x"], "'no-such-table' does not exist"),
        (["no-such-table", "s3://search-logs-lake/x", "--scan"], "does not exist"),
        (["search-logs", "s3://no-such-bucket/x", "--scan"], "'no-such-bucket' cannot be written"),
        (["search-logs", "folder"], "is not an s3:// URL"),
    ],
)
def test_exports_that_are_refused(
    environment: dict[str, str], arguments: list[str], reason: str
) -> None:
    result = CliRunner().invoke(cli, ["export", *arguments], env=environment)
    assert result.exit_code != 0
    assert reason in f"{result.output} {result.exception}"
