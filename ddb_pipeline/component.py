"""The pipelines in other Dagster projects: as a Component in a ``defs.yaml``, or as definitions.

``ddb_pipeline.DynamoDBParquetPipeline`` and ``ddb_pipeline.build_pipeline`` are these.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from ddb_pipeline.config.lake_stack import LakeConfig
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Sensors, Settings, settings_of
from ddb_pipeline.definitions import build_defs


def build_pipeline(config: Mapping[str, Any] | Settings) -> dg.Definitions:
    """The definitions of pipelines, to be merged with those of a project.

    Args:
        config: what a configuration file has, ``{"region": ..., "pipelines": [{"name": ...}]}``,
            or settings. The target is the embedded AWS unless ``DDB_PIPELINE_TARGET`` is ``aws``.

    A project has these definitions once: their sensors and jobs watch all of its pipelines.

    Raises:
        ConfigError: the configuration is not valid; the message names each key.
    """
    settings = config if isinstance(config, Settings) else settings_of(config, os.environ)
    return build_defs(settings, whole_location=False)


def _as_written(value: Any, _: Any) -> Any:
    """A pipeline as it is written: templates such as ``{{ env.BUCKET }}`` are resolved later."""
    return value


class PipelinesAttributes(BaseModel):
    """The attributes in a ``defs.yaml``."""

    model_config = ConfigDict(extra="forbid")

    region: str = Field(default="", description="AWS region; by default that of the environment.")
    sensors: Sensors = Field(
        default=Sensors.ALL, description="One sensor of a kind for all pipelines, or one a group."
    )
    lake: Annotated[LakeConfig | None, WrapValidator(_as_written)] = Field(
        default=None, description="The stack that pipelines share; by default each has its own."
    )
    pipelines: Sequence[Annotated[PipelineConfig, WrapValidator(_as_written)]] = Field(
        min_length=1, description="The pipelines of the project, one for each DynamoDB table."
    )


class PipelineScaffolder(dg.Scaffolder):
    """Writes a ``defs.yaml`` with one pipeline of the folder's name."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the file."""
        name = request.target_path.name.replace("-", "_").lower()
        stem = name.replace("_", "-")
        pipeline = {"name": name, "dynamodb_table": stem, "bucket": f"{stem}-lake"}
        dg.scaffold_component(request, {"pipelines": [pipeline]})


@dg.scaffold_with(PipelineScaffolder)
class DynamoDBParquetPipeline(dg.Component):
    """DynamoDB tables as Parquet in S3 in near real time, with a schema that is repaired.

    For each table: the crawl, the repair of its column types, the delivery of changes as Parquet,
    the redelivery of failed records, snapshots of the whole table, and checks that nothing is lost.
    The tables and their stacks are those that ``ddb-pipeline deploy`` makes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model of the attributes, from which Dagster makes their schema."""
        return PipelinesAttributes

    @classmethod
    def load(
        cls, attributes: BaseModel | None, context: dg.ComponentLoadContext
    ) -> "DynamoDBParquetPipeline":
        """Resolve the templates in the attributes, and validate them."""
        written = attributes.__dict__ if attributes else {}
        values = {
            key: context.resolution_context.resolve_value(value)
            for key, value in written.items()
            if value
        }
        return cls(settings_of(values, os.environ))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of all pipelines of the file."""
        return build_pipeline(self.settings)
