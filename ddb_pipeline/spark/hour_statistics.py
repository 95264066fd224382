"""An hour's sufficient statistics: what later steps need of its searches, and no more.

For each query and document, by position: how often it was shown, clicked, and clicked with what
dwell weight (and its square, for the variance). They add up over hours, and decay is a factor on an
hour, so that scores never need the logs again.

Of users a bottom-k sketch is kept: the ``min_users`` smallest hashes of those a pair was shown to
(Beyer et al., "On Synopses for Distinct-Value Estimation", SIGMOD 2007). The union of such
sketches says exactly whether there were ``min_users`` distinct users, whatever the hours. The
hashes are of the lake's own pseudonyms: statistics hold less than the lake and are to be guarded
like it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from ddb_pipeline.spark.search_logs import PROBLEMS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CELL = "struct<position:int,impressions:bigint,clicks:bigint,satisfied:double,squares:double>"
PAIRS = (
    f"counted_hour bigint, query string, document string, cells array<{CELL}>, users array<bigint>"
)
ORDER = "struct<sequence:string,position:string,clicks:int>"
KEYS = f"log_key string, event_order {ORDER}"
SUPERSEDED = "log_key string"
PAIR = ("hour", "counted_hour", "query", "document")
LOG_COUNTS = ("logs", "without_user", "impressions", "clicks", "unmatched_clicks")
"""Of the logs that count in an hour; ``row_counts`` has those of all its rows."""


@dataclass(frozen=True, slots=True)
class ClickWeights:
    """What a click counts, by the time spent on the document.

    ``short`` for none, 1 from ``satisfied_seconds`` on, in between by the logarithm of the time;
    ``unknown`` where the time is missing.
    """

    satisfied_seconds: float = 30.0
    short: float = 0.2
    unknown: float = 0.5

    def of(self, dwell_ms: "Column") -> "Column":
        seconds = F.greatest(dwell_ms, F.lit(0.0)) / 1000
        share = F.log1p(seconds) / F.log1p(F.lit(self.satisfied_seconds))
        weight = self.short + (1 - self.short) * F.least(share, F.lit(1.0))
        return F.coalesce(weight, F.lit(self.unknown))


def last_events(logs: "DataFrame") -> "DataFrame":
    """Each log's last event of each hour: repeated deliveries and earlier images fall away."""
    keyed = logs.where(F.col("log_key").isNotNull())
    payload = [name for name in logs.columns if name not in ("hour", "log_key")]
    last = F.max_by(F.struct(*payload), "event_order").alias("last")
    return keyed.groupBy("hour", "log_key").agg(last).select("hour", "log_key", "last.*")


def superseded_events(keys: "DataFrame") -> "DataFrame":
    """Of ``hour, log_key, event_order``: those whose log has a later event in another hour."""
    last = F.max("order").over(Window.partitionBy("log_key"))
    ordered = keys.withColumn("order", F.struct("event_order", "hour"))
    marked = ordered.withColumn("superseded", F.col("order") < last)
    return marked.where("superseded").select("hour", "log_key")


def shown_results(events: "DataFrame", weights: ClickWeights, max_position: int) -> "DataFrame":
    """One row a result that was shown: its position, whether it was clicked, the click's weight."""
    shown = events.select(
        "hour",
        "counted_hour",
        F.xxhash64("user").alias("user_hash"),
        F.col("user").isNotNull().alias("with_user"),
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
    shown = shown.withColumn("matching", F.coalesce(matching, F.array().cast(_click_type())))
    dwell = F.aggregate(
        "matching",
        F.lit(None).cast("double"),
        lambda sum_, click: F.when(sum_.isNull(), click["dwell_ms"]).otherwise(
            sum_ + F.coalesce(click["dwell_ms"], F.lit(0.0))
        ),
    )
    clicked = F.size("matching") > 0
    return shown.select(
        "hour",
        "counted_hour",
        F.when(F.col("with_user"), F.col("user_hash")).alias("user_hash"),
        "query",
        document.alias("document"),
        F.least(position, F.lit(max_position)).alias("position"),
        clicked.cast("long").alias("clicked"),
        F.when(clicked, weights.of(dwell)).otherwise(F.lit(0.0)).alias("weight"),
    )


def _click_type() -> str:
    return "array<struct<document:string,position:int,dwell_ms:double>>"


def pair_statistics(shown: "DataFrame", kept_users: int) -> "DataFrame":
    """``PAIRS`` of each hour, with ``hour``."""
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
        .where(F.col("rank") <= kept_users)
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
    """By hour: all rows, and those that cannot be used by reason."""
    reasons = [F.count(F.when(F.col("problem") == p, 1)).alias(p) for p in PROBLEMS]
    found = logs.groupBy("hour").agg(F.count(F.lit(1)).alias("rows"), *reasons).collect()
    return {row["hour"]: {k: v for k, v in row.asDict().items() if k != "hour"} for row in found}


def log_counts(counted: "DataFrame") -> dict[str, dict[str, int]]:
    """By hour, of the logs that count there: how many, what they show and what was clicked."""
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
        F.sum(F.greatest(F.coalesce(F.size("clicks"), F.lit(0)), F.lit(0))).alias("clicks"),
        F.sum(F.greatest(F.coalesce(unmatched, F.lit(0)), F.lit(0))).alias("unmatched_clicks"),
    )
    return {
        row["hour"]: {k: int(v) for k, v in row.asDict().items() if k != "hour"}
        for row in found.collect()
    }
