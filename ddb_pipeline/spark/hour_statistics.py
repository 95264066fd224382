"""An hour's statistics: the counts of its searches from which scores are computed.

For each pair of query and document and each position they count impressions and clicks, and sum up
the click weights and their squares (the squares are needed for the variance). The counts of several
hours can be added, and a search's age is a factor on its hour, so that scores never need the logs
again.

To count users, the statistics contain the ``min_users`` smallest hashes of the users to whom a pair
was shown, a bottom-k sketch (Beyer et al., "On Synopses for Distinct-Value Estimation", SIGMOD
2007). The union of the sketches of any hours shows exactly whether there were ``min_users``
distinct users. The hashes are computed from the lake's pseudonyms; although the statistics contain
less than the lake, they need the same protection.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from ddb_pipeline.spark.search_logs import CLICK, PROBLEMS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# The columns of the three kinds of Parquet files that an hour has: PAIRS are its counts, KEYS its
# logs' last events, SUPERSEDED the logs that have a later event in another hour.
CELL = "struct<position:int,impressions:bigint,clicks:bigint,satisfied:double,squares:double>"
PAIRS = (
    f"counted_hour bigint, query string, document string, cells array<{CELL}>, users array<bigint>"
)
ORDER = "struct<sequence:string,position:string,clicks:int>"
KEYS = f"log_key string, event_order {ORDER}"
SUPERSEDED = "log_key string"
PAIR = ("hour", "counted_hour", "query", "document")
LOG_COUNTS = ("logs", "without_user", "impressions", "clicks", "unmatched_clicks")
"""Counts of the logs that count in an hour; ``row_counts`` counts all rows of the hour."""


@dataclass(frozen=True, slots=True)
class ClickWeights:
    """The weight of a click by its dwell time, the time that the user spent on the document.

    Attributes:
        satisfied_seconds: dwell time from which the weight is 1; below, it grows with the
            logarithm of the time.
        short: the weight without any dwell time.
        unknown: the weight if the dwell time is not known.
    """

    satisfied_seconds: float = 30.0
    short: float = 0.2
    unknown: float = 0.5

    def weight(self, dwell_ms: "Column") -> "Column":
        """Return the weight of clicks with this dwell time in milliseconds."""
        seconds = F.greatest(dwell_ms, F.lit(0.0)) / 1000
        share = F.log1p(seconds) / F.log1p(F.lit(self.satisfied_seconds))
        known = self.short + (1 - self.short) * F.least(share, F.lit(1.0))
        return F.coalesce(known, F.lit(self.unknown))


def last_events(logs: "DataFrame") -> "DataFrame":
    """Select each log's last event in each hour.

    This removes repeated deliveries and earlier images of the log.
    """
    with_key = logs.where(F.col("log_key").isNotNull())
    payload = [name for name in logs.columns if name not in ("hour", "log_key")]
    last = F.max_by(F.struct(*payload), "event_order").alias("last")
    return with_key.groupBy("hour", "log_key").agg(last).select("hour", "log_key", "last.*")


def superseded_events(keys: "DataFrame") -> "DataFrame":
    """Select the superseded events: those whose log has a later event in another hour.

    Args:
        keys: ``hour, log_key, event_order`` of the last events of hours.
    """
    last = F.max("order").over(Window.partitionBy("log_key"))
    ordered = keys.withColumn("order", F.struct("event_order", "hour"))
    marked = ordered.withColumn("superseded", F.col("order") < last)
    return marked.where("superseded").select("hour", "log_key")


def shown_results(events: "DataFrame", weights: ClickWeights, max_position: int) -> "DataFrame":
    """Make one row of each result shown: its position, whether it was clicked, the click's weight.

    Several clicks on a result count as one with the sum of their dwell times.
    """
    shown = events.select(
        "hour",
        "counted_hour",
        F.when(F.col("user").isNotNull(), F.xxhash64("user")).alias("user_hash"),
        "query",
        "clicks",
        F.explode("results").alias("result"),
    )
    document, position = F.col("result.document"), F.col("result.position")
    matching = F.filter(
        "clicks",
        lambda click: (
            (click["document"] == document)
            & (click["position"].isNull() | (click["position"] == position))
        ),
    )
    shown = shown.withColumn("matching", F.coalesce(matching, F.array().cast(T.ArrayType(CLICK))))
    clicked = F.size("matching") > 0
    return shown.select(
        "hour",
        "counted_hour",
        "user_hash",
        "query",
        document.alias("document"),
        F.least(position, F.lit(max_position)).alias("position"),
        clicked.cast("long").alias("clicked"),
        F.when(clicked, weights.weight(_total_dwell("matching")))
        .otherwise(F.lit(0.0))
        .alias("weight"),
    )


def _total_dwell(clicks: str) -> "Column":
    """The sum of the known dwell times of a column's clicks; null if none is known."""
    return F.aggregate(
        clicks,
        F.lit(None).cast("double"),
        lambda total, click: F.coalesce(total + click["dwell_ms"], total, click["dwell_ms"]),
    )


