"""Hours of a stream in an embedded AWS: objects put there, and runs that process them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import PARQUET_STREAM, asset_key
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.resources.cloud import CloudResource


@dataclass(frozen=True)
class DeliveredHours:
    """The only pipeline of these settings."""

    settings: Settings
    cloud: CloudResource
    instance: dg.DagsterInstance

    @property
    def pipeline(self) -> PipelineConfig:
        """The pipeline."""
        (pipeline,) = self.settings.pipelines
        return pipeline

    def land(
        self, hour: DeliveryHour, name: str, document: bytes, columns: Sequence[Column]
    ) -> None:
        """Put a document as Firehose lands it."""
        body = convert([document], columns).parquet
        assert body is not None
        lake = self.pipeline.lake
        key = lake.object_key(f"{hour.prefix}{name}.parquet")
        self.cloud.s3.put_object(Bucket=lake.bucket, Key=key, Body=body)

    def materialize(self, hour: DeliveryHour) -> dict[str, Any]:
        """Metadata and data version of a run for an hour."""
        result = (
            build_defs(self.settings)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                asset_selection=[asset_key(self.pipeline, PARQUET_STREAM)],
                partition_key=hour.partition_key,
                instance=self.instance,
            )
        )
        (event,) = result.get_asset_materialization_events()
        found = event.materialization
        version = (found.tags or {})["dagster/data_version"]
        return {**{k: v.value for k, v in found.metadata.items()}, "version": version}
