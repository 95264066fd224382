"""Redelivery: failed records become rows once the delivery table accepts them."""

import time
from collections.abc import Sequence
from hashlib import sha256

import dagster as dg

from ddb_pipeline.config.names import delivery_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, REDELIVERED_RECORDS, asset_key, selection
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.catalog_states import CatalogStates
from ddb_pipeline.defs.console_links import console_links
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.glue.catalog import CatalogTable, read_table
from ddb_pipeline.lake.error_folders import error_folders
from ddb_pipeline.lake.layout import ERROR_PREFIX, REDELIVERED_PREFIX
from ddb_pipeline.lake.redelivery import ObjectRedelivery
from ddb_pipeline.lake.redelivery_plan import CORRUPT_LINE
from ddb_pipeline.lake.redelivery_run import Redelivery, RedeliveryRun, untried
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

STAGE = "redelivery"
SHOWN_OBJECTS = 20
FOLDERS_TAG = "ddb_pipeline/error_folders"
"""A run's tag: folders of error objects to visit in any case, separated by blanks."""


def redelivered_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``redelivered_records``: error objects converted again, up to a limit for each run."""

    @pipeline_asset(
        key=asset_key(pipeline, REDELIVERED_RECORDS),
        deps=[asset_key(pipeline, LAKE_TABLE)],
        description=(
            "Rows recovered from records that Firehose could not convert and from held records, "
            "after the schema has been repaired. A record that still fails stays in its error "
            "object with the reason. A run can be repeated safely."
        ),
        pipeline=pipeline,
        kinds={"parquet", "s3"},
        metadata=console_links(settings, pipeline, lake=pipeline.lake, prefix=ERROR_PREFIX),
        pool=f"redelivery_{pipeline.name}",
    )
    def redelivered_records(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        cloud = cloud.for_pipeline(pipeline)
        table = read_table(cloud.glue, delivery_table(pipeline))
        result = run_redelivery(context, cloud, pipeline, table)
        metadata = redelivery_metadata(result)
        if result.inaccessible:
            raise dg.Failure(
                f"{len(result.inaccessible)} error object(s) cannot be read, for example "
                f"{next(iter(result.inaccessible))}. The others were redelivered.",
                metadata=metadata,
                allow_retries=False,
            )
        return dg.MaterializeResult(
            metadata={
                **metadata,
                "table_version": table.version_id,
                "dagster/uri": pipeline.lake.uri(REDELIVERED_PREFIX),
            }
        )

    return redelivered_records


def run_redelivery(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    table: CatalogTable,
) -> RedeliveryRun:
    """Redeliver error objects under the table's columns, and log each that became rows."""

    def log_object(outcome: ObjectRedelivery) -> None:
        if outcome.rows or outcome.landed_before:
            context.log.info(
                "%s: %d row(s), %d record(s) still fail.",
                outcome.key,
                outcome.rows,
                outcome.failed,
            )

    redelivery = Redelivery(
        cloud.s3,
        cloud.filesystem(),
        pipeline.lake,
        table.columns,
        schema_key(table, pipeline),
        log_object,
        pipeline.type_decisions,
    )
    result = redelivery.run(time.time(), context.run.tags.get(FOLDERS_TAG, "").split())
    for key, reason in list((result.errors | result.inaccessible).items())[:SHOWN_OBJECTS]:
        context.log.warning("%s cannot be redelivered: %s", key, reason)
    return result


def redelivery_metadata(result: RedeliveryRun) -> dict[str, dg.MetadataValue]:
    """The sums over the error objects of a run, and the results of the first of them."""
    done = result.done
    waiting = sum(count for code, count in result.waiting.items() if code != CORRUPT_LINE)
    return {
        "dagster/row_count": dg.MetadataValue.int(sum(o.rows for o in done)),
        "error_objects": dg.MetadataValue.int(len(done)),
        "landed_before": dg.MetadataValue.int(sum(o.landed_before for o in done)),
        "still_waiting": dg.MetadataValue.int(waiting),
        "waiting_by_reason": dg.MetadataValue.json(dict(result.waiting)),
        "objects_with_errors": dg.MetadataValue.int(len(result.errors | result.inaccessible)),
        "objects_left": dg.MetadataValue.bool(result.unfinished),
        "objects": dg.MetadataValue.md(objects_table(done)),
    }


def objects_table(done: Sequence[ObjectRedelivery]) -> str:
    """A Markdown table of the first error objects of a run."""
    if not done:
        return "No failed records."
    rows = [(o.key, str(o.rows), str(o.failed)) for o in done[:SHOWN_OBJECTS]]
    if len(done) > SHOWN_OBJECTS:
        rows.append((f"… {len(done) - SHOWN_OBJECTS} more", "", ""))
    return markdown_table(("error object", "rows", "still failing"), rows)


def failed_records_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a redelivery where this schema was not tried on some failed records.

    Never a second successful one for the same objects under the same schema.
    """

    @dg.sensor(
        name=sensor_name(settings, "failed_records_sensor"),
        description=(
            "Materialises redelivered_records when there are failed records and the schema that "
            "they failed on has been repaired."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=5, aws=60),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, REDELIVERED_RECORDS),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)
        states = CatalogStates(cloud, settings.pipelines, delivery_table)

        def compare(pipeline: PipelineConfig) -> None:
            table = delivery_table(pipeline)
            state = states.find(pipeline)
            s3 = cloud.for_pipeline(pipeline).s3
            if state is None or state.pending:
                if not error_folders(s3, pipeline.lake):
                    requests.skip(pipeline, "no failed records")
                elif state is None:
                    requests.skip(pipeline, f"there are error objects, but no table {table} yet")
                else:
                    requests.skip(pipeline, "the error objects wait for the schema fix")
                return
            schema = schema_key(state.table, pipeline)
            found = untried(s3, pipeline.lake, schema, requests.now)
            if found:
                tags = {FOLDERS_TAG: " ".join(found.rechecked)} if found.rechecked else None
                version = f"{schema}-{found.version}"
                requests.request(pipeline, version, REDELIVERED_RECORDS, tags=tags)
            elif not found.exist:
                requests.skip(pipeline, "no failed records")

        requests.visit(compare)
        return requests.result("This schema was tried on all failed records.")

    return sensor


def schema_key(table: CatalogTable, pipeline: PipelineConfig) -> str:
    """Identifies what failed records are tried on: the columns, and the decisions about types."""
    decisions = pipeline.type_decisions.text
    if not decisions:
        return table.fingerprint
    return f"{table.fingerprint}-{sha256(decisions.encode()).hexdigest()[:8]}"
