"""Reading and writing catalog tables: nothing of a table gets lost, every refusal is told."""

from collections.abc import Iterator
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.stub import ANY, Stubber

from ddb_pipeline.glue.catalog import (
    TABLE_INPUT_MEMBERS,
    CatalogError,
    ConcurrentUpdateError,
    Definition,
    PermissionMissingError,
    TableNotFoundError,
    TableReference,
    read_table,
    table_input,
    update_table,
    version_before,
    with_columns,
)
from ddb_pipeline.glue.repair import fix_table
from ddb_pipeline.hive.types import Column

REFERENCE = TableReference("logs", "search")


def stored(columns: dict[str, str], version: str = "7") -> dict[str, Any]:
    """A table as GetTable answers, members included that UpdateTable refuses."""
    return {
        "Name": "search",
        "DatabaseName": "logs",
        "Description": "kept",
        "Owner": "someone",
        "Retention": 3,
        "StorageDescriptor": {
            "Columns": [
                {"Name": name, "Type": text, "Comment": f"about {name}", "Parameters": {"p": "1"}}
                for name, text in columns.items()
            ],
            "Location": "s3://lake/x/",
            "SerdeInfo": {"SerializationLibrary": "org.openx", "Parameters": {"paths": "a,b"}},
            "Parameters": {"CrawlerSchemaSerializerVersion": "1.0"},
        },
        "PartitionKeys": [{"Name": "day", "Type": "string"}],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "dynamodb", "UPDATED_BY_CRAWLER": "c"},
        "CreatedBy": "arn:aws:iam::000000000000:role/r",
        "IsRegisteredWithLakeFormation": False,
        "CatalogId": "000000000000",
        "VersionId": version,
    }


@pytest.fixture
def glue() -> Iterator[tuple[Any, Stubber]]:
    create: Any = boto3.session.Session().client
    client = create(
        "glue", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stubber:
        yield client, stubber


def answer_table(stubber: Stubber, table: dict[str, Any]) -> None:
    stubber.add_response("get_table", {"Table": table})


def test_update_takes_back_every_member_that_glue_has_for_input_and_output() -> None:
    model = botocore.session.get_session().get_service_model("glue")
    taken = set(model.shape_for("TableInput").members)
    told = set(model.shape_for("Table").members)
    # FederatedTable came late: a Lambda runtime's botocore may not know it, and no crawl makes one.
    assert set(TABLE_INPUT_MEMBERS) == (taken & told) - {"ViewDefinition", "FederatedTable"}


def test_a_fix_writes_back_all_but_the_types(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    before = stored({"id": "string", "tags": "set<string>"})
    after = stored({"id": "string", "tags": "array<string>"}, "8")
    answer_table(stubber, before)
    stubber.add_response(
        "update_table",
        {},
        {
            "DatabaseName": "logs",
            "TableInput": table_input(after),
            "VersionId": "7",
            "SkipArchive": False,
        },
    )
    answer_table(stubber, after)
    repair = fix_table(client, REFERENCE)
    assert (repair.version_before, repair.version_after) == ("7", "8")
    assert [c.path for c in repair.changes] == ["tags"]
    stubber.assert_no_pending_responses()


def test_a_valid_table_is_not_written(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    answer_table(stubber, stored({"tags": "array<string>"}))
    assert not fix_table(client, REFERENCE).written


def test_a_full_archive_does_not_hinder_the_fix(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    request = {"DatabaseName": "logs", "TableInput": ANY, "VersionId": "7"}
    answer_table(stubber, stored({"tags": "set<string>"}))
    stubber.add_client_error(
        "update_table",
        "ResourceNumberLimitExceededException",
        expected_params={**request, "SkipArchive": False},
    )
    stubber.add_response("update_table", {}, {**request, "SkipArchive": True})
    answer_table(stubber, stored({"tags": "array<string>"}, "8"))
    assert fix_table(client, REFERENCE).written
    stubber.assert_no_pending_responses()


def test_another_writer_in_between_is_read_again(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    answer_table(stubber, stored({"a": "set<int>"}))
    stubber.add_client_error("update_table", "ConcurrentModificationException")
    answer_table(stubber, stored({"a": "set<int>", "b": "set<string>"}, "8"))
    wanted = table_input(stored({"a": "array<int>", "b": "array<string>"}))
    stubber.add_response(
        "update_table",
        {},
        {"DatabaseName": "logs", "TableInput": wanted, "VersionId": "8", "SkipArchive": False},
    )
    answer_table(stubber, stored({"a": "array<int>", "b": "array<string>"}, "9"))
    assert {c.column for c in fix_table(client, REFERENCE).changes} == {"a", "b"}


def test_a_table_that_never_holds_still_is_told(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    for _ in range(3):
        answer_table(stubber, stored({"a": "set<int>"}))
        stubber.add_client_error("update_table", "ConcurrentModificationException")

    def decide(table: Any) -> Definition:
        return with_columns(table.definition, [Column("a", "array<int>")])

    with pytest.raises(ConcurrentUpdateError, match=r"logs\.search.*3 updates.*other writer"):
        update_table(client, REFERENCE, decide, max_attempts=3)


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        ("EntityNotFoundException", TableNotFoundError, r"logs\.search.*Run the crawler"),
        ("AccessDeniedException", PermissionMissingError, r"glue:GetTable.*Lake Formation"),
        ("InternalServiceException", CatalogError, r"glue:GetTable failed.*Internal"),
    ],
)
def test_refused_reads_name_table_and_remedy(
    glue: tuple[Any, Stubber], code: str, expected: type[CatalogError], words: str
) -> None:
    client, stubber = glue
    stubber.add_client_error("get_table", code, "said by Glue")
    with pytest.raises(expected, match=words):
        read_table(client, REFERENCE)


def test_refused_writes_name_the_permission(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    answer_table(stubber, stored({"a": "set<int>"}))
    stubber.add_client_error(
        "update_table", "AccessDeniedException", "Insufficient Lake Formation permission(s)"
    )
    with pytest.raises(PermissionMissingError, match=r"glue:UpdateTable.*grant ALTER"):
        fix_table(client, REFERENCE)


def test_version_before(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    answer_table(stubber, stored({"a": "int"}))
    stubber.add_response(
        "get_table_version",
        {"TableVersion": {"Table": stored({"a": "tinyint"}, "6"), "VersionId": "6"}},
        {"DatabaseName": "logs", "TableName": "search", "VersionId": "6"},
    )
    table = read_table(client, REFERENCE)
    before = version_before(client, table)
    assert before is not None
    assert before.columns == (Column("a", "tinyint"),)
    stubber.add_client_error("get_table_version", "EntityNotFoundException")
    assert version_before(client, table) is None


def test_columns_that_stay_keep_comment_and_parameters() -> None:
    definition = table_input(stored({"a": "int", "b": "int"}))
    columns = with_columns(
        definition, [Column("b", "bigint"), Column("c", "int"), Column("a", "x")]
    )
    assert columns["StorageDescriptor"]["Columns"] == [
        {"Name": "b", "Type": "bigint", "Comment": "about b", "Parameters": {"p": "1"}},
        {"Name": "c", "Type": "int"},
        {"Name": "a", "Type": "x", "Comment": "about a", "Parameters": {"p": "1"}},
    ]
