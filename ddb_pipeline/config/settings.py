"""The pipelines and where their data lives: one validated object, from TOML and environment."""

import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ddb_pipeline.config.spark import RelevanceConfig, SparkConfig
from ddb_pipeline.functions.stream_settings import SettingsError, read_settings
from ddb_pipeline.hive.infer import Shape

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGET_VARIABLE = "DDB_PIPELINE_TARGET"
CONFIG_VARIABLE = "DDB_PIPELINE_CONFIG"
HOME_VARIABLE = "DDB_PIPELINE_HOME"
CONFIG_FILE = ".ddb_pipeline.toml"

NAME = r"^[a-z][a-z0-9_]{2,39}$"
DYNAMODB_NAME = r"^[a-zA-Z0-9_.-]{3,255}$"
BUCKET_NAME = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
PREFIX = r"^[a-zA-Z0-9!_.*'()/-]+$"
STREAM_NAME = r"^[a-zA-Z0-9_.-]{1,64}$"


class ConfigError(Exception):
    """The configuration is not usable; the message names the file and each key."""


class Target(Enum):
    """Which AWS the pipeline speaks to."""

    EMBEDDED = "embedded"
    AWS = "aws"


class DeliverySchema(Enum):
    """Which catalog table Firehose reads its column types from."""

    LAKE = "lake"
    CRAWLED = "crawled"


class SchemaFix(Enum):
    """Who mends the crawled table when it changes."""

    LAMBDA = "lambda"
    DAGSTER = "dagster"
    BOTH = "both"


class StreamReader(Enum):
    """What reads the table's stream."""

    LAMBDA = "lambda"
    CONSUMER = "consumer"


class CrawlWith(Enum):
    """What crawls the DynamoDB table."""

    GLUE = "glue"
    BUILTIN = "builtin"


class ExportWith(Enum):
    """How the whole table gets to S3."""

    EXPORT = "export"
    SCAN = "scan"


class FunctionSetting(Enum):
    """Settings of the streaming function that the template passes on (``stream_settings``)."""

    EVENT_NAMES = "EVENT_NAMES"
    IMAGES = "IMAGES"
    ATTRIBUTE_FILTER = "ATTRIBUTE_FILTER"
    TABLE_ROUTES = "TABLE_ROUTES"
    ROUTE_ATTRIBUTE = "ROUTE_ATTRIBUTE"
    ATTRIBUTE_ROUTES = "ATTRIBUTE_ROUTES"
    DROP_ATTRIBUTES = "DROP_ATTRIBUTES"
    PSEUDONYMISE_ATTRIBUTES = "PSEUDONYMISE_ATTRIBUTES"
    PSEUDONYM_KEY_SECRET_ARN = "PSEUDONYM_KEY_SECRET_ARN"
    TRANSFORMER = "TRANSFORMER"

    @property
    def parameter(self) -> str:
        """The template's parameter for it."""
        return "".join(word.capitalize() for word in self.value.split("_"))


class PipelineConfig(BaseModel):
    """One DynamoDB table on its way to the lake.

    Only ``name`` is needed (and ``bucket`` on AWS); the rest follows the template's own names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, description="Asset key prefix and stem of all names.")
    dynamodb_table: str = Field(default="", description="The DynamoDB table's name.")
    database: str = Field(default="", description="The Glue database.")
    bucket: str = Field(default="", description="The lake's S3 bucket.")
    delivery_stream: str = Field(default="", description="The Firehose delivery stream.")
    crawler: str = Field(default="", description="The Glue crawler.")
    change_queue: str = Field(default="", description="SQS queue with Glue's table changes.")
    stack: str = Field(default="", description="The CloudFormation stack.")
    table_prefix: str = Field(default="", description="The crawler's table prefix.")
    partition_key: str = Field(default="log_id", description="The table's partition key (S).")
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
    crawl_schedule: str = Field(default="0 * * * *", description="Cron of the crawl, UTC.")
    export_prefix: str = Field(
        default="exports", pattern=PREFIX, description="Where exports lie in the lake's bucket."
    )
    export_with: ExportWith = Field(
        default=ExportWith.EXPORT,
        description="DynamoDB's export (point-in-time recovery on) or a scan in its layout.",
    )
    export_schedule: str = Field(default="", description="Cron of the export, UTC; none if empty.")
    start: datetime = Field(
        default=datetime(2026, 1, 1, tzinfo=timezone.utc),
        description="First hour of the lake's partitions, UTC.",
    )
    buffer_seconds: int = Field(default=60, ge=0, le=900, description="Firehose's interval.")
    relevance: RelevanceConfig | None = Field(
        default=None, description="Given where the table holds search logs to score."
    )
    spark: SparkConfig = SparkConfig()

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

    @field_validator("bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        return _matching(value, BUCKET_NAME, "an S3 bucket name")

    @field_validator("dynamodb_table")
    @classmethod
    def _dynamodb_table(cls, value: str) -> str:
        return _matching(value, DYNAMODB_NAME, "a DynamoDB table name")

    @field_validator("delivery_stream")
    @classmethod
    def _delivery_stream(cls, value: str) -> str:
        return _matching(value, STREAM_NAME, "a delivery stream name")

    @model_validator(mode="before")
    @classmethod
    def _named_after_pipeline(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return data
        slug = data["name"].replace("_", "-")
        defaults = {
            "dynamodb_table": slug,
            "database": data["name"],
            "bucket": f"{slug}-lake",
            "delivery_stream": f"{slug}-stream",
            "crawler": f"{slug}-crawler",
            "change_queue": f"{slug}-table-changes",
            "stack": slug,
        }
        return {**defaults, **data}


def _matching(value: str, pattern: str, what: str) -> str:
    if not re.match(pattern, value):
        raise ValueError(f"{value!r} is not {what}")
    return value


class Settings(BaseModel):
    """Everything the code location needs to know before it can load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target = Target.EMBEDDED
    home: Path = Path(".ddb_pipeline")
    region: str = "us-east-1"
    pipelines: tuple[PipelineConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "Settings":
        names = [pipeline.name for pipeline in self.pipelines]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"pipelines: the name {repeated[0]!r} is given twice")
        return self

    def pipeline(self, name: str) -> PipelineConfig:
        """The pipeline of that name.

        Raises:
            ConfigError: there is none; the message lists those there are.
        """
        for pipeline in self.pipelines:
            if pipeline.name == name:
                return pipeline
        known = ", ".join(pipeline.name for pipeline in self.pipelines)
        raise ConfigError(f"There is no pipeline {name!r}. Configured: {known}.")


