"""``pipelines_overview``: the state of all pipelines as one table, and a schedule for it."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.defs.asset_keys import PARQUET_CURRENT, PARQUET_STREAM, asset_key
from ddb_pipeline.defs.automation import RETRY, schedule_status
from ddb_pipeline.defs.failures import failure_description, readable_failures
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake.gaps import read_gaps
from ddb_pipeline.lake.layout import DEAD_LETTER_PREFIX, ERROR_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

OVERVIEW = "pipelines_overview"
MAX_COUNTED = 1000
"""Objects of a kind that are counted: one request. More are shown as ``1000+``."""
WORKERS = 8
"""Pipelines that are looked at side by side."""
EXPECTED = (BotoCoreError, ClientError, DdbPipelineError, OSError)


@dataclass(frozen=True, slots=True)
class PipelineState:
    """What the overview shows of a pipeline.

    Attributes:
        name: the pipeline's.
        landed: when an hour of the stream was last materialised, epoch seconds; None if never.
        lag: the seconds that the newest changes took, where that is known.
        waiting: error objects, which redelivery converts; None where they cannot be listed.
        dead_letters: objects with changes that can never be delivered; as ``waiting``.
        gaps: times of lost changes that are not healed; as ``waiting``.
        viewed: when the current view was last materialised; None if never.
        error: why S3 cannot be read.
    """

    name: str
    landed: float | None = None
    lag: float | None = None
    waiting: int | None = None
    dead_letters: int | None = None
    gaps: int | None = None
    viewed: float | None = None
    error: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person should look at; empty if nothing."""
        found = [(self.error, self.error), (self.gaps, "changes are lost")]
        found += [(self.dead_letters, "dead letters"), (self.waiting, "records wait")]
        return tuple(text for present, text in found if present)


def overview_asset(settings: Settings) -> dg.AssetsDefinition:
    """``pipelines_overview``: materialised, its page shows how each pipeline is doing."""

    @dg.asset(
        key=OVERVIEW,
        group_name="overview",
        kinds={"markdown"},
        description=(
            "The state of all pipelines: when changes last landed and how long they took, records "
            "that wait for redelivery, dead letters, gaps, the age of the current view."
        ),
        retry_policy=RETRY,
    )
    @readable_failures
    def pipelines_overview(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> dg.MaterializeResult[None]:
        def state(pipeline: PipelineConfig) -> PipelineState:
            return state_of(context.instance, cloud.for_pipeline(pipeline), pipeline)

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="overview") as pool:
            states = list(pool.map(state, settings.pipelines))
        return dg.MaterializeResult(
            metadata={
                "overview": dg.MetadataValue.md(overview_table(states, time.time())),
                "pipelines": len(states),
                "with_problems": sum(bool(each.problems) for each in states),
            }
        )

    return pipelines_overview


def overview_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Materialises the overview once an hour; every five minutes on a laptop."""
    embedded = settings.target is Target.EMBEDDED
    return dg.ScheduleDefinition(
        name=f"{OVERVIEW}_schedule",
        target=dg.AssetSelection.assets(OVERVIEW),
        cron_schedule="*/5 * * * *" if embedded else "10 * * * *",
        execution_timezone="UTC",
        default_status=schedule_status(settings),
        description="Materialises the overview of all pipelines.",
    )


def state_of(
    instance: dg.DagsterInstance, cloud: CloudResource, pipeline: PipelineConfig
) -> PipelineState:
    """Look at one pipeline: three requests to S3 and the newest materialisations."""
    landed, lag = materialised(instance, pipeline, PARQUET_STREAM)
    viewed, _ = materialised(instance, pipeline, PARQUET_CURRENT)

    def count(prefix: str) -> int:
        found = list_objects(cloud.s3, pipeline.lake, prefix, limit=MAX_COUNTED)
        return sum(1 for _ in found)

    state = PipelineState(pipeline.name, landed, lag, viewed=viewed)
    try:
        return replace(
            state,
            waiting=count(ERROR_PREFIX),
            dead_letters=count(DEAD_LETTER_PREFIX),
            gaps=sum(gap.open for gap in read_gaps(cloud.s3, pipeline.lake)),
        )
    except EXPECTED as error:
        return replace(state, error=failure_description(error))


def materialised(
    instance: dg.DagsterInstance, pipeline: PipelineConfig, name: str
) -> tuple[float | None, float | None]:
    """When an asset was last materialised, and the lag of its delivery; None where not known."""
    event = instance.get_latest_materialization_event(asset_key(pipeline, name))
    if event is None or event.asset_materialization is None:
        return None, None
    lag = event.asset_materialization.metadata.get("delivery_lag_seconds")
    return event.timestamp, lag.value if isinstance(lag, dg.FloatMetadataValue) else None


def overview_table(states: Sequence[PipelineState], now: float) -> str:
    """The states as a table in Markdown, those with problems first."""
    rows = [
        (
            each.name,
            "; ".join(each.problems) or ("OK" if each.landed else "nothing has landed yet"),
            _ago(each.landed, now),
            "" if each.lag is None else f"{each.lag:.0f} s",
            _count(each.waiting),
            _count(each.dead_letters),
            _count(each.gaps),
            _ago(each.viewed, now),
        )
        for each in sorted(states, key=lambda state: (not state.problems, state.name))
    ]
    header = (
        *("pipeline", "state", "last landed", "delivery lag", "waiting objects"),
        *("dead letters", "open gaps", "current view made"),
    )
    return markdown_table(header, rows)


def _count(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{MAX_COUNTED}+" if number >= MAX_COUNTED else str(number)


def _ago(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    minutes = max(0, int(now - moment)) // 60
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
