"""Reading and writing catalog tables: an update keeps every member, an error names the remedy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.stub import ANY, Stubber

from ddb_pipeline.glue.catalog import (
    TABLE_INPUT_MEMBERS,
    CatalogError,
    CatalogTable,
    ConcurrentUpdateError,
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

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import TableInputTypeDef

REFERENCE = TableReference("logs", "search")


def stored(columns: dict[str, str], version: str = "7") -> dict[str, Any]:
    """A table as GetTable returns it, with members that UpdateTable refuses."""
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


def add_get_table(stubber: Stubber, table: dict[str, Any]) -> None:
    stubber.add_response("get_table", {"Table": table})


def test_an_update_has_every_member_that_glue_returns_and_accepts() -> None:
    model: Any = botocore.session.get_session().get_service_model("glue")
    accepted = set(model.shape_for("TableInput").members)
    returned = set(model.shape_for("Table").members)
    # A Lambda runtime's botocore may be older than FederatedTable, which no crawl writes.
    assert set(TABLE_INPUT_MEMBERS) == (accepted & returned) - {"ViewDefinition", "FederatedTable"}


def test_a_fix_changes_nothing_but_the_types(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    before = stored({"id": "string", "tags": "set<string>"})
    after = stored({"id": "string", "tags": "array<string>"}, "8")
    add_get_table(stubber, before)
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
    add_get_table(stubber, after)
    repair = fix_table(client, REFERENCE)
    assert (repair.version_before, repair.version_after) == ("7", "8")
    assert [c.path for c in repair.changes] == ["tags"]
    stubber.assert_no_pending_responses()


def test_a_valid_table_is_not_written(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    add_get_table(stubber, stored({"tags": "array<string>"}))
    assert not fix_table(client, REFERENCE).written


def test_a_fix_skips_the_archive_when_its_quota_is_exhausted(
    glue: tuple[Any, Stubber],
) -> None:
    client, stubber = glue
    request = {"DatabaseName": "logs", "TableInput": ANY, "VersionId": "7"}
    add_get_table(stubber, stored({"tags": "set<string>"}))
    stubber.add_client_error(
        "update_table",
        "ResourceNumberLimitExceededException",
        expected_params={**request, "SkipArchive": False},
    )
    stubber.add_response("update_table", {}, {**request, "SkipArchive": True})
    add_get_table(stubber, stored({"tags": "array<string>"}, "8"))
    assert fix_table(client, REFERENCE).written
    stubber.assert_no_pending_responses()


def test_an_update_of_another_writer_in_between_is_kept(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    add_get_table(stubber, stored({"a": "set<int>"}))
    stubber.add_client_error("update_table", "ConcurrentModificationException")
    add_get_table(stubber, stored({"a": "set<int>", "b": "set<string>"}, "8"))
    expected = table_input(stored({"a": "array<int>", "b": "array<string>"}))
    stubber.add_response(
        "update_table",
        {},
        {"DatabaseName": "logs", "TableInput": expected, "VersionId": "8", "SkipArchive": False},
    )
    add_get_table(stubber, stored({"a": "array<int>", "b": "array<string>"}, "9"))
    assert {c.column for c in fix_table(client, REFERENCE).changes} == {"a", "b"}


def test_a_table_that_changes_in_every_attempt_is_an_error(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    for _ in range(3):
        add_get_table(stubber, stored({"a": "set<int>"}))
        stubber.add_client_error("update_table", "ConcurrentModificationException")

    def decide(table: CatalogTable) -> "TableInputTypeDef":
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
def test_errors_of_a_read_name_the_table_and_the_remedy(
    glue: tuple[Any, Stubber], code: str, expected: type[CatalogError], words: str
) -> None:
    client, stubber = glue
    stubber.add_client_error("get_table", code, "text from Glue")
    with pytest.raises(expected, match=words):
        read_table(client, REFERENCE)


def test_a_denied_write_names_the_permission(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    add_get_table(stubber, stored({"a": "set<int>"}))
    stubber.add_client_error(
        "update_table", "AccessDeniedException", "Insufficient Lake Formation permission(s)"
    )
    with pytest.raises(PermissionMissingError, match=r"glue:UpdateTable.*grant ALTER"):
        fix_table(client, REFERENCE)


def test_version_before(glue: tuple[Any, Stubber]) -> None:
    client, stubber = glue
    add_get_table(stubber, stored({"a": "int"}))
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


def test_with_columns_keeps_comments_and_parameters() -> None:
    definition = table_input(stored({"a": "int", "b": "int"}))
    columns = with_columns(
        definition, [Column("b", "bigint"), Column("c", "int"), Column("a", "x")]
    )
    assert columns["StorageDescriptor"]["Columns"] == [
        {"Name": "b", "Type": "bigint", "Comment": "about b", "Parameters": {"p": "1"}},
        {"Name": "c", "Type": "int"},
        {"Name": "a", "Type": "x", "Comment": "about a", "Parameters": {"p": "1"}},
    ]
