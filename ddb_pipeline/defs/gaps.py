"""Gaps of the stream: healed by incremental exports, and shown by a check.

The streaming function's failed batches, the consumer and the reconciliation report gaps
(``lake.gaps``). A run of ``healed_gaps`` exports the net changes of the times that are missing, and
hands them to redelivery, which adds them to the change log. ``parquet_current`` merges the exports.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg

from ddb_pipeline.config.choices import ExportWith, GapPolicy
from ddb_pipeline.config.names import export_path
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import HEALED_GAPS, PARQUET_STREAM, asset_key, selection
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.checks import gap_reports, source
from ddb_pipeline.defs.console_links import console_links
from ddb_pipeline.defs.healing import heal_window
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.export.finished import export_ids, first_id
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.request import ExportRequestError, recovery_period
from ddb_pipeline.export.source import open_export
from ddb_pipeline.export.window import RECOVERY_DAYS, RecoveryPeriod, Window
from ddb_pipeline.lake.gaps import (
    Cure,
    Gap,
    Gaps,
    change_gaps,
    read_gaps,
    with_cure,
    with_unreachable,
)
from ddb_pipeline.lake.healing_windows import due_windows_of, healing_plan, seconds_of
from ddb_pipeline.lake.layout import CHANGES_PREFIX
from ddb_pipeline.lake.reconcile import reconcile
from ddb_pipeline.lake.reconciliation_state import read_state
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

STAGE = "gaps"
NO_GAP = "no_gap"
MAX_WINDOWS = 10
"""Exports that a run requests; the next run goes on."""
STALE_SECONDS = 10 * 3600.0
"""Age of the reconciliation at which a run looks for gaps: its own check runs every eight hours."""
RECHECK_SECONDS = 600.0
"""How often the sensor looks at that age."""
SHOWN_GAPS = 20
MAX_EXPORTS = 50
"""Exports among which a full one is looked for that is newer than a gap."""


def healed_gaps_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``healed_gaps``: the gaps of the stream, and what has cured them."""
    key = asset_key(pipeline, HEALED_GAPS)

    @pipeline_asset(
        key=key,
        deps=[asset_key(pipeline, PARQUET_STREAM)],
        description=(
            "Times of which the stream lost changes before they were delivered, healed by "
            "incremental exports: their net changes are added to the change log, with event ids "
            "that begin with healed-, and merged into the current view."
        ),
        pipeline=pipeline,
        kinds={"dynamodb", "s3"},
        metadata=console_links(settings, pipeline, lake=pipeline.lake, prefix=CHANGES_PREFIX),
        pool=f"gaps_{pipeline.name}",
        check_specs=[
            dg.AssetCheckSpec(
                name=NO_GAP,
                asset=key,
                description="Every change was delivered, or an export has made up for it.",
            )
        ],
    )
    def healed_gaps(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        found = heal(context, cloud.for_pipeline(pipeline), pipeline)
        yield dg.MaterializeResult(
            metadata={
                "open": sum(gap.open for gap in found),
                "healed": sum(not gap.open for gap in found),
                "gaps": dg.MetadataValue.md(gap_table(found)),
            },
            check_results=[no_gap(found, key)],
        )

    return healed_gaps


def heal(context: dg.AssetExecutionContext, cloud: CloudResource, pipeline: PipelineConfig) -> Gaps:
    """Look for gaps, and heal those that can be healed now.

    Raises:
        dagster.Failure: an export was refused or failed.
    """
    now = time.time()
    if is_stale(cloud, pipeline, now):
        reconcile(source(cloud, pipeline), time.time, gap_reports(cloud, pipeline))
    found = read_gaps(cloud.s3, pipeline.lake)
    if pipeline.gap_policy is GapPolicy.REPORT or not any(gap.open for gap in found):
        return found
    try:
        recovery = reachable(cloud, pipeline)
        earliest = seconds_of(recovery.earliest)
        found = change_gaps(cloud.s3, pipeline.lake, lambda gaps: with_unreachable(gaps, earliest))
        found = with_full_exports(cloud, pipeline, found)
        for window in due_windows(found, recovery)[:MAX_WINDOWS]:
            context.log.info("Healing %s.", window)
            found = cured(cloud, pipeline, heal_window(context, cloud, pipeline, window))
    except ExportRequestError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return found


def cured(cloud: CloudResource, pipeline: PipelineConfig, cure: Cure) -> Gaps:
    """Store what an export has cured."""
    return change_gaps(cloud.s3, pipeline.lake, lambda gaps: with_cure(gaps, cure))


def is_stale(cloud: CloudResource, pipeline: PipelineConfig, now: float) -> bool:
    """Whether the reconciliation is so old that the stream may have lost what it has not read."""
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    state, _ = read_state(cloud.s3, pipeline.lake, table.latest_stream_arn)
    return bool(state.until) and state.until < now - STALE_SECONDS


def reachable(cloud: CloudResource, pipeline: PipelineConfig) -> RecoveryPeriod:
    """The times that incremental exports of the pipeline's table reach.

    Raises:
        ExportRequestError: the table has no point-in-time recovery.
    """
    table = describe_table(cloud.dynamodb, pipeline.dynamodb_table)
    now = datetime.now(timezone.utc)
    found = recovery_period(cloud.dynamodb, table.arn)
    if found is None:
        return RecoveryPeriod(now - timedelta(days=RECOVERY_DAYS), now - timedelta(minutes=5))
    return RecoveryPeriod(found.earliest, min(found.latest, now))


def due_windows(found: Gaps, recovery: RecoveryPeriod) -> tuple[Window, ...]:
    """The windows whose exports can be requested now, the oldest first."""
    return due_windows_of([part for gap in found for part in gap.left], recovery)


def with_full_exports(cloud: CloudResource, pipeline: PipelineConfig, found: Gaps) -> Gaps:
    """The gaps, with what is unreachable made up for by a full export that is newer."""
    for gap in found:
        lost = [part for part in gap.left if part[0] < gap.unreachable]
        if not lost:
            continue
        export_id = full_export_after(cloud, pipeline, gap.end)
        if export_id:
            cure = Cure(
                export_id, lost[0][0], min(lost[-1][1], gap.unreachable), time.time(), full=True
            )
            found = cured(cloud, pipeline, cure)
    return found


def full_export_after(cloud: CloudResource, pipeline: PipelineConfig, moment: float) -> str:
    """The id of a finished full export that was requested after a moment; empty without one."""
    prefix = pipeline.bucket_export_prefix
    ids = export_ids(cloud.s3, pipeline.bucket, prefix, after=first_id(moment), limit=MAX_EXPORTS)
    for export_id in reversed(ids):
        try:
            _, export = open_export(cloud.filesystem(), export_path(pipeline, export_id))
        except ExportError:
            continue
        if not export.summary.incremental:
            return export_id
    return ""


def no_gap(found: Gaps, key: dg.AssetKey) -> dg.AssetCheckResult:
    """The check's result: whether each gap is healed, and what to do about the others."""
    still_open = [gap for gap in found if gap.open]
    return dg.AssetCheckResult(
        check_name=NO_GAP,
        asset_key=key,
        passed=not still_open,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "open": len(still_open),
            "healed": len(found) - len(still_open),
            "gaps": dg.MetadataValue.md(gap_table(found)),
        },
    )


