"""Incremental exports that follow one another: requested as they are due, without a gap.

The chain begins with a full export of a whole second, at which the first window begins. What is due
follows from the stored end of the chain (``lake.change_chain``) and the time that point-in-time
recovery has reached, so that a pipeline that was stopped asks for all that it missed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import dagster as dg
from pydantic import Field

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.automation import sensor_interval, sensor_name, sensor_status
from ddb_pipeline.defs.failures import readable_failures
from ddb_pipeline.defs.run_requests import RunRequests
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.export.request import (
    ExportRequestError,
    ExportState,
    recovery_period,
    start_export,
    wait_for_export,
)
from ddb_pipeline.export.window import RecoveryPeriod, Window, WindowRefusedError, due_windows
from ddb_pipeline.lake.change_chain import (
    ChangeChain,
    ChangeChainError,
    begin_chain,
    extend_chain,
    read_chain,
)
from ddb_pipeline.resources.cloud import CloudResource

STAGE = "change_exports"
JOB = "export_changes"
OP = "export_changes_to_s3"
UNKNOWN_LAG = timedelta(minutes=10)
"""How far the recovery period is taken to end before now where it may not be read. Its end is
"typically 5 minutes" old (API reference, PointInTimeRecoveryDescription)."""


class ChangeExportsConfig(dg.Config):
    """Which pipeline's changes to export."""

    pipeline: str = Field(description="The pipeline's name.")


@dataclass(frozen=True, slots=True)
class ExportedChanges:
    """What a run has exported.

    Attributes:
        chain: the chain as it is stored now.
        began: whether it was begun by this run, with a full export.
        windows: the windows that were exported.
        items: number of items in all exports.
    """

    chain: ChangeChain
    began: bool
    windows: tuple[Window, ...]
    items: int


