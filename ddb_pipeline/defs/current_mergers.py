"""Where an update of the current view is merged: in processes of this machine, or by Spark."""

from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal, Protocol

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.snapshot_converters import wants_spark
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.current.prepared import (
    PlannedRequest,
    publish_prepared,
    request_path,
    write_request,
)
from ddb_pipeline.lake.current.sizing import merge_bytes
from ddb_pipeline.lake.current.steps import Processes
from ddb_pipeline.lake.current.store import BucketStore
from ddb_pipeline.lake.current.update import Request, Updated, update
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.spark import spark_runner
from ddb_pipeline.spark.current_job import CurrentArguments
from ddb_pipeline.spark.submission import SparkJob

SPARK_MODULE = "ddb_pipeline.spark.current_job"


class CurrentConfig(dg.Config):
    """How the view is updated."""

    engine: Literal["auto", "here", "spark"] = Field(
        default="auto",
        description=(
            "here: merge in processes of the run's machine; spark: by a Spark job; auto: by Spark "
            "where the update has the size that spark.current_from_gb gives."
        ),
    )


class Merger(Protocol):
    """Does an update that is planned, and publishes it."""

    def updated(self, store: BucketStore, before: Manifest, request: Request) -> Updated:
        """Update the view.

        Args:
            before: the version for which the update was planned.

        Raises:
            ConcurrentUpdateError: another run has updated the view meanwhile.
        """


def chosen_merger(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    settings: Settings,
    pipeline: PipelineConfig,
    engine: str,
    size: int,
) -> Merger:
    """The merger for an update of so many bytes, by the run's ``engine``."""
    if wants_spark(engine, size, pipeline.spark.current_from_gb):
        return BySpark(context, cloud, pipeline, settings.home)
    return InProcesses()


def update_size(before: Manifest, request: Request) -> int:
    """The bytes that decide where an update is merged: those of its rows and its buckets."""
    return merge_bytes(before.files, request.sources)


@dataclass(frozen=True, slots=True)
class InProcesses:
    """Merges on this machine, the buckets in parallel on its cores."""

    def updated(self, store: BucketStore, before: Manifest, request: Request) -> Updated:
        with Processes() as run_steps:
            return update(store, PlannedRequest(before.run, request).checked, run_steps)


@dataclass(frozen=True, slots=True)
class BySpark:
    """Merges by a Spark job: the same steps in Spark's executors, with the same files as result."""

    context: dg.AssetExecutionContext
    cloud: CloudResource
    pipeline: PipelineConfig
    home: Path

    def updated(self, store: BucketStore, before: Manifest, request: Request) -> Updated:
        run = token_hex(6)
        path = request_path(store.path, run)
        write_request(store.filesystem, path, before, request)
        arguments = CurrentArguments(f"s3://{store.path}", f"s3://{path}", run)
        job = SparkJob("current_job", SPARK_MODULE, tuple(arguments.command_line()), libraries=True)
        with spark_runner(self.cloud, self.pipeline, self.home) as runner:
            runner.run(self.context, job)
        return publish_prepared(store, run)
