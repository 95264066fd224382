"""The configuration of one pipeline: a DynamoDB table and its way into the lake."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import Field, field_validator, model_validator

from ddb_pipeline.config.accounts import ACCOUNT, account_problems
from ddb_pipeline.config.assets import AssetsConfig
from ddb_pipeline.config.choices import (
    CHANGES_WHAT_IS_DELIVERED,
    CrawlWith,
    CurrentView,
    DeliverySchema,
    ExportWith,
    FunctionSetting,
    GapPolicy,
    KeyType,
    SchemaFix,
    StreamReader,
)
from ddb_pipeline.config.cron import checked_cron
from ddb_pipeline.config.deployment import REGION, DeploymentConfig
from ddb_pipeline.config.durations import seconds_of
from ddb_pipeline.config.lake import CompactionConfig, RetentionConfig, TableFormat
from ddb_pipeline.config.names import default_names
from ddb_pipeline.config.spark import RelevanceConfig, SparkConfig
from ddb_pipeline.config.type_conflicts import check_keys, decisions_of
from ddb_pipeline.export.window import LONGEST_WINDOW, SHORTEST_WINDOW
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.hive.infer import Shape
from ddb_pipeline.hive.type_decisions import Decision, TypeDecisions
from ddb_pipeline.lake.layout import RESERVED_PREFIXES
from ddb_pipeline.lake.root import LakeRoot

NAME = r"^[a-z][a-z0-9_]{2,39}$"
DYNAMODB_NAME = r"^[a-zA-Z0-9_.-]{3,255}$"
PREFIX = r"^[a-zA-Z0-9!_.*'()/-]+$"
STREAM_ARN = (
    r"^(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[a-zA-Z0-9_.-]{3,255}/stream/\S+)?$"
)
LAKE_FOLDER = r"(?!\.+$)[a-zA-Z0-9_.-]+"
"""A name in a prefix that is the same in an S3 key, a file's path, a URI, an IAM resource and a
Firehose expression: none of them gives these characters a meaning."""
LONGEST_LAKE_PREFIX = 200
"""Leaves 824 of the 1,024 bytes of an S3 key to the layout."""
STREAM_NAME = r"^[a-zA-Z0-9_.-]{1,64}$"

BUCKET_NAME = (
    r"^(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)(?!xn--|sthree-|amzn-s3-demo-)"
    r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)(?<!\.mrap)(?<!--x-s3)$"
)
"""S3's rules for general purpose buckets (S3 User Guide, "Bucket naming rules")."""


