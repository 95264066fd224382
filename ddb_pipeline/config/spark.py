"""The parts of the configuration that are about Spark jobs."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ddb_pipeline.spark.arguments import DEFAULT_SCORER, LogColumns, RelevanceError
from ddb_pipeline.spark.submission import EMR_PYTHON


class RelevanceConfig(BaseModel):
    """How search logs become relevance scores; see ``spark.arguments.RelevanceArguments``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Mapping[str, str] = Field(
        default={}, description="Where the logs keep what is needed; see spark.arguments."
    )
    half_life_days: float = Field(default=14.0, gt=0)
    window_days: int = Field(default=90, ge=1)
    min_users: int = Field(default=5, ge=1, description="k of the k-anonymity of scores.")
    scorer: str = Field(default=DEFAULT_SCORER, description="module:function on a DataFrame.")
    drop_expired: bool = False
    history: str = Field(default="", description="Prefix of a snapshot's Parquet; empty: none.")

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        unknown = sorted(set(value) - set(LogColumns.__dataclass_fields__))
        if unknown:
            known = ", ".join(LogColumns.__dataclass_fields__)
            raise ValueError(f"there is no {unknown[0]!r}; there are: {known}")
        try:
            LogColumns(**value)
        except RelevanceError as error:
            raise ValueError(str(error)) from error
        return value


class SparkConfig(BaseModel):
    """Where Spark jobs run: a child process here, or the stack's EMR Serverless application."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver_memory: str = Field(
        default="1g", pattern=r"^\d+[mg]$", description="Heap of a local job."
    )
    cores: int = Field(default=2, ge=1, description="Threads of a local job.")
    snapshot_from_gb: float = Field(
        default=0,
        ge=0,
        description="Exports of so many GB or more are converted by Spark; 0: none by itself.",
    )
    current_from_gb: float = Field(
        default=0,
        ge=0,
        description=(
            "Updates of parquet_current that merge so many GB or more are run by Spark; 0: none by "
            "itself."
        ),
    )
    emr_serverless: bool = Field(
        default=False, description="Make an EMR Serverless application, and run jobs there."
    )
    emr_python: str = Field(default=EMR_PYTHON, description="Python in EMR's image or archive.")
    emr_libraries: str = Field(
        default="",
        pattern=r"^(s3://.+)?$",
        description="URI of the archive that ddb-pipeline package --spark-libraries writes.",
    )
    emr_archives: tuple[str, ...] = ()
    emr_py_files: tuple[str, ...] = ()
    emr_properties: Mapping[str, str] = {}
    emr_timeout_minutes: int = Field(default=720, ge=5)
