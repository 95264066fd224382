"""Retention: a job that removes what newer objects have replaced, and its schedules."""

import time

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import changes_table, lake_table, snapshot_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import run_tags
from ddb_pipeline.defs.automation import schedule_status
from ddb_pipeline.defs.current import store_of
from ddb_pipeline.defs.current_exports import DAY, OLDEST_DAYS, full_exports
from ddb_pipeline.defs.failures import readable_failures
from ddb_pipeline.defs.iceberg import vacuum_iceberg
from ddb_pipeline.defs.relevance import reads_compacted
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.lake.current_sources import HEALED, MICROS, snapshot_of
from ddb_pipeline.lake.reconciliation_state import read_state
from ddb_pipeline.lake.removals import VacuumReport, VacuumTarget
from ddb_pipeline.lake.retention import RetentionPolicy, ViewNeeds, total_size
from ddb_pipeline.lake.vacuum import vacuum
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

DAY_SECONDS = 86_400.0
STAGE = "vacuum"
OP = "remove_replaced_objects"
SHOWN = 100


class VacuumConfig(dg.Config):
    """Of which pipeline objects are removed."""

    pipeline: str = Field(description="The pipeline's name.")
    dry_run: bool = Field(default=False, description="List what would be removed, no more.")


def vacuum_job(settings: Settings) -> dg.JobDefinition:
    """``vacuum``: removes, or lists, the objects of a lake that are not needed any more."""

    @dg.op(
        name=OP,
        pool="vacuum",
        description="Removes objects that newer ones have replaced, after the configured time.",
    )
    @readable_failures
    def remove(context: dg.OpExecutionContext, cloud: CloudResource, config: VacuumConfig) -> None:
        report = vacuum_pipeline(cloud, settings.pipeline(config.pipeline), dry_run=config.dry_run)
        for hour in report.repaired:
            context.log.warning("The partition of %s did not name its current generation.", hour)
        context.add_output_metadata(report_metadata(report, dry_run=config.dry_run))

    @dg.job(
        name="vacuum",
        description=(
            "Removes what is replaced and not needed any more: raw objects of compacted hours, "
            "older generations, snapshots past those that stay, converted exports, changes that "
            "the current view has merged, and the replaced snapshots of Iceberg tables with their "
            "files. With dry_run it lists them only."
        ),
        config=dg.RunConfig(ops={OP: VacuumConfig(pipeline=settings.pipelines[0].name)}),
    )
    def vacuum_lake() -> None:
        remove()

    return vacuum_lake


def vacuum_schedules(settings: Settings, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """A schedule for each pipeline."""
    return [
        dg.ScheduleDefinition(
            name=f"{pipeline.name}_vacuum",
            description="Removes objects of the lake that are replaced and not needed any more.",
            cron_schedule=pipeline.retention.schedule,
            execution_timezone="UTC",
            job=job,
            run_config=dg.RunConfig(ops={OP: VacuumConfig(pipeline=pipeline.name)}),
            default_status=schedule_status(settings),
            tags=run_tags(pipeline.name, STAGE),
        )
        for pipeline in settings.pipelines
    ]


def vacuum_pipeline(
    cloud: CloudResource, pipeline: PipelineConfig, *, dry_run: bool
) -> VacuumReport:
    """Remove what the pipeline's retention allows, or only list it.

    Raises:
        VacuumError: objects cannot be removed.
        CatalogError: the catalog cannot be read or written.
    """
    cloud, now = cloud.for_pipeline(pipeline), time.time()
    target = VacuumTarget(
        cloud.s3,
        cloud.glue,
        pipeline.lake,
        lake_table(pipeline),
        snapshot_table(pipeline),
        changes_table(pipeline),
        pipeline.export_prefix,
        needed_since(cloud, pipeline, now),
        view_needs(cloud, pipeline, now),
        vacuum_iceberg(cloud, pipeline, now, dry_run=dry_run),
    )
    return vacuum(target, retention_policy(pipeline), now, dry_run=dry_run)


def needed_since(cloud: CloudResource, pipeline: PipelineConfig, now: float) -> float:
    """Raw objects of hours that end later are still read at ``now``, epoch seconds.

    By the check ``nothing_lost``, and by a relevance job that reads no compacted hours.
    """
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    state, _ = read_state(cloud.s3, pipeline.lake, table.latest_stream_arn)
    needed = state.needs_rows_since(now)
    if pipeline.relevance and not reads_compacted(pipeline):
        # The job's window ends with the newest hour, so that a day more is needed.
        needed = min(needed, now - (pipeline.relevance.window_days + 1) * DAY_SECONDS)
    return needed


def view_needs(cloud: CloudResource, pipeline: PipelineConfig, now: float) -> ViewNeeds | None:
    """What the pipeline's current view has merged, and what a rebuild of it would read.

    A rebuild begins with the newest full export, if that is not older than incremental exports
    reach back.
    """
    if pipeline.current is CurrentView.OFF:
        return None
    manifest = store_of(cloud, pipeline).read().manifest
    follows_windows = pipeline.current is CurrentView.EXPORTS and manifest.version > 0
    base = next(full_exports(cloud, pipeline, now - OLDEST_DAYS * DAY), None)
    return ViewNeeds(
        merged_until=manifest.as_of / MICROS if follows_windows else 0.0,
        merged=frozenset(manifest.marks.get(HEALED, ())),
        base=base[0].path.rpartition("/")[2] if base is not None else "",
        rebuilt_from=snapshot_of(base[1]).position / MICROS if base is not None else 0.0,
    )


def retention_policy(pipeline: PipelineConfig) -> RetentionPolicy:
    """The policy that is configured."""
    configured = pipeline.retention
    return RetentionPolicy(
        raw_seconds=configured.raw_days * DAY_SECONDS,
        replaced_seconds=configured.replaced_days * DAY_SECONDS,
        export_seconds=configured.export_days * DAY_SECONDS,
        changes_seconds=configured.changes_days * DAY_SECONDS,
        snapshots_last=configured.snapshots_last,
        snapshots_monthly=configured.snapshots_monthly,
    )


def report_metadata(report: VacuumReport, *, dry_run: bool) -> dict[str, dg.MetadataValue]:
    """What a run removed, or would remove."""
    return {
        "dry_run": dg.MetadataValue.bool(dry_run),
        "objects": dg.MetadataValue.int(report.objects),
        "bytes": dg.MetadataValue.int(total_size(report.removals)),
        "retired_snapshots": dg.MetadataValue.json(report.retired),
        "expired_iceberg_snapshots": dg.MetadataValue.json(report.expired),
        "repaired_partitions": dg.MetadataValue.json(report.repaired),
        "more_to_remove": dg.MetadataValue.bool(report.unfinished),
        "removals": dg.MetadataValue.md(removals_table(report)),
    }


def removals_table(report: VacuumReport) -> str:
    """A Markdown table of the first removals."""
    if not report.removals:
        return "Nothing to remove."
    rows = [
        (r.kind, r.name, f"{len(r.objects):,}", f"{r.size:,}", r.reason)
        for r in report.removals[:SHOWN]
    ]
    if len(report.removals) > SHOWN:
        rows.append((f"… {len(report.removals) - SHOWN} more", "", "", "", ""))
    return markdown_table(("what", "of", "objects", "bytes", "why"), rows)
