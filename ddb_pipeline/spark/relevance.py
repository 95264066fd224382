"""The job that computes documents' relevance to queries from the search logs in the lake.

    spark-submit --py-files ddb_pipeline_spark.zip relevance.py --stream URI --output URI ...
    python -m ddb_pipeline.spark.relevance --stream URI --output URI ...

It writes below the output folder: ``statistics/<version>/``, the hours' statistics, which need the
same protection as the lake; ``scores/<version>/``, the scores, which may be handed on; and, last,
``manifest.json``, which names the valid versions. A run without changes writes nothing. The terms
are defined in the docstring of ``ddb_pipeline.spark``.
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
from ddb_pipeline.spark.reporting import Reporter, markdown
from ddb_pipeline.spark.session import run_job
from ddb_pipeline.spark.storage import Storage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BINS = 20
"""Bins of the histogram of scores."""
SHOWN_MOVERS = 10
"""Rows of the table of the pairs whose score changed most."""
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
    "no_log_key": "row(s) were ignored, because without a log key they may be repeated deliveries",
    "no_query": "row(s) were ignored, because they have no query",
    "no_results": "row(s) were ignored, because they have no result with a document",
    "no_search_time": "row(s) of the history were ignored, because they have no search time",
    "without_user": "log(s) without a user count, but not towards the threshold of anonymity",
    "unmatched_clicks": "click(s) were ignored, because their document was not shown",
}
"""The warnings about counts of the statistics."""


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
        """Bring statistics and scores up to date and return the valid manifest.

        Raises:
            RelevanceError: there are no logs, they lack a column, or the scorer failed.
        """
        scoring.load_scorer(self.arguments.scorer)
        published = self.published()
        before = published.for_configuration(self.arguments.statistics_digest())
        increment = Increment(self.spark, self.arguments, self.version, self.reporter.log)
        after = increment.update(before)
        if not after.hours:
            raise RelevanceError(
                f"There is no Parquet under {self.arguments.stream} in the window of "
                f"{self.arguments.window_days} days. Its hours must be folders named "
                "delivery_date=.../delivery_hour=.../."
            )
        scores = published.scores
        if after == published and scores and scores.digest == self.arguments.scores_digest():
            self.reporter.log("No hour has changed since the scores were computed.")
            folder = self.uri(f"scores/{scores.version}")
            unchanged = {"dagster/row_count": scores.rows, "dagster/uri": folder, "unchanged": True}
            self.reporter.report_result({**self.totals(after), **unchanged}, scores.version)
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
        self.reporter.report_result({**self.totals(after), **metadata}, self.version)
        return after

    def published(self) -> Manifest:
        """Read the valid manifest; an empty one before the first run."""
        uri = self.uri(manifest.MANIFEST)
        text = self.storage.read_text(uri)
        return Manifest() if text is None else manifest.from_text(text, uri)

    def publish(self, after: Manifest, before: Manifest) -> None:
        """Replace the manifest, then delete old versions.

        Versions that this or the previous manifest names are not deleted: a reader may use them.
        """
        self.storage.write_text(self.uri(manifest.MANIFEST), manifest.to_text(after))
        used = after.versions() | before.versions()
        for name in ("statistics", "scores"):
            folders = self.storage.folders(self.uri(name))
            for version in manifest.deletable_versions(folders, used, datetime.now(timezone.utc)):
                self.storage.delete_folder(self.uri(f"{name}/{version}"))

    def as_of(self, after: Manifest) -> int:
        """Return the hour since the epoch up to which searches count: the one after the newest."""
        hours = [epoch_hour(hour) + 1 for hour in after.hours if hour != HISTORY]
        now = int(datetime.now(timezone.utc).timestamp()) // 3600
        return self.arguments.as_of_hour() or max(hours, default=now)

    def score(
        self, statistics: "DataFrame", as_of: int, previous: ScoresEntry | None
    ) -> tuple[int, dict[str, Any]]:
        """Write the scores as this run's version; return their number and their metadata."""
        oldest = as_of - 24 * self.arguments.window_days
        window = statistics.where(F.col("counted_hour").between(oldest, as_of - 1))
        pairs = evidence.combine_hours(window, as_of, self.arguments.half_life_days).persist()
        examination = self.examination(pairs)
        exposed = evidence.with_exposure(pairs, examination.by_position).persist()
        prior = evidence.estimate_prior(exposed)
        known = scoring.anonymous(evidence.with_prior(exposed, prior), self.arguments.min_users)
        scores = scoring.with_scores(known, self.arguments.scorer).select(*SCORES).persist()
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
        for frame in (pairs, exposed, scores):
            frame.unpersist()
        return rows, metadata

    def examination(self, pairs: "DataFrame") -> Examination:
        """Estimate the examination of each position; warn if it cannot be estimated."""
        deepest = pairs.select(F.max(F.element_at("cells", -1)["position"])).first()
        found = estimate_examination(
            evidence.most_shown_pairs(pairs), max(int((deepest and deepest[0]) or 1), 1)
        )
        if not found.estimated:
            self.reporter.warn(
                "There are too few clicks to estimate the position bias; 1 / position is assumed."
            )
        if found.unlinked:
            self.reporter.warn(
                f"Positions {', '.join(map(str, found.unlinked))} share too few documents with "
                "the first position to estimate their position bias; 1 / position is assumed."
            )
        return found

    def movers(self, scores: "DataFrame", previous: ScoresEntry | None) -> str:
        """Format the pairs whose score changed most; in the first run, the highest scores."""
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
        shown = found.select("query", "document", "before", "score", "confidence")
        movers = [presentation.Mover(**r.asDict()) for r in shown.limit(SHOWN_MOVERS).collect()]
        return presentation.movers_table(movers, "No score has changed.")

    def histogram(self, scores: "DataFrame", rows: int) -> str:
        """Draw the distribution of the scores."""
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
        """Add up the counts of all hours; warn about rows that cannot be used."""
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
        """Return the URI of a name below the output folder."""
        return f"{self.arguments.output.rstrip('/')}/{name}"


def _iso(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * 3600, tz=timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def run(spark: "SparkSession", arguments: RelevanceArguments, reporter: Reporter) -> None:
    """Run the job."""
    RelevanceJob(spark, arguments, reporter).run()


if __name__ == "__main__":
    run_job("relevance", sys.argv[1:], parse, run)
