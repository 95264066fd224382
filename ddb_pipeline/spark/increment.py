"""Bring the hours' statistics up to date: only hours that changed, and those they touch.

An hour counts the logs whose last event lies in it. So a change of a log that an earlier hour
holds (a click added later, a delete, a delivery repeated across the hour) takes it out there: that
hour is computed again without it. Everything else stays as it was, and the outcome is the same as
if all hours had been computed at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from ddb_pipeline.spark import hour_statistics
from ddb_pipeline.spark.arguments import RelevanceArguments
from ddb_pipeline.spark.hour_statistics import ClickWeights
from ddb_pipeline.spark.manifest import (
    HISTORY,
    HourEntry,
    Manifest,
    by_hour,
    digest_of,
    epoch_hour,
    partition,
)
from ddb_pipeline.spark.search_logs import read_logs
from ddb_pipeline.spark.storage import Storage, StoredFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Log = Callable[[str], None]


class Increment:
    """One update of the statistics under ``arguments.output``, written as ``version``."""

    def __init__(
        self, spark: "SparkSession", arguments: RelevanceArguments, version: str, log: Log
    ) -> None:
        self.spark = spark
        self.arguments = arguments
        self.version = version
        self.log = log
        self.storage = Storage(spark)

    def source_files(self) -> dict[str, list[StoredFile]]:
        """The files of each hour within the window, and of the history."""
        hours = by_hour(self.storage.files(self.arguments.stream))
        if hours:
            newest = self.arguments.as_of_hour() or epoch_hour(max(hours)) + 1
            oldest = newest - 24 * self.arguments.window_days
            hours = {h: f for h, f in hours.items() if oldest <= epoch_hour(h) < newest}
        if self.arguments.history:
            found = self.storage.files(self.arguments.history)
            if found:
                hours[HISTORY] = found
        return hours

    def updated(self, before: Manifest) -> Manifest:
        """The manifest with the statistics of what lies under the stream now."""
        files = self.source_files()
        digests = {hour: digest_of(found) for hour, found in files.items()}
        changed = sorted(
            hour
            for hour, digest in digests.items()
            if hour not in before.hours or before.hours[hour].source != digest
        )
        gone = sorted(set(before.hours) - set(files))
        if not changed and not gone:
            return before
        self.log(f"{len(changed)} hour(s) changed, {len(gone)} gone, of {len(files)}.")
        logs = self.logs(files, changed).persist() if changed else None
        try:
            return self._updated(before, files, digests, changed, gone, logs)
        finally:
            if logs is not None:
                logs.unpersist()

    def _updated(
        self,
        before: Manifest,
        files: Mapping[str, list[StoredFile]],
        digests: Mapping[str, str],
        changed: list[str],
        gone: list[str],
        logs: "DataFrame | None",
    ) -> Manifest:
        counts: dict[str, dict[str, int]] = {}
        keyed: set[str] = set()
        if logs is not None:
            counts = hour_statistics.row_counts(logs)
            keys = hour_statistics.last_events(logs).select("hour", "log_key", "event_order")
            keyed = self.write(keys, "keys")
        unchanged = {h: e for h, e in before.hours.items() if h in files and h not in changed}
        fresh = {
            hour: HourEntry(
                digests[hour],
                keys=self.version if hour in keyed else "",
                counts=counts.get(hour, {}),
            )
            for hour in changed
        }
        superseded, affected = self.superseded(before, fresh, unchanged, [*changed, *gone])
        if affected:
            self.log(f"{len(affected)} earlier hour(s) hold logs that have changed since.")
            again = self.logs(files, affected)
            logs = again if logs is None else logs.unionByName(again)
        entries = {**unchanged, **fresh}
        if logs is not None:
            entries = self.computed(entries, logs, superseded, sorted({*changed, *affected}))
        return replace(before, hours=dict(sorted(entries.items())))

    def superseded(
        self,
        before: Manifest,
        fresh: Mapping[str, HourEntry],
        unchanged: Mapping[str, HourEntry],
        touched_hours: Iterable[str],
    ) -> tuple["DataFrame", list[str]]:
        """``hour, log_key`` that do not count where they lie, and the unchanged hours in which
        that is news. Complete for these hours and for the fresh ones.
        """
        touched_before = {h: before.hours[h] for h in touched_hours if h in before.hours}
        touched = (
            self.keys(fresh).select("log_key").union(self.keys(touched_before).select("log_key"))
        ).distinct()
        keys = self.keys({**unchanged, **fresh}).join(touched, "log_key", "left_semi")
        now = hour_statistics.superseded_events(keys).select("hour", "log_key")
        stored = self.read_superseded(unchanged)
        was = stored.join(touched, "log_key", "left_semi").select("hour", "log_key")
        old = F.col("hour").isin(sorted(unchanged)) if unchanged else F.lit(False)
        news = now.where(old).exceptAll(was).union(was.exceptAll(now.where(old)))
        affected = sorted(row["hour"] for row in news.select("hour").distinct().collect())
        untouched = stored.join(touched, "log_key", "left_anti").select("hour", "log_key")
        return now.union(untouched), affected

    def computed(
        self,
        entries: Mapping[str, HourEntry],
        logs: "DataFrame",
        superseded: "DataFrame",
        hours: list[str],
    ) -> dict[str, HourEntry]:
        """Write the statistics of these hours; answers with all entries."""
        taken = self.write(superseded.where(F.col("hour").isin(hours)), "superseded")
        versions = dict.fromkeys(sorted(taken), self.version)
        dropped = self.stored("superseded", versions, hour_statistics.SUPERSEDED)
        counted = (
            hour_statistics.last_events(logs)
            .join(dropped, ["hour", "log_key"], "left_anti")
            .where(~F.col("removed") & F.col("problem").isNull())
        )
        weights = ClickWeights(
            self.arguments.satisfied_seconds,
            self.arguments.short_click_weight,
            self.arguments.unknown_dwell_weight,
        )
        shown = hour_statistics.shown_results(counted, weights, self.arguments.max_position)
        written = self.write(
            hour_statistics.pair_statistics(shown, self.arguments.min_users), "pairs"
        )
        counts = hour_statistics.log_counts(counted)
        none = dict.fromkeys(hour_statistics.LOG_COUNTS, 0)
        computed = {
            hour: replace(
                entries[hour],
                pairs=self.version if hour in written else "",
                superseded=self.version if hour in taken else "",
                counts={**entries[hour].counts, **none, **counts.get(hour, {})},
            )
            for hour in hours
        }
        return {**entries, **computed}

    def logs(self, files: Mapping[str, list[StoredFile]], hours: Iterable[str]) -> "DataFrame":
        chosen = [file for hour in hours for file in files[hour]]
        return read_logs(
            self.spark,
            chosen,
            self.arguments.columns,
            drop_expired=self.arguments.drop_expired,
        )

    def keys(self, entries: Mapping[str, HourEntry]) -> "DataFrame":
        versions = {hour: entry.keys for hour, entry in entries.items()}
        return self.stored("keys", versions, hour_statistics.KEYS)

    def read_superseded(self, entries: Mapping[str, HourEntry]) -> "DataFrame":
        versions = {hour: entry.superseded for hour, entry in entries.items()}
        return self.stored("superseded", versions, hour_statistics.SUPERSEDED)

    def pairs(self, manifest: Manifest) -> "DataFrame":
        """The valid statistics of every hour."""
        versions = {hour: entry.pairs for hour, entry in manifest.hours.items()}
        return self.stored("pairs", versions, hour_statistics.PAIRS)

    def write(self, frame: "DataFrame", name: str) -> set[str]:
        """Write ``frame`` by its ``hour`` into this run's version; answers with the hours."""
        hour, history = F.col("hour"), F.col("hour") == HISTORY
        directories = {
            "delivery_date": F.when(history, HISTORY).otherwise(F.substring(hour, 1, 10)),
            "delivery_hour": F.when(history, "all").otherwise(F.substring(hour, 12, 2)),
        }
        folder = self.folder(self.version, name)
        (
            frame.repartition("hour")
            .withColumns(directories)
            .write.partitionBy(*directories)
            .parquet(folder)
        )
        files = self.storage.files(folder)
        hours = set(by_hour(files))
        return hours | {HISTORY} if any(partition(HISTORY) in f.uri for f in files) else hours

    def stored(self, name: str, versions: Mapping[str, str], schema: str) -> "DataFrame":
        """What the hours' versions hold of ``name``, with ``hour``."""
        schema = f"hour string, {schema}"
        folders = [
            f"{self.folder(version, name)}/{partition(hour)}"
            for hour, version in sorted(versions.items())
            if version
        ]
        if not folders:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*folders)

    def folder(self, version: str, name: str) -> str:
        return f"{self.arguments.output.rstrip('/')}/statistics/{version}/{name}"
