"""The settings of the code location: loaded from a TOML file and the environment, validated."""

import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.errors import DdbPipelineError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGET_VARIABLE = "DDB_PIPELINE_TARGET"
CONFIG_VARIABLE = "DDB_PIPELINE_CONFIG"
HOME_VARIABLE = "DDB_PIPELINE_HOME"
CONFIG_FILE = ".ddb_pipeline.toml"


class ConfigError(DdbPipelineError):
    """The configuration is not usable; the message names the file and each key."""


class Target(Enum):
    """Which AWS the pipeline speaks to."""

    EMBEDDED = "embedded"
    AWS = "aws"


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
