"""Every name that follows from a pipeline's configuration, each written once.

The names of stacked resources must equal those in ``deploy/template.yaml``; a test compares them.
What lies under a bucket's prefixes is in ``lake.layout``.
"""

from typing import TYPE_CHECKING

from ddb_pipeline.config.lake import TableFormat
from ddb_pipeline.export.layout import FOLDER as EXPORT_FOLDER
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.crawled_table import catalog_table_name
from ddb_pipeline.lake.layout import (
    ASSET_PREFIX,
    CHANGES_PREFIX,
    ICEBERG_PREFIX,
    RELEVANCE_PREFIX,
    SNAPSHOT_PREFIX,
    STREAM_PREFIX,
)

if TYPE_CHECKING:
    from ddb_pipeline.config.pipeline import PipelineConfig


CATALOG_SUFFIXES = ("", "_lake", "_snapshot", "_changes", "_current", "_relevance")
"""What the names of a pipeline's catalog tables add to the crawled table's."""


def resource_stem(pipeline_name: str) -> str:
    """The stem of AWS resource names, which take hyphens: ``search-logs`` for ``search_logs``."""
    return pipeline_name.replace("_", "-")


def partition(region: str) -> str:
    """The partition of AWS that has a region."""
    for prefix, name in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
        if region.startswith(prefix):
            return name
    return "aws"


def shared_table_arn(pipeline: "PipelineConfig") -> str:
    """The ARN of a DynamoDB table that belongs to another account; empty for one of the own."""
    if not pipeline.table_account:
        return ""
    region, account = pipeline.region, pipeline.table_account
    place = f"arn:{partition(region)}:dynamodb:{region}:{account}"
    return f"{place}:table/{pipeline.dynamodb_table}"


def default_names(pipeline_name: str) -> dict[str, str]:
    """The names of a pipeline's resources where its configuration gives none, by config key."""
    stem = resource_stem(pipeline_name)
    return {
        "dynamodb_table": stem,
        "database": pipeline_name,
        "bucket": f"{stem}-lake",
        "delivery_stream": f"{stem}-stream",
        "crawler": f"{stem}-crawler",
        "change_queue": f"{stem}-table-changes",
        "stack": stem,
    }


def crawled_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table that the crawler writes."""
    return _catalog_table(pipeline, "")


def lake_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table over the Parquet that Firehose lands."""
    return _catalog_table(pipeline, "_lake")


def snapshot_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table over the snapshots, one partition for each export."""
    return _catalog_table(pipeline, "_snapshot")


def changes_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table over the net changes, one partition for each incremental export."""
    return _catalog_table(pipeline, "_changes")


def scores_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table over the relevance scores."""
    return _catalog_table(pipeline, "_relevance")


def current_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table over the current view, one row for each item."""
    return _catalog_table(pipeline, "_current")


def catalog_tables(pipeline: "PipelineConfig") -> list[TableReference]:
    """All catalog tables that a pipeline writes."""
    tables = [_catalog_table(pipeline, suffix) for suffix in CATALOG_SUFFIXES]
    if pipeline.table_format is TableFormat.ICEBERG:
        plain = (lake_table(pipeline), current_table(pipeline))
        tables += [iceberg_table(pipeline, table) for table in plain]
    return tables


def iceberg_database(pipeline: "PipelineConfig") -> str:
    """The Glue database of the Iceberg tables: not the one whose changes wake the schema sensor."""
    return pipeline.iceberg_database or f"{pipeline.database}_iceberg"


def iceberg_table(pipeline: "PipelineConfig", table: TableReference) -> TableReference:
    """The Iceberg table that has the rows of one of the pipeline's catalog tables."""
    return TableReference(iceberg_database(pipeline), table.name)


def iceberg_folder(pipeline: "PipelineConfig", table: TableReference) -> str:
    """The folder of an Iceberg table, as ``bucket/prefix``."""
    return pipeline.lake.path(f"{ICEBERG_PREFIX}{table.name}")


def delivery_table(pipeline: "PipelineConfig") -> TableReference:
    """The catalog table whose column types Firehose converts with."""
    delivers_to_lake = pipeline.delivery_schema.value == "lake"
    return lake_table(pipeline) if delivers_to_lake else crawled_table(pipeline)


def _catalog_table(pipeline: "PipelineConfig", suffix: str) -> TableReference:
    name = catalog_table_name(pipeline.dynamodb_table, pipeline.table_prefix)
    return TableReference(pipeline.database, name + suffix)


def stream_location(pipeline: "PipelineConfig") -> str:
    """The ``s3://`` URI under which Firehose lands Parquet."""
    return pipeline.lake.uri(STREAM_PREFIX)


def snapshot_location(pipeline: "PipelineConfig") -> str:
    """The ``s3://`` URI of the snapshots."""
    return pipeline.lake.uri(SNAPSHOT_PREFIX)


def changes_location(pipeline: "PipelineConfig") -> str:
    """The ``s3://`` URI of the net changes."""
    return pipeline.lake.uri(CHANGES_PREFIX)


def relevance_location(pipeline: "PipelineConfig") -> str:
    """The ``s3://`` URI of the relevance job's statistics, scores and manifest."""
    return pipeline.lake.uri(RELEVANCE_PREFIX)


def asset_location(pipeline: "PipelineConfig") -> str:
    """The ``s3://`` URI of the assets that are built on the pipeline's."""
    return pipeline.lake.uri(ASSET_PREFIX)


def export_path(pipeline: "PipelineConfig", export_id: str) -> str:
    """``bucket/prefix`` of the folder of an export."""
    return pipeline.lake.path(f"{pipeline.export_prefix}/{EXPORT_FOLDER}/{export_id}")


def alarm_topic(pipeline: "PipelineConfig") -> str:
    """The SNS topic of the alarms, where the configuration names none."""
    return f"{resource_stem(pipeline.lake_name or pipeline.name)}-alarms"


def stream_function(pipeline: "PipelineConfig") -> str:
    """The Lambda function that delivers stream records to Firehose."""
    return f"{resource_stem(pipeline.name)}-stream-to-firehose"


def checkpoint_table(pipeline: "PipelineConfig") -> str:
    """The DynamoDB table with the consumer job's checkpoints and leases."""
    return f"{resource_stem(pipeline.name)}-stream-checkpoints"


def object_change_queue(pipeline: "PipelineConfig") -> str:
    """The SQS queue with events of the objects under ``stream/``."""
    return f"{resource_stem(pipeline.name)}-object-changes"


def failure_queue(pipeline: "PipelineConfig") -> str:
    """The SQS queue with the batches that the event source mapping has given up."""
    return f"{resource_stem(pipeline.name)}-stream-failures"