def change_exports_job(settings: Settings) -> dg.JobDefinition:
    """``export_changes``: exports the changes since the last export, and waits for it."""

    @dg.op(name=OP, description="Exports the changes of a table, in as few windows as possible.")
    @readable_failures
    def export_changes_to_s3(
        context: dg.OpExecutionContext, cloud: CloudResource, config: ChangeExportsConfig
    ) -> None:
        pipeline = settings.pipeline(config.pipeline)
        try:
            done = export_changes(context, cloud.for_pipeline(pipeline), pipeline)
        except (ExportRequestError, WindowRefusedError, ChangeChainError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata(
            {
                "windows": [str(window) for window in done.windows],
                "items": done.items,
                "until": done.chain.until.isoformat(),
                "full_export": done.chain.full_export,
                "began_with_full_export": done.began,
            }
        )

    @dg.job(
        name=JOB,
        description=(
            "Exports the changes of a DynamoDB table since the last export to S3. export_sensor "
            "then materialises parquet_changes for each export. Where the chain of exports begins, "
            "or point-in-time recovery no longer reaches its end, a full export comes first."
        ),
        config=dg.RunConfig(ops={OP: ChangeExportsConfig(pipeline=settings.pipelines[0].name)}),
    )
    def export_changes_of_table() -> None:
        export_changes_to_s3()

    return export_changes_of_table


def export_changes(
    context: dg.OpExecutionContext, cloud: CloudResource, pipeline: PipelineConfig
) -> ExportedChanges:
    """Export what is due. The windows are requested at once and stored in their order.

    Raises:
        ExportRequestError: an export was refused or failed.
        ChangeChainError: the stored chain is damaged.
    """
    exporter = Exporter(
        context, cloud, pipeline, describe_table(cloud.dynamodb, pipeline.dynamodb_table).arn
    )
    period = recovery(cloud, exporter.table_arn)
    chain = read_chain(cloud.s3, pipeline.lake)
    items = 0
    began = chain is None or chain.until < period.earliest
    if chain is None or began:
        if chain is not None:
            context.log.warning(
                "Point-in-time recovery reaches back to %s only, the changes are exported up to "
                "%s: a new chain begins with a full export.",
                period.earliest.isoformat(),
                chain.until.isoformat(),
            )
        state = exporter.full(period.latest)
        items += state.items
        chain = ChangeChain(state.export_id, period.latest, period.latest)
        begin_chain(cloud.s3, pipeline.lake, chain)
    windows = due_windows(chain.until, period.latest, pipeline.current_every)
    for window, state in exporter.incremental(windows):
        items += state.items
        if not extend_chain(cloud.s3, pipeline.lake, window.from_time, window.to_time):
            raise ChangeChainError(
                f"Another run began a new chain of exports while {window} was exported. The next "
                "run goes on with that one."
            )
    return ExportedChanges(read_chain(cloud.s3, pipeline.lake) or chain, began, windows, items)


def recovery(cloud: CloudResource, table_arn: str) -> RecoveryPeriod:
    """The recovery period in whole seconds; an estimate where it may not be read.

    Raises:
        PointInTimeRecoveryOffError: the table has no point-in-time recovery.
    """
    found = recovery_period(cloud.dynamodb, table_arn)
    if found is None:
        latest = datetime.now(timezone.utc) - UNKNOWN_LAG
        return RecoveryPeriod(datetime.min.replace(tzinfo=timezone.utc), whole_second(latest))
    return RecoveryPeriod(found.earliest, whole_second(found.latest))


def whole_second(moment: datetime) -> datetime:
    """The second that contains a moment, in UTC."""
    return moment.astimezone(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Exporter:
    """Exports one table in a run, whose id makes the tokens of its requests.

    A step that is tried again so waits for the exports that it started.
    """

    context: dg.OpExecutionContext
    cloud: CloudResource
    pipeline: PipelineConfig
    table_arn: str

    def full(self, moment: datetime) -> ExportState:
        """A full export of the table as it was at a moment."""
        return self._finished(
            start_export(
                self.cloud.dynamodb,
                self.table_arn,
                self.pipeline.bucket,
                self._prefix,
                export_time=moment,
                client_token=f"{self.context.run_id[:16]}-{moment:%Y%m%d%H%M%S}",
            )
        )

    def incremental(self, windows: tuple[Window, ...]) -> Iterator[tuple[Window, ExportState]]:
        """Exports of windows, in their order; all of them are requested first."""
        started = [
            start_export(
                self.cloud.dynamodb,
                self.table_arn,
                self.pipeline.bucket,
                self._prefix,
                window=window,
                client_token=f"{self.context.run_id[:16]}-{window.from_time:%y%m%d%H%M%S}",
            )
            for window in windows
        ]
        for window, state in zip(windows, started, strict=True):
            yield window, self._finished(state)

    @property
    def _prefix(self) -> str:
        return self.pipeline.bucket_export_prefix

    def _finished(self, started: ExportState) -> ExportState:
        return wait_for_export(
            self.cloud.dynamodb,
            started.arn,
            poll_seconds=1.0 if self.cloud.embedded else 30.0,
            on_progress=lambda state, seconds: self.context.log.info(
                "Export %s is %s after %.0f s.", state.export_id, state.status, seconds
            ),
        )


def change_exported(settings: Settings) -> list[PipelineConfig]:
    """The pipelines whose changes are exported regularly."""
    return [p for p in settings.pipelines if p.current is CurrentView.EXPORTS]


def change_exports_sensor(settings: Settings) -> dg.SensorDefinition:
    """Requests a run of ``export_changes`` whenever a window is due."""

    @dg.sensor(
        name=sensor_name(settings, "change_exports_sensor"),
        job_name=JOB,
        description=(
            'Runs export_changes for the pipelines with current = "exports", every current_every '
            "and as soon as possible after a pause."
        ),
        minimum_interval_seconds=sensor_interval(settings, embedded=10, aws=60),
        default_status=sensor_status(settings),
    )
    def sensor(context: dg.SensorEvaluationContext, cloud: CloudResource) -> dg.SensorResult:
        requests = RunRequests(context, STAGE, change_exported(settings))

        def request(pipeline: PipelineConfig) -> None:
            version = due_version(cloud.for_pipeline(pipeline), pipeline, requests.now)
            if version:
                requests.request_job(
                    pipeline,
                    version,
                    dg.RunConfig(ops={OP: ChangeExportsConfig(pipeline=pipeline.name)}),
                )

        requests.visit(request)
        return requests.result("No window is due.")

    return sensor


def due_version(cloud: CloudResource, pipeline: PipelineConfig, now: float) -> str:
    """Names the state of the chain from which on something is due; empty where nothing is."""
    chain = read_chain(cloud.s3, pipeline.lake)
    if chain is None:
        return "begin"
    if datetime.fromtimestamp(now, timezone.utc) - chain.until < pipeline.current_every:
        return ""
    period = recovery(cloud, describe_table(cloud.dynamodb, pipeline.dynamodb_table).arn)
    is_due = period.latest - chain.until >= pipeline.current_every
    return chain.until.isoformat() if is_due else ""
