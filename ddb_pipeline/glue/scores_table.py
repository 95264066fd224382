"""The catalog table over the relevance scores: its location is whichever version is valid."""

from typing import TYPE_CHECKING, Any

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    Definition,
    TableReference,
    create_table,
    find_table,
    update_table,
)
from ddb_pipeline.glue.lake_table import parquet_definition
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient

SCORES_COLUMNS = (
    Column("query", "string"),
    Column("document", "string"),
    Column("score", "double"),
    Column("confidence", "double"),
    Column("impressions", "double"),
    Column("clicks", "double"),
    Column("exposure", "double"),
    Column("prior_mean", "double"),
    Column("as_of", "timestamp"),
)


def scores_definition(name: str, location: str) -> dict[str, Any]:
    return parquet_definition(name, location, SCORES_COLUMNS)


def point_scores_table(
    glue: "GlueClient", reference: TableReference, location: str
) -> CatalogTable:
    """Create the table, or make it read the scores at another location.

    Raises:
        CatalogError: the table may not be written.
    """
    if find_table(glue, reference) is None:
        create_table(glue, reference, scores_definition(reference.name, location))

    def moved(table: CatalogTable) -> Definition:
        wanted = scores_definition(table.reference.name, location)
        return {**table.definition, "StorageDescriptor": wanted["StorageDescriptor"]}

    return update_table(glue, reference, moved).after
