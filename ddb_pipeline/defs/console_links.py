"""Links from the assets' pages to the AWS console: DynamoDB tables, catalog tables, folders."""

from typing import Any
from urllib.parse import quote

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.table_metadata import TABLE_CATALOG, TABLE_NAME, TABLE_REGION

HOSTS = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
"""The consoles of the partitions other than ``aws``, by what their regions begin with."""


def console_links(
    settings: Settings,
    pipeline: PipelineConfig,
    *,
    dynamodb_table: str = "",
    catalog_table: TableReference | None = None,
    lake: LakeRoot | None = None,
    prefix: str = "",
) -> dict[str, dg.UrlMetadataValue]:
    """Metadata that links to the given resources; none for the embedded AWS, which has no console.

    Args:
        settings: where the pipelines run.
        pipeline: the one whose resources these are.
        dynamodb_table: the name of a table.
        catalog_table: a table of the Glue catalog.
        lake: where objects lie.
        prefix: of their keys in the lake.
    """
    if settings.target is not Target.AWS:
        return {}
    links, region = {}, pipeline.region
    # A console shows what is of its own account.
    if dynamodb_table and not pipeline.table_account:
        path = f"dynamodbv2/home?region={region}#table?name={quote(dynamodb_table)}"
        links["dynamodb_console"] = path
    if catalog_table is not None and not pipeline.catalog_id:
        name, database = quote(catalog_table.name), quote(catalog_table.database)
        links["glue_console"] = (
            f"glue/home?region={region}#/v2/data-catalog/tables/view/{name}?database={database}"
        )
    if lake is not None:
        key = quote(lake.object_key(prefix))
        links["s3_console"] = f"s3/buckets/{lake.bucket}?region={region}&prefix={key}"
    host = f"https://{region}.{console_host(region)}"
    return {name: dg.MetadataValue.url(f"{host}/{path}") for name, path in links.items()}


def dataset_metadata(
    settings: Settings, pipeline: PipelineConfig, table: TableReference, prefix: str
) -> dict[str, Any]:
    """The metadata of an asset that is a catalog table over objects in the lake."""
    lake = pipeline.lake
    links = console_links(settings, pipeline, catalog_table=table, lake=lake, prefix=prefix)
    # The IO manager has the first pipeline's region and the own account's catalog.
    first = settings.pipelines[0]
    region = {TABLE_REGION: pipeline.region} if pipeline.region != first.region else {}
    catalog = {TABLE_CATALOG: pipeline.catalog_id} if pipeline.catalog_id else {}
    return {TABLE_NAME: str(table), **region, **catalog, **links}


def console_host(region: str) -> str:
    """The console's host for a region, without the region's name."""
    found = (host for start, host in HOSTS.items() if region.startswith(start))
    return next(found, "console.aws.amazon.com")
