"""Health checks: the files, types and age of each dataset, and what to run where they are bad."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import (
    changes_table,
    current_table,
    lake_table,
    scores_table,
    snapshot_table,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    HEALTHY,
    PARQUET_CHANGES,
    PARQUET_CURRENT,
    PARQUET_SNAPSHOT,
    PARQUET_STREAM,
    RELEVANCE_SCORES,
    asset_key,
)
from ddb_pipeline.defs.automation import pipeline_schedule
from ddb_pipeline.defs.checks import CHECK_STAGE
from ddb_pipeline.defs.pipeline_asset import pipeline_check
from ddb_pipeline.glue.catalog import TableReference, find_table
from ddb_pipeline.lake.health import MIB, Finding, Limits, Look, Problem, findings, look
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

SHOWN = 5
"""Partitions that a finding names."""


class HealthConfig(dg.Config):
    """From where on a dataset is not healthy."""

    partitions: int = 48
    """Number of partitions whose files are looked at, the newest ones."""
    small_mb: int = 16
    """A file below this size, in MiB, is small."""
    small_files: int = 8
    """Small files that a partition may have."""
    open_hours: float = 2
    """A partition with a file younger than this may still get files."""
    max_age_hours: float | None = None
    """Age that the newest row may have; any if None."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset whose health is checked.

    Attributes:
        name: the asset's name.
        table: its catalog table.
        partition_key: Dagster's key of the partition with these values.
        advice: what to run, by the problem; ``{asset}`` and ``{partitions}`` are filled in.
            What has no advice is no problem of the dataset.
    """

    name: str
    table: TableReference
    partition_key: Callable[[tuple[str, ...]], str]
    advice: Mapping[Problem, str]


MATERIALISE = "Materialise these partitions of {asset}: {partitions}."
COMPACT = f"{MATERIALISE} Closed hours are compacted if compaction is enabled."
STREAM_ADVICE = {
    Problem.SMALL_FILES: COMPACT,
    Problem.PARTITION_TYPES: COMPACT,
    Problem.FILE_TYPES: COMPACT,
    Problem.NO_FILES: (
        "Materialise {partitions} of {asset}; if the hours stay empty, delete their partitions "
        "from the catalog."
    ),
    Problem.OLD: (
        "Run the check nothing_lost: it finds changes that did not arrive. If there are none, the "
        "table has no changes."
    ),
}
SNAPSHOT_ADVICE = {
    Problem.SMALL_FILES: f"{MATERIALISE} Use fewer partitions in partition_by.",
    Problem.PARTITION_TYPES: MATERIALISE,
    Problem.FILE_TYPES: MATERIALISE,
    Problem.NO_FILES: MATERIALISE,
    Problem.OLD: "Run the job export_table.",
}
CHANGES_ADVICE = {**SNAPSHOT_ADVICE, Problem.OLD: "Run the job export_changes."}
CURRENT_ADVICE: Mapping[Problem, str] = {
    # The size of a view's files is that of its buckets, which is chosen for their merge.
    **{problem: "Materialise {asset}." for problem in Problem if problem != Problem.SMALL_FILES},
    Problem.OLD: "Materialise {asset}, and look at the check current_equals_source.",
}
SCORES_ADVICE = dict.fromkeys(Problem, "Materialise {asset}.")


def datasets(pipeline: PipelineConfig) -> list[Dataset]:
    """The datasets of a pipeline that have a catalog table."""
    found = [
        Dataset(
            PARQUET_STREAM,
            lake_table(pipeline),
            lambda values: DeliveryHour(*values).partition_key,
            STREAM_ADVICE,
        ),
        Dataset(PARQUET_SNAPSHOT, snapshot_table(pipeline), "/".join, SNAPSHOT_ADVICE),
        Dataset(PARQUET_CHANGES, changes_table(pipeline), "/".join, CHANGES_ADVICE),
    ]
    if pipeline.current is not CurrentView.OFF:
        found.append(Dataset(PARQUET_CURRENT, current_table(pipeline), "/".join, CURRENT_ADVICE))
    if pipeline.relevance:
        found.append(Dataset(RELEVANCE_SCORES, scores_table(pipeline), "/".join, SCORES_ADVICE))
    return found


def health_check(pipeline: PipelineConfig, dataset: Dataset) -> dg.AssetChecksDefinition:
    """``healthy``: what is wrong with the files of a dataset, and what to run."""

    @pipeline_check(
        asset=asset_key(pipeline, dataset.name),
        name=HEALTHY,
        description=(
            "The newest partitions have few small files, all with the types of the catalog table, "
            "by which they are also read. Each finding says what to run."
        ),
    )
    def healthy(cloud: CloudResource, config: HealthConfig) -> dg.AssetCheckResult:
        cloud = cloud.for_pipeline(pipeline)
        table = find_table(cloud.glue, dataset.table)
        if table is None:
            return dg.AssetCheckResult(
                passed=True, metadata={"table": f"{dataset.table} does not exist yet."}
            )
        limits = Limits(
            partitions=config.partitions,
            small_bytes=config.small_mb * MIB,
            small_files=config.small_files,
            open_seconds=config.open_hours * 3600,
            max_age_seconds=None if config.max_age_hours is None else config.max_age_hours * 3600,
        )
        now = time.time()
        found = look(cloud.glue, cloud.filesystem(), table, limits)
        problems = [each for each in findings(found, limits, now) if each.problem in dataset.advice]
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=health_metadata(pipeline, dataset, found, limits, problems, now),
        )

    return healthy


def health_checks(pipeline: PipelineConfig) -> list[dg.AssetChecksDefinition]:
    """The health checks of a pipeline's datasets."""
    return [health_check(pipeline, dataset) for dataset in datasets(pipeline)]


