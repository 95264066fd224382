"""``ddb-pipeline export`` on the embedded AWS, and its error messages."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.dataset
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


def at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_an_incremental_export_becomes_rows_of_changes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    end = datetime.now(timezone.utc).replace(microsecond=0)
    window = ["--from", at(end - timedelta(hours=2)), "--to", at(end)]
    arguments = ["export", "search-logs", "s3://search-logs-lake/changes", *window]
    exported = CliRunner().invoke(cli, [*arguments, "--view", "NEW_IMAGE"], env=environment)
    assert exported.exit_code == 0, exported.output
    output, _, folder = exported.output.strip().splitlines()[-1].partition(": ")
    assert output.startswith("60 items in ")
    target = tmp_path / "lake"
    for resumed in range(2):
        arguments = ["convert-export", folder, str(target), "--json"]
        converted = CliRunner().invoke(cli, arguments, env=environment)
        assert converted.exit_code == 0, converted.output
        report = json.loads(converted.output)
        assert (report["rows"], report["rejected"], resumed) == (60, 0, resumed)
    assert [name for name, _ in report["columns"]][-3:] == [
        "ddb_keys",
        "ddb_event_name",
        "ddb_write_time",
    ]
    rows = pyarrow.dataset.dataset(target).to_table().to_pylist()
    assert {row["ddb_event_name"] for row in rows} == {"UPSERT"}
    assert all(json.loads(row["ddb_keys"]) == {"log_id": row["log_id"]} for row in rows)


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (["--from", at(NOW)], "Give --from and --to, or neither"),
        (["--from", "yesterday", "--to", at(NOW)], "'yesterday' is not a time"),
        (["--from", at(NOW), "--to", at(NOW + timedelta(minutes=14))], "15 minutes to 24 hours"),
        (["--from", at(NOW - timedelta(days=2)), "--to", at(NOW)], "15 minutes to 24 hours"),
        (["--from", at(NOW), "--to", at(NOW + timedelta(hours=1))], "ends in the future"),
        (
            ["--from", at(NOW - timedelta(days=37)), "--to", at(NOW - timedelta(days=36))],
            "point-in-time recovery reaches",
        ),
        (
            ["--scan", "--from", at(NOW - timedelta(hours=1)), "--to", at(NOW)],
            "A scan cannot read the changes",
        ),
    ],
)
def test_windows_that_are_refused(
    environment: dict[str, str], window: list[str], reason: str
) -> None:
    arguments = ["export", "search-logs", "s3://search-logs-lake/x", *window]
    result = CliRunner().invoke(cli, arguments, env=environment)
    assert result.exit_code != 0
    assert reason in f"{result.output} {result.exception}"


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
