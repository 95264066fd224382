"""The settings of the code location: loaded from a TOML file and the environment, validated."""

import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ddb_pipeline.config.deployment import REGION
from ddb_pipeline.config.lake_stack import LakeConfig, joined
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.sharing import sharing_problems
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
    """The AWS that the pipeline uses."""

    EMBEDDED = "embedded"
    AWS = "aws"


class Sensors(Enum):
    """Which pipelines a sensor watches."""

    ALL = "all"
    GROUP = "group"


class Settings(BaseModel):
    """What the code location needs before it can load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target = Target.EMBEDDED
    home: Path = Path(".ddb_pipeline")
    region: str = Field(default="us-east-1", pattern=REGION)
    sensors: Sensors = Field(
        default=Sensors.ALL, description="One sensor of a kind for all pipelines, or one a group."
    )
    lake: LakeConfig | None = Field(
        default=None, description="The stack that pipelines share; by default each has its own."
    )
    pipelines: tuple[PipelineConfig, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _joined_to_the_lake(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        lake, pipelines = data.get("lake"), data.get("pipelines")
        if not isinstance(lake, Mapping) or not isinstance(pipelines, list | tuple):
            return data
        return {**data, "pipelines": joined(lake, pipelines)}

    @field_validator("pipelines")
    @classmethod
    def _each_in_a_region(
        cls, value: tuple[PipelineConfig, ...], info: ValidationInfo
    ) -> tuple[PipelineConfig, ...]:
        here = {"region": info.data.get("region", "")}
        return tuple(each if each.region else each.model_copy(update=here) for each in value)

    @model_validator(mode="after")
    def _pipelines_do_not_mix(self) -> "Settings":
        """Two pipelines with one table, queue or part of a bucket would mix their data."""
        for problem in sharing_problems(self.pipelines, self.lake, self.region):
            raise ValueError(f"pipelines: {problem}")
        return self

    def watched(self) -> list["Settings"]:
        """These settings for each set of sensors, with the pipelines that it watches."""
        if self.sensors is Sensors.ALL:
            return [self]
        groups: dict[str, list[PipelineConfig]] = {}
        for pipeline in self.pipelines:
            groups.setdefault(pipeline.group_name, []).append(pipeline)
        return [
            self.model_copy(update={"pipelines": tuple(members)}) for members in groups.values()
        ]

    def pipeline(self, name: str) -> PipelineConfig:
        """Return the pipeline of that name.

        Raises:
            ConfigError: there is none; the message lists the configured pipelines.
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
    "current": "exports",
    "current_every": "15m",
    "buffer_seconds": 3,
    "relevance": {},
}
"""The pipeline if nothing is configured: the original design, so that a fix can be watched."""


