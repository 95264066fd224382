"""Crawlers and the schema fix write one table at the same time: no update is lost."""

import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    create_table,
    read_table,
    update_table,
    with_columns,
)
from ddb_pipeline.glue.repair import fix_table, pending_changes
from ddb_pipeline.hive.types import Column, parse_type
from ddb_pipeline_tests.support.scale import scaled

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import TableInputTypeDef

pytestmark = pytest.mark.embedded

CRAWLS = scaled(60)


@pytest.fixture
def reference(aws_client: Callable[[str], Any]) -> TableReference:
    name = f"race{uuid.uuid4().hex[:10]}"
    glue = aws_client("glue")
    glue.create_database(DatabaseInput={"Name": name})
    create_table(
        glue,
        TableReference(name, "t"),
        {
            "Name": "t",
            "Parameters": {"classification": "dynamodb"},
            "StorageDescriptor": {"Columns": [{"Name": "tags", "Type": "set<string>"}]},
        },
    )
    return TableReference(name, "t")


def crawled(number: int) -> "Callable[[CatalogTable], TableInputTypeDef]":
    """A crawl that writes the set type again, and a table parameter of its own."""

    def decide(table: CatalogTable) -> "TableInputTypeDef":
        definition = with_columns(table.definition, [Column("tags", "set<string>")])
        definition["Parameters"] = {**definition["Parameters"], f"crawl{number}": "x"}
        return definition

    return decide


@pytest.mark.timeout(300 + CRAWLS)  # each request waits for the others
def test_crawls_while_the_fix_runs(
    aws_client: Callable[[str], Any], reference: TableReference
) -> None:
    glue = aws_client("glue")
    finished = threading.Event()
    fixes: list[tuple[str, str]] = []
    errors: list[BaseException] = []

    def crawl(numbers: range) -> None:
        try:
            for number in numbers:
                update_table(glue, reference, crawled(number), max_attempts=10_000)
        except BaseException as error:  # noqa: BLE001 - the test itself reports it
            errors.append(error)

    def fix() -> None:
        try:
            while not finished.is_set():
                repair = fix_table(glue, reference)
                if repair.written:
                    fixes.append((repair.version_before, repair.version_after))
        except BaseException as error:  # noqa: BLE001 - the test itself reports it
            errors.append(error)

    crawlers = [
        threading.Thread(target=crawl, args=(range(part * CRAWLS // 2, (part + 1) * CRAWLS // 2),))
        for part in range(2)
    ]
    fixer = threading.Thread(target=fix)
    for thread in (*crawlers, fixer):
        thread.start()
    for thread in crawlers:
        thread.join()
    finished.set()
    fixer.join()
    last = fix_table(glue, reference)
    assert not errors
    table = read_table(glue, reference)
    assert [str(parse_type(column.type)) for column in table.columns] == ["array<string>"]
    assert pending_changes(table) == ()
    parameters = table.definition["Parameters"]
    assert set(parameters) == {"classification", *(f"crawl{n}" for n in range(CRAWLS))}
    assert int(table.version_id) == CRAWLS + len(fixes) + last.written
    assert fixes


def test_a_fix_of_a_valid_table_writes_nothing(
    aws_client: Callable[[str], Any], reference: TableReference
) -> None:
    glue = aws_client("glue")
    first, second = fix_table(glue, reference), fix_table(glue, reference)
    assert (first.version_before, first.version_after) == ("0", "1")
    assert (second.version_before, second.version_after) == ("1", "1")
    assert first.changes
    assert second.changes == ()


def test_a_dry_run_reports_changes_and_writes_nothing(
    aws_client: Callable[[str], Any], reference: TableReference
) -> None:
    repair = fix_table(aws_client("glue"), reference, dry_run=True)
    assert [(c.before, c.after) for c in repair.changes] == [("set<string>", "array<string>")]
    assert read_table(aws_client("glue"), reference).version_id == "0"