DEMO_PIPELINE: Mapping[str, Any] = {
    "name": "search_logs",
    "delivery_schema": "crawled",
    "schema_fix": "dagster",
    "crawl_schedule": "*/2 * * * *",
    "export_schedule": "*/10 * * * *",
    "buffer_seconds": 3,
    "relevance": {},
}
"""What runs where nothing is configured: the original design, so that failure and cure are seen."""


def load_settings(
    environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """Settings from ``DDB_PIPELINE_CONFIG`` or ``.ddb_pipeline.toml``, else the demo's.

    Raises:
        ConfigError: a file that is missing or is not TOML, a key that is unknown or has a bad
            value, a pipeline on AWS without its own configuration.
    """
    environment = os.environ if environment is None else environment
    directory = directory or Path.cwd()
    source, data = _read_file(environment, directory)
    target = wanted_target(environment).value
    if target == "aws" and not data.get("pipelines"):
        raise ConfigError(
            f"{TARGET_VARIABLE}=aws needs pipelines to run: write {directory / CONFIG_FILE} "
            f"(or the file that {CONFIG_VARIABLE} names) with at least\n"
            '[[pipelines]]\nname = "search_logs"\nbucket = "your-bucket"'
        )
    if target == "aws":
        _require_buckets(source, data)
    home = Path(environment.get(HOME_VARIABLE) or data.get("home") or directory / ".ddb_pipeline")
    demo = {**DEMO_PIPELINE, "start": first_start(home)}
    values = {"pipelines": [demo], **data, "target": target, "home": home}
    if environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        values.setdefault(
            "region", environment.get("AWS_REGION") or environment["AWS_DEFAULT_REGION"]
        )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_readable(error, source)) from error
    return _without_emr(settings) if settings.target is Target.EMBEDDED else settings


def _without_emr(settings: Settings) -> Settings:
    """The embedded AWS has no EMR: with the same configuration, Spark runs in a child process."""
    here = {"emr_serverless": False}
    pipelines = [
        pipeline.model_copy(update={"spark": pipeline.spark.model_copy(update=here)})
        for pipeline in settings.pipelines
    ]
    return settings.model_copy(update={"pipelines": tuple(pipelines)})


def wanted_target(environment: Mapping[str, str] | None = None) -> Target:
    """The AWS that ``DDB_PIPELINE_TARGET`` names; the embedded one where it is not set.

    Raises:
        ConfigError: it names neither.
    """
    environment = os.environ if environment is None else environment
    target = environment.get(TARGET_VARIABLE, "").strip() or "embedded"
    if target not in {member.value for member in Target}:
        raise ConfigError(f"{TARGET_VARIABLE} is {target!r}; it takes 'embedded' or 'aws'.")
    return Target(target)


def first_start(home: Path) -> datetime:
    """When the embedded AWS under ``home`` was first started; now where it never was."""
    try:
        seconds = (home / "embedded" / "created").stat().st_mtime
    except OSError:
        return datetime.now(timezone.utc)
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _read_file(environment: Mapping[str, str], directory: Path) -> tuple[str, dict[str, Any]]:
    named = environment.get(CONFIG_VARIABLE)
    path = Path(named) if named else directory / CONFIG_FILE
    if not named and not path.exists():
        return "built-in demo configuration", {}
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Configuration {path} is not TOML: {error}.") from error


def _require_buckets(source: str, data: Mapping[str, Any]) -> None:
    """Bucket names are global: a name made up here could be someone else's bucket."""
    for position, pipeline in enumerate(data["pipelines"]):
        if isinstance(pipeline, Mapping) and not pipeline.get("bucket"):
            raise ConfigError(
                f"{source} is not a valid configuration:\n"
                f"  pipelines[{position}].bucket: needed on AWS, where bucket names are global."
            )


def _readable(error: ValidationError, source: str) -> str:
    lines = [f"{source} is not a valid configuration:"]
    problems = error.errors()
    for problem in problems:
        if problem["type"] == "too_short" and len(problems) > 1:
            # Says only that no pipeline was left after those refused above.
            continue
        key = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
        ).lstrip(".")
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key. Known keys: {', '.join(PipelineConfig.model_fields)}"
        lines.append(f"  {key}: {message}" if key else f"  {message}")
    return "\n".join(lines)
