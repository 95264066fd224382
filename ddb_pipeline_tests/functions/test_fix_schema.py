"""The schema-fix function repairs the watched tables of an event, each individually."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.fix_schema import handler, watched_tables
from ddb_pipeline.glue.catalog import PermissionMissingError, TableReference

EVENT = {
    "source": "aws.glue",
    "detail-type": "Glue Data Catalog Database State Change",
    "detail": {
        "databaseName": "d",
        "typeOfChange": "CreateTable",
        "changedTables": ["gone", "denied", "sets", "valid", "elsewhere"],
    },
}


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("WATCHED_TABLES", "d.gone, d.denied,d.sets,d.valid")
    with mock_aws():
        client = boto3.client("glue")
        client.create_database(DatabaseInput={"Name": "d"})
        for name, kind in {"sets": "set<string>", "valid": "int", "elsewhere": "set<int>"}.items():
            client.create_table(
                DatabaseName="d",
                TableInput={
                    "Name": name,
                    "StorageDescriptor": {"Columns": [{"Name": "c", "Type": kind}]},
                },
            )
        yield client


def column_type(glue: Any, name: str) -> str:
    table = glue.get_table(DatabaseName="d", Name=name)["Table"]
    return str(table["StorageDescriptor"]["Columns"][0]["Type"])


class Denying:
    """Glue that denies one table; every other call goes through."""

    def __init__(self, glue: Any) -> None:
        self._glue = glue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._glue, name)

    def get_table(self, **request: Any) -> Any:
        if request["Name"] == "denied":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "G")
        return self._glue.get_table(**request)


def test_watched_tables_of_the_event_are_repaired(glue: Any, capsys: Any) -> None:
    assert handler(EVENT, None) == {"fixed": ["d.sets"], "checked": 4}
    assert column_type(glue, "sets") == "array<string>"
    assert column_type(glue, "elsewhere") == "set<int>"
    assert '"message": "schema fixed"' in capsys.readouterr().out
    assert handler(EVENT, None) == {"fixed": [], "checked": 4}


def test_a_table_that_cannot_be_repaired_does_not_affect_the_others(
    glue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto3, "client", lambda service: Denying(glue))
    with pytest.raises(PermissionMissingError, match=r"glue:GetTable on table d\.denied"):
        handler(EVENT, None)
    assert column_type(glue, "sets") == "array<string>"


def test_an_event_of_other_tables_calls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHED_TABLES", "other.*")
    monkeypatch.setattr(boto3, "client", lambda service: pytest.fail("called"))
    assert handler(EVENT, None) == {"fixed": [], "checked": 0}


def test_settings() -> None:
    found = watched_tables({"WATCHED_TABLES": "a.b, c.*"})
    assert found == (TableReference("a", "b"), TableReference("c", "*"))
    for text in ("", "a", "a.", ".b"):
        with pytest.raises(SettingsError):
            watched_tables({"WATCHED_TABLES": text})
