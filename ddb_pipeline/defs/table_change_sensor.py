"""The sensor that watches crawled Glue tables and has their schema repaired."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    DATA_VERSION_TAG,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
    selection,
)
from ddb_pipeline.defs.automation import sensor_interval, sensor_status
from ddb_pipeline.defs.metadata import schema_metadata
from ddb_pipeline.defs.run_requests import Requested, RunRequests
from ddb_pipeline.glue.catalog import CatalogTable
from ddb_pipeline.glue.watch import TableState, read_states
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
        name="glue_table_change_sensor",
        description=(
            "Materialises normalized_schema and lake_table when a crawled Glue table has changed: "
            "compares the tables whenever Glue reports a change, and regularly without one."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=3, aws=30),
        default_status=sensor_status(settings),
        target=selection(settings, NORMALIZED_SCHEMA, LAKE_TABLE),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)
        # Pipelines may share a queue. Events are not read: the tables show what is to be done.
        queues = sorted({pipeline.change_queue for pipeline in settings.pipelines})
        events = sum(len(Queue(cloud.sqs, queue).take()) for queue in queues)
        is_time = requests.now >= requests.compared_at + interval
        if not events and requests.all_succeeded and not is_time:
            return dg.SensorResult(skip_reason="No table-change event since the last comparison.")
        return compare(context.instance, cloud, settings, requests)

    return sensor


def compare(
    instance: dg.DagsterInstance, cloud: CloudResource, settings: Settings, requests: RunRequests
) -> dg.SensorResult:
    """Compare every pipeline's table with what was last requested, and request what is missing."""
    references = {pipeline.name: crawled_table(pipeline) for pipeline in settings.pipelines}
    states = read_states(cloud.glue, references.values())
    crawled: dict[dg.AssetKey, CatalogTable] = {}
    for pipeline in settings.pipelines:
        state = states.get(references[pipeline.name])
        if state is None:
            continue
        requested = requests.request(
            pipeline,
            schema_version(state, requests.last(pipeline)),
            NORMALIZED_SCHEMA,
            LAKE_TABLE,
            unresolved=state.pending,
            tags={TABLE_VERSION_TAG: state.table.version_id},
        )
        if requested and state.pending:
            crawled[asset_key(pipeline, CRAWLED_CATALOG_TABLE)] = state.table
    return requests.result(
        f"Compared {len(states)} table(s): no schema has changed.",
        compared=True,
        asset_events=list(crawled_materializations(instance, crawled)),
    )


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
