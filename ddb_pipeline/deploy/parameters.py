"""The stacks that a configuration asks for: their names, parameters and tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddb_pipeline.config.choices import FunctionSetting
from ddb_pipeline.config.deployment import DeploymentConfig
from ddb_pipeline.config.lake_stack import (
    LakeConfig,
    decisions_by_table,
    lake_decisions,
    watched_tables,
)
from ddb_pipeline.config.names import (
    alarm_topic,
    crawled_table,
    lake_table,
    resource_stem,
    snapshot_table,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.bundle import Bundle

CODE_PREFIX = "ddb-pipeline/"
REGION_MARK = "{region}"
ALL_TABLES = "*"
EXISTING_CATALOG_TABLES = "ExistingCatalogTables"
"""The parameter that is decided when a stack is created, and then stays."""
EXISTING_STREAM_ARN = "ExistingStreamArn"


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it is to be."""

    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def code_key(bundle: Bundle) -> str:
    """Return the object key of a function's zip, for all pipelines; it contains the zip's hash."""
    return f"{CODE_PREFIX}{bundle.name}-{bundle.sha256[:16]}.zip"


def pipeline_stack(
    pipeline: PipelineConfig, code_bucket: str, bundles: Mapping[str, Bundle]
) -> Stack:
    """Return the stack of a pipeline; ``bundles`` are by function name."""
    parameters = stack_parameters(pipeline, code_bucket, bundles)
    return Stack(pipeline.stack, parameters, pipeline.tags)


def lake_stack(
    lake: LakeConfig,
    pipelines: Sequence[PipelineConfig],
    code_bucket: str,
    bundles: Mapping[str, Bundle],
) -> Stack:
    """Return the stack that the pipelines of a lake share.

    Raises:
        LakeConfigError: the lake's schema fix cannot be configured.
    """
    parameters = {
        "Part": "lake",
        "PipelineName": lake.stack,
        "BucketName": lake.bucket,
        "ExistingBucket": flag(lake.existing_bucket),
        "DatabaseName": lake.database or lake.name,
        "ExistingDatabase": flag(lake.existing_database),
        "CrawledTableName": ALL_TABLES,
        "WatchedTables": watched_tables(lake, pipelines),
        "TypeConflictsOfTables": lake_decisions(lake, pipelines),
        "SchemaFix": lake.schema_fix.value,
        "AlarmTopicName": f"{lake.stack}-alarms",
        **option_parameters(lake),
        "CodeBucket": code_bucket,
        "FixFunctionKey": code_key(bundles["fix_schema"]),
    }
    return Stack(lake.stack, parameters, lake.tags)


def stack_parameters(
    pipeline: PipelineConfig, code_bucket: str, bundles: Mapping[str, Bundle]
) -> dict[str, str]:
    """Return the template's parameters for a pipeline; ``bundles`` are by function name."""
    return {
        "Part": "table" if pipeline.lake_name else "all",
        "PipelineName": resource_stem(pipeline.name),
        "TableName": pipeline.dynamodb_table,
        EXISTING_STREAM_ARN: pipeline.stream_arn,
        "TableAccountId": pipeline.table_account,
        "PartitionKeyName": pipeline.partition_key,
        "PartitionKeyType": pipeline.partition_key_type.value,
        "SortKeyName": pipeline.sort_key,
        "SortKeyType": pipeline.sort_key_type.value,
        "BucketName": pipeline.bucket,
        "ExistingBucket": flag(pipeline.existing_bucket),
        "LakePrefix": pipeline.lake.prefix,
        "DatabaseName": pipeline.database,
        "ExistingDatabase": flag(pipeline.existing_database),
        "CatalogId": pipeline.catalog_id,
        "TablePrefix": pipeline.table_prefix,
        "CrawledTableName": crawled_table(pipeline).name,
        "LakeTableName": lake_table(pipeline).name,
        "SnapshotTableName": snapshot_table(pipeline).name,
        "WatchedTables": str(crawled_table(pipeline)),
        "TypeConflictsOfTables": decisions_by_table([pipeline]),
        "DeliverySchema": pipeline.delivery_schema.value,
        "SchemaFix": pipeline.schema_fix.value,
        "StreamReader": pipeline.stream_reader.value,
        "BufferSeconds": str(pipeline.buffer_seconds),
        "RedeliveredDays": str(pipeline.retention.redelivered_days),
        "ExportPrefix": pipeline.bucket_export_prefix,
        "EmrServerless": flag(pipeline.spark.emr_serverless),
        "AlarmTopicName": alarm_topic(pipeline),
        "ReservedConcurrency": str(pipeline.reserved_concurrency or ""),
        **option_parameters(pipeline),
        **function_parameters(pipeline),
        "CodeBucket": code_bucket,
        "StreamFunctionKey": code_key(bundles["stream_to_firehose"]),
        "FixFunctionKey": code_key(bundles["fix_schema"]),
    }


def regional_bucket(code_bucket: str, region: str) -> str:
    """The bucket of the functions' zips in a region: Lambda reads them in its own region only."""
    return code_bucket.replace(REGION_MARK, region)


def option_parameters(config: DeploymentConfig) -> dict[str, str]:
    """Return the template's parameters for an account's own rules."""
    kms, roles, vpc, alarms = config.kms, config.roles, config.vpc, config.alarms
    return {
        "PermissionsBoundaryArn": config.permissions_boundary,
        "CrawlerRoleArn": roles.crawler,
        "DeliveryRoleArn": roles.delivery,
        "StreamFunctionRoleArn": roles.stream_function,
        "FixFunctionRoleArn": roles.fix_function,
        "SparkJobRoleArn": roles.spark_job,
        "BucketKmsKeyArn": kms.bucket,
        "QueueKmsKeyArn": kms.queues,
        "LogKmsKeyArn": kms.logs,
        "DeliveryStreamKmsKeyArn": kms.delivery_stream,
        "TableKmsKeyArn": kms.table,
        "Versioning": flag(config.versioning),
        "NoncurrentDays": str(config.noncurrent_days),
        "AccessLogBucket": config.access_log_bucket,
        "LogRetentionDays": str(config.log_retention_days),
        "SubnetIds": ",".join(vpc.subnet_ids) if vpc else "",
        "SecurityGroupIds": ",".join(vpc.security_group_ids) if vpc else "",
        "Alarms": flag(alarms.enabled),
        "AlarmTopicArn": alarms.topic_arn,
        "IteratorAgeSeconds": str(alarms.iterator_age_seconds),
        "FreshnessSeconds": str(alarms.freshness_seconds),
    }


def function_parameters(pipeline: PipelineConfig) -> dict[str, str]:
    """Return the template's parameters for all settings of the streaming function."""
    return {
        **{s.parameter: pipeline.function_settings.get(s, "") for s in FunctionSetting},
        "TypeConflicts": pipeline.type_decisions.text,
        "RoutedDeliveryStreamsArn": pipeline.routed_delivery_streams_arn,
        "StreamFunctionLayerArn": pipeline.function_layer_arn,
    }


def flag(value: bool) -> str:
    """A boolean as the template's parameters have it."""
    return "true" if value else "false"