def load_settings(
    environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """Load the settings from ``DDB_PIPELINE_CONFIG`` or ``.ddb_pipeline.toml``, else the demo's.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown or has an invalid value, or
            the target is AWS and nothing is configured.
    """
    environment = os.environ if environment is None else environment
    directory = directory or Path.cwd()
    source, data = _read_file(environment, directory)
    return settings_of(data, environment, directory, source)


def account_settings(
    environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """The target, region and home alone, for commands that use an account and no pipeline.

    The configuration file need not exist; its pipelines, and whether they are valid, do not matter.

    Raises:
        ConfigError: the file cannot be read, or has an invalid region or home.
    """
    environment = os.environ if environment is None else environment
    directory = directory or Path.cwd()
    path = config_path(environment, directory)
    data = _read_file(environment, directory)[1] if path.exists() else {}
    # A configuration has pipelines; this one is never deployed.
    kept: dict[str, Any] = {key: data[key] for key in ("region", "home") if key in data}
    kept["pipelines"] = [{"name": "unused", "bucket": "unused"}]
    return settings_of(kept, environment, directory, str(path))


def parsed_settings(text: str, source: str) -> Settings:
    """The settings of a configuration file's text, for the embedded AWS.

    Raises:
        ConfigError: it is not TOML, or not a valid configuration.
    """
    try:
        return settings_of(tomllib.loads(text), {}, source=source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Configuration {source} is not TOML: {error}.") from error


def config_path(
    environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Path:
    """The configuration file that the environment names, else the one of the folder."""
    environment = os.environ if environment is None else environment
    return Path(environment.get(CONFIG_VARIABLE) or (directory or Path.cwd()) / CONFIG_FILE)


def settings_of(
    data: Mapping[str, Any],
    environment: Mapping[str, str],
    directory: Path | None = None,
    source: str = "The configuration",
) -> Settings:
    """The settings of what a configuration file has; the demo's pipeline where it has none.

    Args:
        data: the file's content.
        environment: names the target, and the region and home where ``data`` does not.
        directory: the folder of the home where nothing names one; by default the current one.
        source: how errors name the configuration.

    Raises:
        ConfigError: a key is unknown or has an invalid value, or the target is AWS and no pipeline
            is configured.
    """
    directory = directory or Path.cwd()
    target = wanted_target(environment)
    if target is Target.AWS:
        _require_pipelines(source, data, directory)
    home = _home(environment, data, directory)
    demo = {**DEMO_PIPELINE, "start": first_start(home)}
    values = {"pipelines": [demo], **data, "target": target, "home": home}
    region = _region(environment)
    if region:
        values.setdefault("region", region)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_readable(error, source)) from error
    return _without_emr(settings) if settings.target is Target.EMBEDDED else settings


def _home(environment: Mapping[str, str], data: Mapping[str, Any], directory: Path) -> Path:
    home = environment.get(HOME_VARIABLE) or data.get("home") or directory / ".ddb_pipeline"
    if not isinstance(home, str | Path) or "\0" in str(home):
        raise ConfigError(f"home is {home!r}; it takes the path of a folder, as text.")
    return Path(home)


def _region(environment: Mapping[str, str]) -> str:
    """The region that the environment names; empty where it names none."""
    name = "AWS_REGION" if environment.get("AWS_REGION") else "AWS_DEFAULT_REGION"
    region = environment.get(name, "")
    if region and not re.match(REGION, region):
        raise ConfigError(f"{name} is {region!r}; set it to a region, for example to eu-central-1.")
    return region


def _without_emr(settings: Settings) -> Settings:
    """Run Spark in a child process: the embedded AWS has no EMR Serverless."""
    here = {"emr_serverless": False}
    pipelines = [
        pipeline.model_copy(update={"spark": pipeline.spark.model_copy(update=here)})
        for pipeline in settings.pipelines
    ]
    return settings.model_copy(update={"pipelines": tuple(pipelines)})


def wanted_target(environment: Mapping[str, str] | None = None) -> Target:
    """Return the target that ``DDB_PIPELINE_TARGET`` names; the embedded AWS if it is not set.

    Raises:
        ConfigError: the variable has another value.
    """
    environment = os.environ if environment is None else environment
    target = environment.get(TARGET_VARIABLE, "").strip() or "embedded"
    if target not in {member.value for member in Target}:
        raise ConfigError(f"{TARGET_VARIABLE} is {target!r}; it takes 'embedded' or 'aws'.")
    return Target(target)


def first_start(home: Path) -> datetime:
    """Return when the embedded AWS under ``home`` was first started; now if it never was."""
    try:
        seconds = (home / "embedded" / "created").stat().st_mtime
    except OSError:
        return datetime.now(timezone.utc)
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _read_file(environment: Mapping[str, str], directory: Path) -> tuple[str, dict[str, Any]]:
    path = config_path(environment, directory)
    if not environment.get(CONFIG_VARIABLE) and not path.exists():
        return "built-in demo configuration", {}
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Configuration {path} is not TOML: {error}.") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"Configuration {path} cannot be read as TOML: {error}.") from error


def _require_pipelines(source: str, data: Mapping[str, Any], directory: Path) -> None:
    """Bucket names are global: a default name could be the bucket of another account."""
    pipelines = data.get("pipelines")
    if not pipelines:
        raise ConfigError(
            f"{TARGET_VARIABLE}=aws needs pipelines to run: write {directory / CONFIG_FILE} "
            f"(or the file that {CONFIG_VARIABLE} names) with at least\n"
            '[[pipelines]]\nname = "search_logs"\nbucket = "your-bucket"'
        )
    for position, pipeline in enumerate(pipelines if isinstance(pipelines, list) else ()):
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
            # This problem only follows from the pipelines that are refused above.
            continue
        key = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
        ).lstrip(".")
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key. Known keys: {', '.join(PipelineConfig.model_fields)}"
        lines.append(f"  {key}: {message}" if key else f"  {message}")
    return "\n".join(lines)