class PipelineConfig(DeploymentConfig):
    """One DynamoDB table on its way to the lake.

    Only ``name`` is needed (and ``bucket`` on AWS); the rest follows the template's own names.
    """

    name: str = Field(pattern=NAME, description="Asset key prefix and stem of all names.")
    group: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_]*$",
        description="Group of the assets; the pipeline's name if empty.",
    )
    region: str = Field(
        default="",
        pattern=f"^$|{REGION}",
        description="AWS region of the table and of all else; by default that of the settings.",
    )
    dynamodb_table: str = Field(default="", description="The DynamoDB table's name.")
    table_account: str = Field(
        default="", pattern=ACCOUNT, description="The table's account, if another one shares it."
    )
    database: str = Field(default="", description="The Glue database.")
    catalog_id: str = Field(
        default="",
        pattern=ACCOUNT,
        description="The account whose Glue Data Catalog has the database; by default the own.",
    )
    existing_database: bool = Field(
        default=False, description="The database exists already; the stack does not create it."
    )
    bucket: str = Field(default="", description="The lake's S3 bucket.")
    existing_bucket: bool = Field(
        default=False, description="The bucket exists already; the stack does not create it."
    )
    lake_prefix: str = Field(
        default="",
        description="What all object keys begin with where others use the bucket too.",
    )
    delivery_stream: str = Field(default="", description="The Firehose delivery stream.")
    crawler: str = Field(default="", description="The Glue crawler.")
    change_queue: str = Field(default="", description="SQS queue with Glue's table changes.")
    stack: str = Field(default="", description="The CloudFormation stack.")
    lake_name: str = Field(
        default="",
        description="The lake ([lake]) whose stack has bucket, database, queue and alarms topic.",
    )
    table_prefix: str = Field(default="", description="The crawler's table prefix.")
    existing_table: bool = Field(
        default=False,
        description="The table exists already; deploy finds its stream if stream_arn is empty.",
    )
    stream_arn: str = Field(
        default="",
        pattern=STREAM_ARN,
        description=(
            "Stream (NEW_AND_OLD_IMAGES) of a table that exists already. Without it and without "
            "existing_table the stack creates the table, with the keys below."
        ),
    )
    partition_key: str = Field(
        default="log_id", min_length=1, max_length=255, description="The table's partition key."
    )
    partition_key_type: KeyType = KeyType.STRING
    sort_key: str = Field(
        default="", max_length=255, description="The table's sort key; none if empty."
    )
    sort_key_type: KeyType = KeyType.STRING
    delivery_schema: DeliverySchema = DeliverySchema.LAKE
    schema_fix: SchemaFix = SchemaFix.BOTH
    stream_reader: StreamReader = StreamReader.LAMBDA
    function_settings: Mapping[FunctionSetting, str] = Field(
        default={},
        description="Settings of the streaming function, by the names in its environment.",
    )
    routed_delivery_streams_arn: str = Field(
        default="", description="Of the delivery streams that the function's routes name."
    )
    function_layer_arn: str = Field(
        default="", description="Lambda layer with the module that TRANSFORMER names."
    )
    crawl_with: CrawlWith = CrawlWith.GLUE
    shapes: Mapping[str, Shape] = Field(
        default={},
        description="By path (orders[].lines): struct, map or json, for the built-in crawl.",
    )
    type_conflicts: Mapping[str, Decision] = Field(
        default={},
        description=(
            "By path (meta.score): text, wider, split or refuse, for an attribute whose values "
            "have several types."
        ),
    )
    crawl_schedule: str = Field(default="0 * * * *", description="Cron of the crawl, UTC.")
    export_prefix: str = Field(
        default="exports", pattern=PREFIX, description="Where exports lie in the lake's bucket."
    )
    export_with: ExportWith = Field(
        default=ExportWith.EXPORT,
        description="DynamoDB's export (point-in-time recovery on) or a scan in its layout.",
    )
    export_schedule: str = Field(default="", description="Cron of the export, UTC; none if empty.")
    gap_policy: GapPolicy = Field(
        default=GapPolicy.HEAL,
        description=(
            "Whether incremental exports make up for changes that the stream lost before they were "
            "delivered (point-in-time recovery on), or a check reports them only."
        ),
    )
    current: CurrentView = Field(
        default=CurrentView.OFF,
        description=(
            "The table as it is now: from snapshots and the stream, or from snapshots and the "
            "incremental exports that are then requested every current_every."
        ),
    )
    current_every: timedelta = Field(
        default=timedelta(hours=1),
        description='From 15 minutes to 24 hours: "15m", "1h".',
    )
    table_format: TableFormat = Field(
        default=TableFormat.PARQUET,
        description=(
            "iceberg: the current view is an Iceberg v2 table, and the compacted hours of the "
            "stream are one as well (needs the extra iceberg)."
        ),
    )
    iceberg_database: str = Field(
        default="",
        pattern=r"^[a-z0-9_]{0,255}$",
        description="Glue database of the Iceberg tables; <database>_iceberg if empty.",
    )
    start: datetime = Field(
        default=datetime(2026, 1, 1, tzinfo=timezone.utc),
        description="First hour of the lake's partitions, UTC.",
    )
    reserved_concurrency: int | None = Field(
        default=None, ge=1, description="Of the streaming function; by default none is reserved."
    )
    buffer_seconds: int = Field(default=60, ge=0, le=900, description="Firehose's interval.")
    relevance: RelevanceConfig | None = Field(
        default=None, description="Given where the table holds search logs to score."
    )
    compaction: CompactionConfig = CompactionConfig()
    retention: RetentionConfig = RetentionConfig()
    spark: SparkConfig = SparkConfig()
    assets: AssetsConfig = AssetsConfig()

    @property
    def group_name(self) -> str:
        """The group of the pipeline's assets."""
        return self.group or self.name

    @property
    def lake(self) -> LakeRoot:
        """Where the pipeline's objects lie."""
        return LakeRoot(self.bucket, f"{self.lake_prefix}/" if self.lake_prefix else "")

    @property
    def type_decisions(self) -> TypeDecisions:
        """What is decided about attributes whose values have several types."""
        return decisions_of(self.type_conflicts)

    @property
    def bucket_export_prefix(self) -> str:
        """What the object keys of exports begin with, as DynamoDB's S3Prefix takes it."""
        return self.lake.object_key(self.export_prefix)

    @field_validator("current_every", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return seconds_of(value)

    @field_validator("current_every")
    @classmethod
    def _current_every(cls, value: timedelta) -> timedelta:
        if value.microseconds or not SHORTEST_WINDOW <= value <= LONGEST_WINDOW:
            raise ValueError("an incremental export covers 15 minutes to 24 hours, in seconds")
        return value

    @field_validator("start")
    @classmethod
    def _start(cls, value: datetime) -> datetime:
        moment = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)

    @field_validator("function_settings")
    @classmethod
    def _function_settings(
        cls, value: Mapping[FunctionSetting, str]
    ) -> Mapping[FunctionSetting, str]:
        environment = {setting.value: text for setting, text in value.items()}
        try:
            # The delivery stream's name comes from the template; any will do to check the others.
            read_settings({"DELIVERY_STREAM": "stream", **environment})
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("type_conflicts")
    @classmethod
    def _type_conflicts(cls, value: Mapping[str, Decision]) -> Mapping[str, Decision]:
        decisions_of(value)
        return value

    @field_validator("crawl_schedule")
    @classmethod
    def _crawl_schedule(cls, value: str) -> str:
        return checked_cron(value)

    @field_validator("export_schedule")
    @classmethod
    def _export_schedule(cls, value: str) -> str:
        return checked_cron(value) if value.strip() else ""

    @field_validator("export_prefix")
    @classmethod
    def _export_prefix(cls, value: str) -> str:
        prefix = value.strip("/")
        first = prefix.partition("/")[0]
        if not first:
            raise ValueError("it names no folder; choose one, for example exports")
        if f"{first}/" in RESERVED_PREFIXES:
            raise ValueError(
                f"{first}/ holds other objects of the pipeline; choose another prefix, for example "
                "exports"
            )
        return prefix

    @field_validator("lake_prefix")
    @classmethod
    def _lake_prefix(cls, value: str) -> str:
        prefix = value.strip("/")
        names = prefix.split("/")
        if prefix and not all(re.fullmatch(LAKE_FOLDER, name) for name in names):
            raise ValueError(
                f"{value!r} is not a prefix for a lake: it takes names of letters, digits, _ . and "
                "-, with slashes between them, for example sales/orders"
            )
        if len(prefix) > LONGEST_LAKE_PREFIX:
            raise ValueError(f"a lake's prefix has at most {LONGEST_LAKE_PREFIX} characters")
        return prefix

    @field_validator("bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        return matching(value, BUCKET_NAME, "an S3 bucket name")

    @field_validator("dynamodb_table")
    @classmethod
    def _dynamodb_table(cls, value: str) -> str:
        return matching(value, DYNAMODB_NAME, "a DynamoDB table name")

    @field_validator("delivery_stream")
    @classmethod
    def _delivery_stream(cls, value: str) -> str:
        return matching(value, STREAM_NAME, "a delivery stream name")

    @model_validator(mode="after")
    def _stream_of_the_table(self) -> "PipelineConfig":
        table = self.stream_arn.partition(":table/")[2].partition("/")[0]
        if table and table != self.dynamodb_table:
            raise ValueError(
                f"stream_arn is of the table {table!r}, dynamodb_table is {self.dynamodb_table!r}"
            )
        return self

    @model_validator(mode="after")
    def _accounts(self) -> "PipelineConfig":
        for problem in account_problems(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _keys_have_one_type(self) -> "PipelineConfig":
        if not (self.existing_table or self.stream_arn):  # the keys of others are not known here
            check_keys(self.type_decisions, (self.partition_key, self.sort_key))
        return self

    @model_validator(mode="after")
    def _stream_is_whole(self) -> "PipelineConfig":
        """A view of the stream needs each change as it was made, with its key and its order."""
        if self.current is not CurrentView.STREAM:
            return self
        if self.delivery_schema is not DeliverySchema.LAKE:
            raise ValueError('current = "stream" needs delivery_schema = "lake"')
        edits = sorted(s.value for s in self.function_settings if s in CHANGES_WHAT_IS_DELIVERED)
        if edits:
            raise ValueError(
                f'current = "stream" cannot be combined with {", ".join(edits)}: the view would '
                'lack changes, or mix edited rows with those of exports. Use current = "exports"'
            )
        return self

    @model_validator(mode="after")
    def _iceberg_has_its_place(self) -> "PipelineConfig":
        if self.table_format is not TableFormat.ICEBERG:
            return self
        if self.iceberg_database == self.database:
            raise ValueError(
                "iceberg_database must be another one than database: each commit to an Iceberg "
                "table changes its catalog table, which would wake the schema repair"
            )
        if not self.compaction.enabled:
            raise ValueError(
                'table_format = "iceberg" needs compaction: the Iceberg table of the stream has '
                "the compacted hours"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _named_after_pipeline(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return data
        return {**default_names(data["name"]), **data}


def matching(value: str, pattern: str, what: str) -> str:
    """The value.

    Raises:
        ValueError: it does not match; the message says what it is not.
    """
    if not re.match(pattern, value):
        raise ValueError(f"{value!r} is not {what}")
    return value