def gap_table(found: Gaps) -> str:
    """A Markdown table of the newest gaps, with cause and cure."""
    if not found:
        return "No gap."
    newest = sorted(found, key=lambda gap: (gap.open, gap.found_at), reverse=True)
    rows = [
        (text_of(gap.start), text_of(gap.end), " ".join(gap.causes), cure_text(gap))
        for gap in newest[:SHOWN_GAPS]
    ]
    return markdown_table(("from", "to", "cause", "cure"), rows)


def cure_text(gap: Gap) -> str:
    """What has cured a gap, and what is to be done about the rest."""
    sentences = []
    for cure in gap.cures:
        if cure.full:
            sentences.append(
                f"Full export {cure.export}: the table is whole, the changes before "
                f"{text_of(cure.end)} are lost."
            )
        else:
            sentences.append(
                f"Export {cure.export} of {text_of(cure.start)} to {text_of(cure.end)}: "
                f"{cure.changes} net changes."
            )
    if gap.left and gap.left[0][0] < gap.unreachable:
        sentences.append(
            f"No incremental export reaches before {text_of(gap.unreachable)}: export the whole "
            "table (job export_table)."
        )
    elif gap.left:
        sentences.append(f"Open from {text_of(gap.left[0][0])} on.")
    return " ".join(sentences)


def text_of(seconds: float) -> str:
    """A moment for a reader, UTC."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def gap_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run while there are gaps that can be healed, or that nobody has looked for."""

    @dg.sensor(
        name=sensor_name(settings, "gap_sensor"),
        description=(
            "Materialises healed_gaps when the stream has lost changes, and when the check "
            "nothing_lost has not run for ten hours."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=120),
        default_status=sensor_status(settings),
        asset_selection=selection(settings, HEALED_GAPS),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, settings.pipelines)

        def compare(pipeline: PipelineConfig) -> None:
            here = cloud.for_pipeline(pipeline)
            found = read_gaps(here.s3, pipeline.lake)
            rechecks = requests.now >= requests.compared_at(pipeline) + RECHECK_SECONDS
            if rechecks:
                requests.compared(pipeline)
            if rechecks and is_stale(here, pipeline, requests.now):
                requests.request(pipeline, "stale", HEALED_GAPS, unresolved=True)
            elif any(gap.open for gap in found):
                due, reason = due_now(here, pipeline, found)
                if reason:
                    requests.skip(pipeline, reason)
                version = version_of(found, due)
                requests.request(pipeline, version, HEALED_GAPS, unresolved=bool(due))

        requests.visit(compare)
        return requests.result("No gap is open.")

    return sensor


def due_now(
    cloud: CloudResource, pipeline: PipelineConfig, found: Gaps
) -> tuple[tuple[Window, ...], str]:
    """The windows to export now, and why there are none or not all of them."""
    if pipeline.gap_policy is GapPolicy.REPORT:
        return (), "its gaps are reported only"
    if pipeline.export_with is ExportWith.SCAN:
        return (), "its gaps need exports by point-in-time recovery (export_with)"
    try:
        recovery = reachable(cloud, pipeline)
    except ExportRequestError as error:
        return (), str(error)
    plans = [healing_plan(part, recovery) for gap in found for part in gap.left]
    waits = [plan.wait_until for plan in plans if plan.wait_until]
    reason = f"the newest part can be exported at {text_of(min(waits))}" if waits else ""
    return due_windows(found, recovery), reason


def version_of(found: Gaps, due: tuple[Window, ...]) -> str:
    """Changes whenever the open gaps or the windows to export do."""
    parts = [part for gap in found for part in gap.left]
    text = json.dumps([parts, list(map(str, due))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
