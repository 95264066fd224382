"""The catalog table of the relevance scores; its location is the current version of the scores."""

from typing import TYPE_CHECKING

from ddb_pipeline.glue.catalog import (
    CatalogTable,
    TableReference,
    create_table,
    find_table,
    update_table,
)
from ddb_pipeline.glue.lake_table import parquet_definition, storage_descriptor
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import TableInputTypeDef

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


def scores_definition(name: str, location: str) -> "TableInputTypeDef":
    """Define a new table of scores at a location."""
    return parquet_definition(name, location, SCORES_COLUMNS)


def point_scores_table(
    glue: "GlueClient", reference: TableReference, location: str
) -> CatalogTable:
    """Create the table, or set its location, so that it reads the scores there.

    Raises:
        CatalogError: the table cannot be written.
    """
    if find_table(glue, reference) is None:
        create_table(glue, reference, scores_definition(reference.name, location))

    def moved(table: CatalogTable) -> "TableInputTypeDef":
        descriptor = storage_descriptor(location, SCORES_COLUMNS)
        return {**table.definition, "StorageDescriptor": descriptor}

    return update_table(glue, reference, moved).after
