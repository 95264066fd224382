"""The parts of the configuration that are about the lake's files: format, compaction, retention."""

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ddb_pipeline.config.cron import checked_cron

LONGEST_CLOSE_MINUTES = 40
"""With the longest buffer of Firehose, 15 minutes, an hour closes while ticks still list it."""


class TableFormat(Enum):
    """What readers of the current view and of the compacted stream read."""

    PARQUET = "parquet"
    ICEBERG = "iceberg"


class CompactionConfig(BaseModel):
    """How the closed hours of the stream become few files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="Whether closed hours are compacted.")
    after_minutes: float = Field(
        default=15,
        ge=0,
        le=LONGEST_CLOSE_MINUTES,
        description="Minutes from the hour's end, and Firehose's interval, until it is closed.",
    )
    file_mb: int = Field(default=256, ge=1, description="Size of the files, in MiB.")
    memory_mb: int = Field(default=64, ge=8, description="Rows in memory while sorting, in MiB.")


class RetentionConfig(BaseModel):
    """How long objects stay that a newer one has replaced; 0: they are never removed.

    The job ``vacuum`` removes them, except for copies under ``redelivered/``, which expire by a
    rule of the bucket. Error objects and dead letters are never removed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw_days: float = Field(
        default=7, ge=0, description="Raw objects of the stream, after they are compacted."
    )
    replaced_days: float = Field(
        default=1,
        gt=0,
        description="Replaced generations, and snapshots without partition: readers leave them.",
    )
    export_days: float = Field(
        default=30, ge=0, description="Exports, after their snapshot is published."
    )
    changes_days: float = Field(
        default=30,
        ge=0,
        description="Incremental exports and their changes, once the current view has merged them.",
    )
    snapshots_last: int = Field(default=7, ge=0, description="Newest snapshots that stay.")
    snapshots_monthly: int = Field(
        default=12, ge=0, description="Months of which the newest snapshot stays as well."
    )
    redelivered_days: int = Field(
        default=90, ge=1, description="Copies of redelivered error objects and dead letters."
    )
    schedule: str = Field(default="30 4 * * *", description="Cron of the job, UTC.")

    @field_validator("schedule")
    @classmethod
    def _schedule(cls, value: str) -> str:
        return checked_cron(value)
