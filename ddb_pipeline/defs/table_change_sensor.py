"""The sensor that watches crawled Glue tables and has their schema repaired."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    DATA_VERSION_TAG,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
    selection,
)
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.catalog_states import CatalogStates
from ddb_pipeline.defs.metadata import schema_metadata
from ddb_pipeline.defs.run_requests import Requested, RunRequests
from ddb_pipeline.glue.catalog import CatalogTable
from ddb_pipeline.glue.watch import TableState
from ddb_pipeline.queues import Queue
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "schema"
TABLE_VERSION_TAG = "ddb_pipeline/table_version"
RECONCILE_EMBEDDED_SECONDS = 15
RECONCILE_AWS_SECONDS = 300


def glue_table_change_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests runs by the tables' state; an event only causes the comparison.

    Events may be lost, repeated or late: without any, all tables are still compared once an
    interval, and at every tick while a requested run has not succeeded.
    """
    interval = sensor_interval(
        settings, embedded=RECONCILE_EMBEDDED_SECONDS, aws=RECONCILE_AWS_SECONDS
    )

    @dg.sensor(
        name=sensor_name(settings, "glue_table_change_sensor"),
        description=(
            "Materialises normalized_schema and lake_table when a crawled Glue table has changed: "
            "compares the tables whenever Glue reports a change, and regularly without one."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=3, aws=30),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, NORMALIZED_SCHEMA, LAKE_TABLE),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)
        comparison = Comparison(cloud, settings.pipelines, requests, interval)
        requests.visit(comparison.visit)
        return requests.result(
            comparison.summary(),
            asset_events=list(crawled_materializations(context.instance, comparison.crawled)),
        )

    return sensor


class Comparison:
    """The comparison of tables with what was last requested, in one tick.

    Attributes:
        crawled: the tables whose repair is requested, by their asset.
    """

    def __init__(
        self,
        cloud: CloudResource,
        pipelines: Sequence[PipelineConfig],
        requests: RunRequests,
        interval: float,
    ) -> None:
        self._cloud = cloud
        self._pipelines = pipelines
        self._requests = requests
        self._interval = interval
        self._states = CatalogStates(cloud, pipelines, crawled_table)
        self._emptied: set[tuple[str, str]] = set()
        self._compared = 0
        self._found = 0
        self.crawled: dict[dg.AssetKey, CatalogTable] = {}

    def visit(self, pipeline: PipelineConfig) -> None:
        """Compare a pipeline's table if it is time, and request what is missing."""
        requests = self._requests
        self._take_events(pipeline)
        is_time = requests.now >= requests.compared_at(pipeline) + self._interval
        if not is_time and requests.succeeded(pipeline):
            return
        state = self._states.find(pipeline)
        requests.compared(pipeline)
        self._compared += 1
        if state is None:
            return
        self._found += 1
        requested = requests.request(
            pipeline,
            schema_version(state, requests.last(pipeline)),
            NORMALIZED_SCHEMA,
            LAKE_TABLE,
            unresolved=state.pending,
            tags={TABLE_VERSION_TAG: state.table.version_id},
        )
        if requested and state.pending:
            self.crawled[asset_key(pipeline, CRAWLED_CATALOG_TABLE)] = state.table

    def _take_events(self, pipeline: PipelineConfig) -> None:
        """Empty a pipeline's queue; where it had events, it is time for each that uses it.

        Events are not read: the tables show what is to be done.
        """
        queue = queue_of(pipeline)
        if queue in self._emptied:
            return
        if Queue(self._cloud.for_pipeline(pipeline).sqs, pipeline.change_queue).take():
            for each in self._pipelines:
                if queue_of(each) == queue:
                    self._requests.compare_soon(each)
        self._emptied.add(queue)

    def summary(self) -> str:
        """What the comparison found, for a reader, where no run is requested."""
        if not self._compared:
            return "No table-change event since the last comparison."
        return f"Compared {self._found} table(s): no schema has changed."


def queue_of(pipeline: PipelineConfig) -> tuple[str, str]:
    """Region and name of the queue with events about a pipeline's table."""
    return pipeline.region, pipeline.change_queue


def schema_version(state: TableState, last: Requested | None) -> str:
    """Identifies the schema that a run would bring to the lake.

    A valid table with the schema last brought there needs no other run: it has the version of
    that run. A table that needs the fix does, also where it had the same schema before.
    """
    if last and not state.pending and last.version.endswith(f"-{state.repaired_fingerprint}"):
        return last.version
    return f"{state.version_key}-{state.repaired_fingerprint}"


def crawled_materializations(
    instance: dg.DagsterInstance, crawled: Mapping[dg.AssetKey, CatalogTable]
) -> Iterable[dg.AssetMaterialization]:
    """Reports what crawls outside of Dagster wrote; a schema already reported is left out."""
    reported = latest_data_versions(instance, list(crawled))
    for key, table in crawled.items():
        if reported.get(key) != table.fingerprint:
            yield dg.AssetMaterialization(
                asset_key=key,
                description="Found in the Glue Data Catalog by glue_table_change_sensor.",
                metadata=schema_metadata(table.reference, table.version_id, table.columns),
                tags={DATA_VERSION_TAG: table.fingerprint},
            )


def latest_data_versions(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, str]:
    """The data versions of the latest materialisations, of those assets that have one."""
    versions: dict[dg.AssetKey, str] = {}
    for record in instance.get_asset_records(keys) if keys else ():
        event = record.asset_entry.last_materialization
        materialization = event.asset_materialization if event is not None else None
        version = (materialization.tags or {}).get(DATA_VERSION_TAG) if materialization else None
        if version is not None:
            versions[record.asset_entry.asset_key] = version
    return versions
