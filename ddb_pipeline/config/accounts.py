"""What a pipeline needs whose catalog or table belongs to another account, and what it cannot have.

A catalog: a Glue crawler writes to its own account's catalog, CloudFormation creates databases in
its own account, and the events of a catalog's tables arise in the catalog's account (AWS Glue
developer guide, "Granting cross-account access"). A table: DynamoDB allows another account to
describe and to read a table and its stream, by resource-based policies, but not to export it, nor
to ask for its point-in-time recovery (Amazon DynamoDB developer guide, "API operations supported by
resource-based policies").
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ddb_pipeline.config.choices import (
    CrawlWith,
    CurrentView,
    ExportWith,
    GapPolicy,
    SchemaFix,
)

if TYPE_CHECKING:
    from ddb_pipeline.config.pipeline import PipelineConfig

ACCOUNT = r"^(\d{12})?$"


def account_problems(pipeline: "PipelineConfig") -> Iterator[str]:
    """Why a pipeline cannot use another account's catalog or table, a sentence for each reason."""
    if pipeline.catalog_id:
        yield from _catalog_problems(pipeline)
    if pipeline.table_account:
        yield from _table_problems(pipeline)


def _catalog_problems(pipeline: "PipelineConfig") -> Iterator[str]:
    if pipeline.crawl_with is not CrawlWith.BUILTIN:
        yield (
            'catalog_id needs crawl_with = "builtin": a Glue crawler writes to the catalog of its '
            "own account only"
        )
    yield from lake_catalog_problems(
        pipeline.catalog_id,
        existing_database=pipeline.existing_database,
        schema_fix=pipeline.schema_fix,
    )


def lake_catalog_problems(
    catalog_id: str, *, existing_database: bool, schema_fix: SchemaFix
) -> Iterator[str]:
    """Why a stack cannot use another account's catalog."""
    if catalog_id and not existing_database:
        yield (
            "catalog_id needs existing_database = true: the stack cannot create a database in "
            "another account; the catalog's owner creates it"
        )
    if catalog_id and schema_fix is not SchemaFix.DAGSTER:
        yield (
            'catalog_id needs schema_fix = "dagster": the events of that catalog\'s tables arise '
            "in its account; glue_table_change_sensor compares the tables without them"
        )


def _table_problems(pipeline: "PipelineConfig") -> Iterator[str]:
    if not (pipeline.existing_table or pipeline.stream_arn):
        yield (
            "table_account needs existing_table = true: the stack cannot create a table in "
            "another account"
        )
    account = pipeline.stream_arn.split(":")[4] if pipeline.stream_arn else ""
    if account not in ("", pipeline.table_account):
        yield f"stream_arn is of account {account}, table_account is {pipeline.table_account!r}"
    if pipeline.crawl_with is not CrawlWith.BUILTIN:
        yield (
            'table_account needs crawl_with = "builtin": a Glue crawler reads tables of its own '
            "account only"
        )
    if pipeline.export_with is not ExportWith.SCAN:
        yield (
            'table_account needs export_with = "scan": DynamoDB exports a table for its own '
            "account only"
        )
    if pipeline.gap_policy is not GapPolicy.REPORT:
        yield (
            'table_account needs gap_policy = "report": a gap is healed by an incremental export, '
            "which DynamoDB makes for the table's own account only"
        )
    if pipeline.current is CurrentView.EXPORTS:
        yield (
            'table_account cannot be combined with current = "exports", which needs incremental '
            'exports of DynamoDB; use current = "stream"'
        )