def pair_statistics(shown: "DataFrame", max_users: int) -> "DataFrame":
    """Compute the columns ``PAIRS`` and ``hour``, with at most ``max_users`` hashes of users."""
    by_position = shown.groupBy(*PAIR, "position").agg(
        F.count(F.lit(1)).alias("impressions"),
        F.sum("clicked").alias("clicks"),
        F.sum("weight").alias("satisfied"),
        F.sum(F.col("weight") * F.col("weight")).alias("squares"),
    )
    cell = F.struct("position", "impressions", "clicks", "satisfied", "squares")
    cells = by_position.groupBy(*PAIR).agg(F.array_sort(F.collect_list(cell)).alias("cells"))
    smallest = Window.partitionBy(*PAIR).orderBy("user_hash")
    users = (
        shown.where(F.col("user_hash").isNotNull())
        .select(*PAIR, "user_hash")
        .distinct()
        .withColumn("rank", F.row_number().over(smallest))
        .where(F.col("rank") <= max_users)
        .groupBy(*PAIR)
        .agg(F.array_sort(F.collect_list("user_hash")).alias("users"))
    )
    return cells.join(users, list(PAIR), "left").select(
        "hour",
        "counted_hour",
        "query",
        "document",
        "cells",
        F.coalesce("users", F.array().cast("array<bigint>")).alias("users"),
    )


def row_counts(logs: "DataFrame") -> dict[str, dict[str, int]]:
    """Count each hour's rows: all of them, and the unusable ones by problem."""
    reasons = [F.count(F.when(F.col("problem") == p, 1)).alias(p) for p in PROBLEMS]
    found = logs.groupBy("hour").agg(F.count(F.lit(1)).alias("rows"), *reasons).collect()
    return {row["hour"]: {k: v for k, v in row.asDict().items() if k != "hour"} for row in found}


def log_counts(counted: "DataFrame") -> dict[str, dict[str, int]]:
    """Count, for each hour, the logs that count there, their impressions and their clicks."""
    unmatched = F.size(
        F.filter(
            "clicks",
            lambda click: (
                ~F.coalesce(
                    F.array_contains(F.col("results.document"), click["document"]), F.lit(False)
                )
            ),
        )
    )
    found = counted.groupBy("hour").agg(
        F.count(F.lit(1)).alias("logs"),
        F.count(F.when(F.col("user").isNull(), 1)).alias("without_user"),
        F.sum(F.size("results")).alias("impressions"),
        F.sum(_count(F.size("clicks"))).alias("clicks"),
        F.sum(_count(unmatched)).alias("unmatched_clicks"),
    )
    return {
        row["hour"]: {k: int(v) for k, v in row.asDict().items() if k != "hour"}
        for row in found.collect()
    }


def _count(size: "Column") -> "Column":
    """An array's size; 0 for null, whose size is null or -1 depending on Spark's configuration."""
    return F.greatest(F.coalesce(size, F.lit(0)), F.lit(0))
