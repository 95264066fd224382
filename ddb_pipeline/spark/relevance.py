"""The job: search logs of the lake to relevance scores of documents for queries.

    spark-submit --py-files ddb_pipeline_spark.zip relevance.py --stream URI --output URI ...
    python -m ddb_pipeline.spark.relevance --stream URI --output URI ...

Under the output: ``statistics/<version>/`` (hours' sufficient statistics, guarded like the lake),
``scores/<version>/`` (what may be handed on) and ``manifest.json``, which names the valid versions
and is replaced last. A run that has nothing to do changes nothing.
"""

import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from ddb_pipeline.spark import evidence, manifest, presentation, scoring
from ddb_pipeline.spark.arguments import RelevanceArguments, RelevanceError, parse
from ddb_pipeline.spark.click_model import Examination, estimate_examination
from ddb_pipeline.spark.increment import Increment
from ddb_pipeline.spark.manifest import HISTORY, Manifest, ScoresEntry, epoch_hour, new_version
from ddb_pipeline.spark.reporting import Reporter, markdown, open_reporter
from ddb_pipeline.spark.session import open_session
from ddb_pipeline.spark.storage import Storage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BINS = 20
SHOWN_MOVERS = 10
SCORES = (
    "query",
    "document",
    "score",
    "confidence",
    "impressions",
    "clicks",
    "exposure",
    "prior_mean",
)

UNUSABLE = {
    "no_log_key": "row(s) have no log key and cannot be told from repeated deliveries: left out",
    "no_query": "row(s) have no query: left out",
    "no_results": "row(s) have no result with a document: left out",
    "no_search_time": "row(s) of the history have no search time: left out",
    "without_user": "log(s) have no user: they count, but not towards anonymity",
    "unmatched_clicks": "click(s) are on a document that was not shown: left out",
}


