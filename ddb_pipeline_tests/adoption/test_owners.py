"""The policies of Dagster's role and of the owners of catalogs and tables of other accounts."""

from ddb_pipeline.adoption.owners import owner_policies
from ddb_pipeline.adoption.policy import dagster_statements
from ddb_pipeline_tests.support.other_accounts import (
    CATALOG,
    OF_CATALOG,
    OF_TABLE,
    OWN,
    STREAM,
    TABLE,
    pipeline,
)


def test_the_policy_names_the_resources_in_their_accounts() -> None:
    config = {**OF_CATALOG, **OF_TABLE, "stream_reader": "consumer", "current": "stream"}
    found = dagster_statements([pipeline(**config)], "eu-west-1", OWN)
    by_sid = {each.sid: each for each in found}
    accounts = {
        sid: {arn.split(":")[4] for arn in each.resources if ":s3:::" not in arn}
        for sid, each in by_sid.items()
    }
    assert {accounts[sid] == {CATALOG} for sid in ("ReadCatalog", "WriteCatalog")} == {True}
    assert {accounts[sid] == {TABLE} for sid in ("ComparedTable", "Stream")} == {True}
    assert {accounts[sid] == {OWN} for sid in ("Checkpoints", "Deliver", "Queues")} == {True}
    assert not by_sid.keys() & {"Crawl", "RequestExports", "Exports"}


def test_the_owners_allow_what_the_role_needs() -> None:
    config = {**OF_CATALOG, **OF_TABLE, "current": "stream"}
    found = owner_policies([pipeline(**config)], "eu-west-1", OWN)
    table = f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders"
    catalog = f"arn:aws:glue:eu-west-1:{CATALOG}:catalog"
    assert found.keys() == {catalog, table, f"{table}/stream/*"}
    actions = {
        arn: {action for each in policy["Statement"] for action in each["Action"]}
        for arn, policy in found.items()
    }
    assert {"glue:GetTableVersions", "glue:UpdateTable", "glue:CreateTable"} <= actions[catalog]
    assert actions[table] == {"dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:BatchGetItem"}
    assert "dynamodb:GetRecords" in actions[f"{table}/stream/*"]
    principals = {
        each["Principal"]["AWS"] for policy in found.values() for each in policy["Statement"]
    }
    assert principals == {f"arn:aws:iam::{OWN}:root"}


def test_the_policy_of_a_stream_names_it_where_it_is_known() -> None:
    found = owner_policies([pipeline(**OF_TABLE, stream_arn=STREAM)], "eu-west-1", OWN)
    assert [each["Resource"] for each in found[STREAM]["Statement"]] == [[STREAM]]


def test_without_other_accounts_nobody_is_asked() -> None:
    assert owner_policies([pipeline()], "eu-west-1", OWN) == {}
