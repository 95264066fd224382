"""``ddb-pipeline vacuum``: the report as text and as JSON, and an unknown pipeline."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from ddb_pipeline.cli.main import cli
from ddb_pipeline.cli.vacuum import text
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.lake.objects import StoredObject
from ddb_pipeline.lake.removals import VacuumReport
from ddb_pipeline.lake.retention import Removal


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("cli-vacuum")
    yield {"DDB_PIPELINE_HOME": str(home), "DDB_PIPELINE_TARGET": "embedded"}
    stop(home / "embedded")


@pytest.mark.embedded
def test_an_empty_lake(environment: dict[str, str]) -> None:
    arguments = ["vacuum", "search_logs", "--dry-run"]
    as_text = CliRunner().invoke(cli, arguments, env=environment)
    assert as_text.output == "Would remove 0 objects, 0 bytes.\n", as_text.output
    as_json = CliRunner().invoke(cli, [*arguments, "--json"], env=environment)
    assert json.loads(as_json.output) == {
        "dry_run": True,
        "objects": 0,
        "bytes": 0,
        "removals": [],
        "retired_snapshots": [],
        "expired_iceberg_snapshots": [],
        "repaired_partitions": [],
        "more_to_remove": False,
    }


def test_an_unknown_pipeline(environment: dict[str, str]) -> None:
    result = CliRunner().invoke(cli, ["vacuum", "other"], env=environment)
    assert result.exit_code == 2
    assert "There is no pipeline 'other'; there are: search_logs." in result.output


def test_the_report_for_a_reader() -> None:
    objects = (StoredObject("a", 1_000, "", 0.0), StoredObject("b", 234, "", 0.0))
    removal = Removal("raw objects", "2026-05-28-10:00", "their rows are elsewhere", objects)
    report = VacuumReport([removal], ["2026-05-28-11:00"], ["0176-a"], unfinished=True)
    lines = text(report, dry_run=False).splitlines()
    assert " ".join(lines[0].split()) == (
        "raw objects 2026-05-28-10:00 2 objects 1,234 bytes: their rows are elsewhere"
    )
    assert lines[1:] == [
        "snapshot     0176-a: its partition is removed",
        "partition    2026-05-28-11:00: it names its generation again",
        "Removed 2 objects, 1,234 bytes. There is more; run it again.",
    ]
