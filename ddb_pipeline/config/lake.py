"""The parts of the configuration that are about the lake's files: compaction and retention."""

from pydantic import BaseModel, ConfigDict, Field

LONGEST_CLOSE_MINUTES = 40
"""With the longest buffer of Firehose, 15 minutes, an hour closes while ticks still list it."""


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
