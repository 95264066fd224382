"""The state of catalog tables: their versions, and whether the fix has something to change."""

from typing import Any

import boto3
from moto import mock_aws

from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.watch import TableState, TableStates, table_state
from ddb_pipeline.hive.type_decisions import NO_DECISIONS


def state(version: str, type_text: str, created_at: int = 7) -> TableState:
    table = CatalogTable(
        TableReference("logs", "events"),
        version,
        {
            "Name": "events",
            "StorageDescriptor": {"Columns": [{"Name": "tags", "Type": type_text}]},
        },
    )
    return table_state(table, created_at)


def test_a_table_with_sets_is_pending_and_leads_to_the_repaired_schema() -> None:
    broken, repaired = state("3", "set<string>"), state("4", "array<string>")
    assert (broken.pending, repaired.pending) == (True, False)
    assert broken.repaired_fingerprint == repaired.repaired_fingerprint
    assert broken.repaired_fingerprint != state("5", "array<bigint>").repaired_fingerprint


def test_a_recreated_table_has_other_version_keys() -> None:
    assert state("3", "string").version_key == "7.3"
    assert state("3", "string", created_at=8).version_key == "8.3"


@mock_aws
def test_tables_that_do_not_exist_have_no_state() -> None:
    glue: Any = boto3.client("glue", "eu-west-1", aws_access_key_id="t", aws_secret_access_key="t")
    glue.create_database(DatabaseInput={"Name": "logs"})
    columns = [{"Name": "tags", "Type": "set<string>"}]
    for name in ("events", "unwatched"):
        table = {"Name": name, "StorageDescriptor": {"Columns": columns}}
        glue.create_table(DatabaseName="logs", TableInput=table)
    events = TableReference("logs", "events")
    others = [TableReference("logs", "missing"), TableReference("no_database", "events")]
    watched = TableStates(glue, dict.fromkeys([events, *others], NO_DECISIONS))
    found = {reference: watched.find(reference) for reference in [events, *others]}
    states = {reference: state for reference, state in found.items() if state}
    assert list(states) == [events]
    assert states[events].pending
