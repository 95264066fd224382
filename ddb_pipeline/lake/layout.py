"""The layout of the lake's bucket: its prefixes, and the delivery hour in an object's key."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ddb_pipeline.firehose.held import HELD_KIND

STREAM_PREFIX = "stream/"
"""Parquet of the changes, written by the delivery stream and by redelivery, by delivery hour."""
COMPACTED_PREFIX = "stream-compacted/"
"""The same rows in few files: generations of the hours that are closed, by delivery hour."""
SNAPSHOT_PREFIX = "snapshot/"
"""Parquet of the whole table, by export."""
CHANGES_PREFIX = "changes/"
"""Parquet of the net changes of windows, by incremental export."""
ERROR_PREFIX = "errors/"
"""Error objects, by the kind of error: records that redelivery converts again."""
HELD_PREFIX = f"{ERROR_PREFIX}{HELD_KIND}/"
"""Error objects of held records, which have an attribute without a column."""
DEAD_LETTER_PREFIX = "dead-letters/"
"""Changes that cannot be delivered, each whole and with the reason."""
REDELIVERED_PREFIX = "redelivered/"
"""Copies of error objects and dead letters from before their redelivery."""
REDELIVERED_NAME = "redelivered-"
"""What the names of objects that redelivery writes under ``stream/`` begin with."""
RELEVANCE_PREFIX = "relevance/"
"""Output of the relevance job: statistics, scores, the manifest of their current versions."""
ASSET_PREFIX = "assets/"
"""Parquet of assets that are built on the pipeline's, by asset key."""
CURRENT_PREFIX = "current/"
"""The current view: its buckets, deletes and manifest, which updates read and write."""
CURRENT_VERSIONS_PREFIX = "current-versions/"
"""The current view for readers: a folder for each version; the catalog table reads one of them."""
ICEBERG_PREFIX = "iceberg/"
"""Iceberg tables: for each one a folder with its metadata, and with its own data files."""
STATE_PREFIX = "pipeline-state/"
"""What redelivery and reconciliation store from one run to the next."""
SPARK_COLUMNS_PREFIX = "spark-columns/"
"""Columns of exports: input and output of the Spark job that converts them."""
SPARK_CODE_PREFIX = "spark-code/"
"""Scripts and modules of the Spark jobs, which EMR Serverless reads from here."""

RESERVED_PREFIXES = frozenset(
    (
        STREAM_PREFIX,
        COMPACTED_PREFIX,
        SNAPSHOT_PREFIX,
        CHANGES_PREFIX,
        ERROR_PREFIX,
        DEAD_LETTER_PREFIX,
        REDELIVERED_PREFIX,
        RELEVANCE_PREFIX,
        ASSET_PREFIX,
        CURRENT_PREFIX,
        CURRENT_VERSIONS_PREFIX,
        ICEBERG_PREFIX,
        STATE_PREFIX,
        SPARK_COLUMNS_PREFIX,
        SPARK_CODE_PREFIX,
    )
)
"""The prefixes under which no exports may be stored."""

_HOUR = re.compile(
    rf"{STREAM_PREFIX}delivery_date=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})/delivery_hour=([0-9]{{2}})/"
)


@dataclass(frozen=True, slots=True, order=True)
class DeliveryHour:
    """One hourly partition of the lake in UTC, such as ``2026-11-24`` and ``09``."""

    date: str
    hour: str

    @property
    def prefix(self) -> str:
        """The prefix of the hour's objects."""
        return f"{STREAM_PREFIX}delivery_date={self.date}/delivery_hour={self.hour}/"

    @property
    def compacted_prefix(self) -> str:
        """The prefix of the hour's generations."""
        return f"{COMPACTED_PREFIX}delivery_date={self.date}/delivery_hour={self.hour}/"

    @property
    def ends_at(self) -> float:
        """When the next hour begins, epoch seconds."""
        return datetime.fromisoformat(f"{self.date}T{self.hour}:00+00:00").timestamp() + 3600

    @property
    def partition_key(self) -> str:
        """The key of Dagster's hourly partitions."""
        return f"{self.date}-{self.hour}:00"

    def plus(self, hours: int) -> "DeliveryHour":
        """The hour that is ``hours`` later."""
        moment = datetime.fromisoformat(f"{self.date}T{self.hour}:00+00:00")
        return DeliveryHour.of((moment + timedelta(hours=hours)).timestamp())

    def until(self, end: "DeliveryHour") -> Iterator["DeliveryHour"]:
        """The hours from this one on, without ``end`` and later ones."""
        hour = self
        while hour < end:
            yield hour
            hour = hour.plus(1)

    @classmethod
    def from_partition_key(cls, key: str) -> "DeliveryHour":
        """The hour of a key of Dagster's hourly partitions."""
        return cls(key[:10], key[11:13])

    @classmethod
    def of(cls, epoch_seconds: float) -> "DeliveryHour":
        """The hour that contains a moment."""
        moment = datetime.fromtimestamp(epoch_seconds, tz=timezone.utc)
        return cls(f"{moment:%Y-%m-%d}", f"{moment:%H}")


def hour_of_key(key: str) -> DeliveryHour | None:
    """The delivery hour in the key of an object under ``stream/``; None where it has none.

    A date or an hour that the calendar does not have is none.
    """
    match = _HOUR.match(key)
    if match is None:
        return None
    date, hour = match.groups()
    try:
        datetime.fromisoformat(f"{date}T{hour}:00")
    except ValueError:
        return None
    return DeliveryHour(date, hour)