class RelevanceJob:
    """One run of the job in a Spark session."""

    def __init__(
        self, spark: "SparkSession", arguments: RelevanceArguments, reporter: Reporter
    ) -> None:
        self.spark = spark
        self.arguments = arguments
        self.reporter = reporter
        self.storage = Storage(spark)
        self.version = new_version()

    def run(self) -> Manifest:
        """Bring statistics and scores up to date; answers with the manifest that is valid now.

        Raises:
            RelevanceError: there are no logs, they lack a column, or the scorer fails.
        """
        scoring.load_scorer(self.arguments.scorer)
        published = self.published()
        before = published.under(self.arguments.statistics_digest())
        increment = Increment(self.spark, self.arguments, self.version, self.reporter.log)
        after = increment.updated(before)
        if not after.hours:
            raise RelevanceError(
                f"There is no Parquet under {self.arguments.stream} within "
                f"{self.arguments.window_days} days: nothing to score. Hours are expected as "
                "delivery_date=.../delivery_hour=.../."
            )
        scores = published.scores
        if after == published and scores and scores.digest == self.arguments.scores_digest():
            self.reporter.log("No hour has changed since the scores were computed.")
            folder = self.uri(f"scores/{scores.version}")
            unchanged = {"dagster/row_count": scores.rows, "dagster/uri": folder, "unchanged": True}
            self.reporter.materialized({**self.totals(after), **unchanged}, scores.version)
            return published
        as_of = self.as_of(after)
        rows, metadata = self.score(increment.pairs(after), as_of, scores)
        entry = ScoresEntry(
            version=self.version,
            digest=self.arguments.scores_digest(),
            as_of=_iso(as_of),
            rows=rows,
            previous=scores.version if scores else "",
        )
        after = replace(after, scores=entry)
        self.publish(after, published)
        self.reporter.materialized({**self.totals(after), **metadata}, self.version)
        return after

    def published(self) -> Manifest:
        uri = self.uri(manifest.MANIFEST)
        text = self.storage.read_text(uri)
        return Manifest() if text is None else manifest.from_text(text, uri)

    def publish(self, after: Manifest, before: Manifest) -> None:
        """Replace the manifest, then clear versions that nothing refers to any more.

        What the manifest before referred to stays for a day: somebody may be reading it.
        """
        self.storage.write_text(self.uri(manifest.MANIFEST), manifest.to_text(after))
        kept = after.versions() | before.versions()
        for name in ("statistics", "scores"):
            folders = self.storage.folders(self.uri(name))
            for version in manifest.clearable(folders, kept, datetime.now(timezone.utc)):
                self.storage.delete_folder(self.uri(f"{name}/{version}"))

    def as_of(self, after: Manifest) -> int:
        """The hour since the epoch at which searches stop to count: that after the newest."""
        hours = [epoch_hour(hour) + 1 for hour in after.hours if hour != HISTORY]
        now = int(datetime.now(timezone.utc).timestamp()) // 3600
        return self.arguments.as_of_hour() or max(hours, default=now)

    def score(
        self, statistics: "DataFrame", as_of: int, previous: ScoresEntry | None
    ) -> tuple[int, dict[str, Any]]:
        """Write the scores as this run's version; answers with how many, and what to show."""
        oldest = as_of - 24 * self.arguments.window_days
        window = statistics.where(F.col("counted_hour").between(oldest, as_of - 1))
        pairs = evidence.combined(window, as_of, self.arguments.half_life_days).persist()
        examination = self.examination(pairs)
        weighed = evidence.weighed(pairs, examination.by_position).persist()
        prior = evidence.estimate_prior(weighed)
        known = scoring.anonymous(evidence.with_prior(weighed, prior), self.arguments.min_users)
        scores = scoring.scored(known, self.arguments.scorer).select(*SCORES).persist()
        scoring.check_scores(scores, self.arguments.scorer)
        rows = scores.count()
        moment = F.lit(_iso(as_of)).cast("timestamp")
        folder = self.uri(f"scores/{self.version}")
        scores.withColumn("as_of", moment).write.parquet(folder)
        metadata = {
            "dagster/row_count": rows,
            "dagster/uri": folder,
            "queries": scores.select("query").distinct().count(),
            "pairs_below_k": pairs.count() - known.count(),
            "k": self.arguments.min_users,
            "prior_mean": prior.mean,
            "prior_strength": prior.strength,
            "as_of": _iso(as_of),
            "position_bias": markdown(
                presentation.examination_table(examination.by_position, examination.estimated)
            ),
            "top_movers": markdown(self.movers(scores, previous)),
            "score_distribution": markdown(self.histogram(scores, rows)),
        }
        for frame in (pairs, weighed, scores):
            frame.unpersist()
        return rows, metadata

    def examination(self, pairs: "DataFrame") -> Examination:
        deepest = pairs.select(F.max(F.element_at("cells", -1)["position"]))
        positions = deepest.first()
        found = estimate_examination(
            evidence.model_pairs(pairs), max(int((positions and positions[0]) or 1), 1)
        )
        if not found.estimated:
            self.reporter.warn(
                "Too few clicks to estimate the position bias from; 1 / position is taken."
            )
        if found.apart:
            self.reporter.warn(
                f"Positions {', '.join(map(str, found.apart))} share no documents with the first: "
                "how much less they are looked at is not known, 1 / position is taken."
            )
        return found

    def movers(self, scores: "DataFrame", previous: ScoresEntry | None) -> str:
        """The pairs whose score moved most since the scores before, or the highest at first."""
        col = F.col
        if previous is None or not previous.rows:
            top = scores.withColumn("before", F.lit(None).cast("double"))
            found = top.orderBy(F.desc("score"), "query", "document")
        else:
            old = self.spark.read.parquet(self.uri(f"scores/{previous.version}")).select(
                "query", "document", col("score").alias("before")
            )
            moved = scores.join(old, ["query", "document"]).withColumn(
                "moved", F.abs(col("score") - col("before"))
            )
            found = moved.where(col("moved") > 0).orderBy(F.desc("moved"), "query", "document")
        rows = found.limit(SHOWN_MOVERS).collect()
        chosen = [
            presentation.Mover(r["query"], r["document"], r["before"], r["score"], r["confidence"])
            for r in rows
        ]
        return presentation.movers_table(chosen, "No score has moved.")

    def histogram(self, scores: "DataFrame", rows: int) -> str:
        bounds = scores.agg(F.min("score"), F.max("score")).first()
        if not rows or bounds is None:
            return "No pair was shown to enough users."
        low, high = min(0.0, bounds[0]), max(1.0, bounds[1])
        width = (high - low) / BINS
        bin_of = F.least(F.floor((F.col("score") - low) / width), F.lit(BINS - 1))
        bins = scores.groupBy(bin_of.alias("bin")).count().collect()
        counted = {row["bin"]: row["count"] for row in bins}
        title = f"{rows:,} pairs of query and document by score"
        return presentation.histogram_image(
            [counted.get(index, 0) for index in range(BINS)], low, high, title
        )

    def totals(self, after: Manifest) -> dict[str, Any]:
        """What was read, counted over all hours; warns of rows that cannot be used."""
        sums: dict[str, int] = {}
        for entry in after.hours.values():
            for name, count in entry.counts.items():
                sums[name] = sums.get(name, 0) + count
        for name, count in sums.items():
            if count and name in UNUSABLE:
                self.reporter.warn(f"{count:,} {UNUSABLE[name]}.")
        counts = {
            f"logs/{name}": count
            for name, count in sorted(sums.items())
            if count or name not in UNUSABLE
        }
        return {"hours": len(after.hours), **counts}

    def uri(self, name: str) -> str:
        return f"{self.arguments.output.rstrip('/')}/{name}"


def _iso(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * 3600, tz=timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def main(argv: list[str] | None = None) -> None:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    with open_reporter() as reporter:
        spark = open_session("relevance")
        try:
            RelevanceJob(spark, arguments, reporter).run()
        finally:
            spark.stop()


if __name__ == "__main__":
    main()
