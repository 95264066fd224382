"""Where things lie in the lake's bucket: the prefixes, the hours, the names of objects."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone

STREAM_PREFIX = "stream/"
"""Parquet landed by the delivery stream and by redelivery, one directory an hour."""
SNAPSHOT_PREFIX = "snapshot/"
"""The whole table as of an export, one directory an export."""
ERROR_PREFIX = "errors/"
"""Error objects, by kind: what waits to be delivered again."""
CONVERSION_FAILED_PREFIX = "errors/format-conversion-failed/"
UNDECLARED_PREFIX = "errors/undeclared-attributes/"
DEAD_LETTER_PREFIX = "dead-letters/"
"""Changes that can never be delivered, whole and with the reason."""
REDELIVERED_PREFIX = "redelivered/"
"""Error objects whose records have all become rows, kept as they were."""
RELEVANCE_PREFIX = "relevance/"
"""What the relevance job makes: statistics, scores, the manifest that says which are valid."""
SPARK_COLUMNS_PREFIX = "spark-columns/"
"""Columns of exports, handed from and to the Spark job that converts them."""
SPARK_CODE_PREFIX = "spark-code/"
"""Scripts and modules of the Spark jobs, where EMR Serverless reads them."""

RESERVED_PREFIXES = frozenset(
    (
        STREAM_PREFIX,
        SNAPSHOT_PREFIX,
        ERROR_PREFIX,
        DEAD_LETTER_PREFIX,
        REDELIVERED_PREFIX,
        RELEVANCE_PREFIX,
        SPARK_COLUMNS_PREFIX,
        SPARK_CODE_PREFIX,
    )
)
"""The prefixes under which no exports may be stored."""

_HOUR = re.compile(r"delivery_date=(\d{4}-\d{2}-\d{2})/delivery_hour=(\d{2})/")


@dataclass(frozen=True, slots=True, order=True)
class DeliveryHour:
    """One hour's partition of the lake, UTC: ``2026-11-24``, ``09``."""

    date: str
    hour: str

    @property
    def prefix(self) -> str:
        return f"{STREAM_PREFIX}delivery_date={self.date}/delivery_hour={self.hour}/"

    @property
    def partition_key(self) -> str:
        """The key of Dagster's hourly partitions."""
        return f"{self.date}-{self.hour}:00"

    @classmethod
    def from_partition_key(cls, key: str) -> "DeliveryHour":
        return cls(key[:10], key[11:13])

    @classmethod
    def of(cls, epoch_seconds: float) -> "DeliveryHour":
        moment = datetime.fromtimestamp(epoch_seconds, tz=timezone.utc)
        return cls(f"{moment:%Y-%m-%d}", f"{moment:%H}")

    @property
    def ends_at(self) -> float:
        """Epoch seconds at which the hour is over."""
        start = datetime.strptime(f"{self.date} {self.hour}+0000", "%Y-%m-%d %H%z")
        return start.timestamp() + 3600


def hour_of_key(key: str) -> DeliveryHour | None:
    """The hour an object belongs to by its key; None for one that lies elsewhere."""
    match = _HOUR.search(key)
    return DeliveryHour(match.group(1), match.group(2)) if match else None