def health_schedules(
    settings: Settings, checks: Sequence[Sequence[dg.AssetChecksDefinition]]
) -> list[dg.ScheduleDefinition]:
    """Runs the health checks once a day; the time differs from pipeline to pipeline.

    ``checks`` are those of each of the pipelines.
    """
    job = dg.define_asset_job(
        "check_health",
        selection=dg.AssetSelection.checks(*(check for found in checks for check in found)),
        description="Checks the datasets of all pipelines, or the selected ones.",
    )
    return [
        pipeline_schedule(
            settings,
            pipeline,
            "health",
            stage=CHECK_STAGE,
            job=job,
            cron=daily(zlib.crc32(pipeline.name.encode())),
            description="Checks the files, types and age of the datasets.",
            request=dg.RunRequest(
                asset_selection=[],
                asset_check_keys=[key for check in found for key in check.check_keys],
            ),
        )
        for pipeline, found in zip(settings.pipelines, checks, strict=True)
    ]


def daily(seed: int) -> str:
    """The cron of a time of the day that the number selects."""
    hour, minute = divmod(seed % (24 * 60), 60)
    return f"{minute} {hour} * * *"


def health_metadata(
    pipeline: PipelineConfig,
    dataset: Dataset,
    found: Look,
    limits: Limits,
    problems: Sequence[Finding],
    now: float,
) -> dict[str, dg.MetadataValue]:
    """The numbers of a look at a dataset, and what to run."""
    asset = asset_key(pipeline, dataset.name).to_user_string()
    rows = [
        (
            finding.problem.value,
            shown_partitions(dataset, finding),
            finding.detail,
            dataset.advice[finding.problem].format(
                asset=asset, partitions=shown_partitions(dataset, finding)
            ),
        )
        for finding in problems
    ]
    header = ("problem", "partitions", "detail", "what to run")
    metadata: dict[str, dg.MetadataValue] = {
        "partitions": dg.MetadataValue.int(len(found.partitions)),
        "partitions_looked_at": dg.MetadataValue.int(min(limits.partitions, len(found.partitions))),
        "files": dg.MetadataValue.int(len(found.files)),
        "bytes": dg.MetadataValue.int(sum(file.size for file in found.files)),
        "median_bytes": dg.MetadataValue.int(int(found.median_size)),
        "small_share": dg.MetadataValue.float(round(found.small_share(limits), 3)),
        "findings": dg.MetadataValue.md(markdown_table(header, rows) if rows else "None."),
    }
    if found.newest_row_at is not None:
        hours = (now - found.newest_row_at) / 3600
        metadata["newest_row_age_hours"] = dg.MetadataValue.float(round(hours, 2))
    return metadata


def shown_partitions(dataset: Dataset, finding: Finding) -> str:
    """The keys of a finding's first partitions, and how many more there are."""
    keys = [dataset.partition_key(values) for values in finding.partitions if values]
    left = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {left} more" if left > 0 else "")
