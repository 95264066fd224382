"""Brings the hours' statistics up to date by computing the hours that changed or are affected.

A log counts in the hour of its last event. When a new hour contains an event of a log from an
earlier hour (a later click, a removal, a repeated delivery), the earlier event is *superseded*: the
earlier hour is affected and is computed again without the log. The result is the same as if all
hours were computed at once.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from ddb_pipeline.spark import hour_statistics
from ddb_pipeline.spark.arguments import RelevanceArguments, RelevanceError
from ddb_pipeline.spark.hour_statistics import ClickWeights
from ddb_pipeline.spark.manifest import (
    GENERATION,
    HISTORY,
    HourEntry,
    Manifest,
    digest_of,
    epoch_hour,
    files_by_hour,
    generation_files,
    hour_partition,
)
from ddb_pipeline.spark.search_logs import read_logs
from ddb_pipeline.spark.storage import Storage, StoredFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

READERS = 16
"""Small files read at the same time."""
Log = Callable[[str], None]
"""Writes a line to the job's log."""


@dataclass(frozen=True, slots=True)
class HourChanges:
    """How the hours' files differ from those that the manifest's statistics were computed of.

    Attributes:
        files: all hours' files.
        digests: the files' digest by hour.
        changed: the hours that are new or have other files.
        gone: the hours of the manifest that have no files.
    """

    files: Mapping[str, list[StoredFile]]
    digests: Mapping[str, str]
    changed: list[str]
    gone: list[str]


def find_changes(before: Manifest, files: Mapping[str, list[StoredFile]]) -> HourChanges:
    """Compare the hours' files with the manifest."""
    digests = {hour: digest_of(found) for hour, found in files.items()}
    changed = sorted(
        hour
        for hour, digest in digests.items()
        if hour not in before.hours or before.hours[hour].source != digest
    )
    return HourChanges(files, digests, changed, gone=sorted(set(before.hours) - set(files)))


class Increment:
    """One update of the statistics below ``arguments.output``, written as ``version``."""

    def __init__(
        self, spark: "SparkSession", arguments: RelevanceArguments, version: str, log: Log
    ) -> None:
        self.spark = spark
        self.arguments = arguments
        self.version = version
        self.log = log
        self.storage = Storage(spark)

    def source_files(self) -> dict[str, list[StoredFile]]:
        """List the files of each hour in the window, and of the history."""
        # Listed first: what is then missing of an hour is in the generation that is read after it.
        raw = files_by_hour(self.storage.files(self.arguments.stream))
        compacted: dict[str, list[StoredFile]] = {}
        if self.arguments.compacted:
            compacted = files_by_hour(self.storage.files(self.arguments.compacted))
        hours: dict[str, list[StoredFile]] = {}
        if raw or compacted:
            newest = self.arguments.as_of_hour() or epoch_hour(max({*raw, *compacted})) + 1
            oldest = newest - 24 * self.arguments.window_days
            hours = {h: f for h, f in raw.items() if oldest <= epoch_hour(h) < newest}
            hours |= self._generations(
                {h: f for h, f in compacted.items() if oldest <= epoch_hour(h) < newest}
            )
        if self.arguments.history:
            found = self.storage.files(self.arguments.history)
            if found:
                hours[HISTORY] = found
        return hours

    def _generations(
        self, compacted: Mapping[str, list[StoredFile]]
    ) -> dict[str, list[StoredFile]]:
        """The files of the current generations of hours; without those that have none."""
        root = self.arguments.compacted.rstrip("/")

        def current(hour: str) -> list[StoredFile]:
            folder = f"{root}/{hour_partition(hour)}"
            uri = f"{folder}/{GENERATION}"
            text = self.storage.read_text(uri)
            if text is None:
                return []
            try:
                return generation_files(compacted[hour], text, uri)
            except RelevanceError:
                # It was committed after the folder had been listed.
                return generation_files(self.storage.files(folder), text, uri)

        with ThreadPoolExecutor(READERS, thread_name_prefix="generations") as pool:
            found = dict(zip(compacted, pool.map(current, compacted), strict=True))
        return {hour: files for hour, files in found.items() if files}

    def update(self, before: Manifest) -> Manifest:
        """Compute what has changed since a manifest and return the new manifest."""
        changes = find_changes(before, self.source_files())
        changed = changes.changed
        if not changed and not changes.gone:
            return before
        self.log(
            f"{len(changed)} hour(s) changed and {len(changes.gone)} removed, of "
            f"{len(changes.files)}."
        )
        logs = self.read_logs(changes.files, changed).persist() if changed else None
        try:
            return self._update(before, changes, logs)
        finally:
            if logs is not None:
                logs.unpersist()

    def _update(self, before: Manifest, changes: HourChanges, logs: "DataFrame | None") -> Manifest:
        """Compute the changed hours, whose logs are given, and the hours that they affect."""
        fresh = self._fresh_entries(changes, logs)
        unchanged = {h: e for h, e in before.hours.items() if h in changes.files and h not in fresh}
        superseded, affected = self.find_superseded(
            before, fresh, unchanged, [*changes.changed, *changes.gone]
        )
        if affected:
            self.log(f"{len(affected)} earlier hour(s) contain logs that changed later.")
            again = self.read_logs(changes.files, affected)
            logs = again if logs is None else logs.unionByName(again)
        entries = {**unchanged, **fresh}
        if logs is not None:
            hours = sorted({*changes.changed, *affected})
            entries = self.compute(entries, logs, superseded, hours)
        return replace(before, hours=dict(sorted(entries.items())))

    def _fresh_entries(
        self, changes: HourChanges, logs: "DataFrame | None"
    ) -> dict[str, HourEntry]:
        """Write the last events of the changed hours; return the hours' entries so far."""
        if logs is None:
            return {}
        counts = hour_statistics.row_counts(logs)
        keys = hour_statistics.last_events(logs).select("hour", "log_key", "event_order")
        with_keys = self.write(keys, "keys")
        return {
            hour: HourEntry(
                source=changes.digests[hour],
                keys=self.version if hour in with_keys else "",
                counts=counts.get(hour, {}),
            )
            for hour in changes.changed
        }

    def find_superseded(
        self,
        before: Manifest,
        fresh: Mapping[str, HourEntry],
        unchanged: Mapping[str, HourEntry],
        touched_hours: Iterable[str],
    ) -> tuple["DataFrame", list[str]]:
        """Find the superseded events, and the unchanged hours that they affect.

        Args:
            before: the manifest before this update.
            fresh: the entries of the changed hours.
            unchanged: the entries of the unchanged hours.
            touched_hours: the hours that changed or are gone.

        Returns:
            ``hour, log_key`` of the superseded events, complete for the fresh and the affected
            hours; and the affected hours, those where other events were superseded before.
        """
        touched_before = {h: before.hours[h] for h in touched_hours if h in before.hours}
        touched = (
            self.keys(fresh).select("log_key").union(self.keys(touched_before).select("log_key"))
        ).distinct()
        keys = self.keys({**unchanged, **fresh}).join(touched, "log_key", "left_semi")
        now = hour_statistics.superseded_events(keys).select("hour", "log_key")
        stored = self.superseded(unchanged)
        was = stored.join(touched, "log_key", "left_semi").select("hour", "log_key")
        old = F.col("hour").isin(sorted(unchanged)) if unchanged else F.lit(False)
        news = now.where(old).exceptAll(was).union(was.exceptAll(now.where(old)))
        affected = sorted(row["hour"] for row in news.select("hour").distinct().collect())
        untouched = stored.join(touched, "log_key", "left_anti").select("hour", "log_key")
        return now.union(untouched), affected

    def compute(
        self,
        entries: Mapping[str, HourEntry],
        logs: "DataFrame",
        superseded: "DataFrame",
        hours: list[str],
    ) -> dict[str, HourEntry]:
        """Write the statistics of these hours; return ``entries`` with their new entries."""
        with_superseded = self.write(superseded.where(F.col("hour").isin(hours)), "superseded")
        versions = dict.fromkeys(sorted(with_superseded), self.version)
        counted = (
            hour_statistics.last_events(logs)
            .join(
                self.stored("superseded", versions, hour_statistics.SUPERSEDED),
                ["hour", "log_key"],
                "left_anti",
            )
            .where(~F.col("removed") & F.col("problem").isNull())
        )
        with_pairs = self.write(self._pair_statistics(counted), "pairs")
        counts = hour_statistics.log_counts(counted)
        none = dict.fromkeys(hour_statistics.LOG_COUNTS, 0)
        computed = {
            hour: replace(
                entries[hour],
                pairs=self.version if hour in with_pairs else "",
                superseded=self.version if hour in with_superseded else "",
                counts={**entries[hour].counts, **none, **counts.get(hour, {})},
            )
            for hour in hours
        }
        return {**entries, **computed}

    def _pair_statistics(self, counted: "DataFrame") -> "DataFrame":
        """The statistics of the logs that count."""
        weights = ClickWeights(
            satisfied_seconds=self.arguments.satisfied_seconds,
            short=self.arguments.short_click_weight,
            unknown=self.arguments.unknown_dwell_weight,
        )
        shown = hour_statistics.shown_results(counted, weights, self.arguments.max_position)
        return hour_statistics.pair_statistics(shown, self.arguments.min_users)

    def read_logs(self, files: Mapping[str, list[StoredFile]], hours: Iterable[str]) -> "DataFrame":
        """Read the events of these hours."""
        return read_logs(
            self.spark,
            [file for hour in hours for file in files[hour]],
            self.arguments.columns,
            drop_expired=self.arguments.drop_expired,
        )

    def keys(self, entries: Mapping[str, HourEntry]) -> "DataFrame":
        """Read the last events of these hours: ``hour, log_key, event_order``."""
        versions = {hour: entry.keys for hour, entry in entries.items()}
        return self.stored("keys", versions, hour_statistics.KEYS)

    def superseded(self, entries: Mapping[str, HourEntry]) -> "DataFrame":
        """Read the superseded events of these hours: ``hour, log_key``."""
        versions = {hour: entry.superseded for hour, entry in entries.items()}
        return self.stored("superseded", versions, hour_statistics.SUPERSEDED)

    def pairs(self, manifest: Manifest) -> "DataFrame":
        """Read the valid statistics of all hours."""
        versions = {hour: entry.pairs for hour, entry in manifest.hours.items()}
        return self.stored("pairs", versions, hour_statistics.PAIRS)

    def write(self, frame: "DataFrame", name: str) -> set[str]:
        """Write ``frame``, partitioned by its ``hour``, into this run's version folder.

        Returns:
            the hours that have rows.
        """
        hour, history = F.col("hour"), F.col("hour") == HISTORY
        partitions = {
            "delivery_date": F.when(history, HISTORY).otherwise(F.substring(hour, 1, 10)),
            "delivery_hour": F.when(history, "all").otherwise(F.substring(hour, 12, 2)),
        }
        folder = self.folder(self.version, name)
        (
            frame.repartition("hour")
            .withColumns(partitions)
            .write.partitionBy(*partitions)
            .parquet(folder)
        )
        files = self.storage.files(folder)
        hours = set(files_by_hour(files))
        return hours | {HISTORY} if any(hour_partition(HISTORY) in f.uri for f in files) else hours

    def stored(self, name: str, versions: Mapping[str, str], schema: str) -> "DataFrame":
        """Read the files ``name`` of each hour from its version folder, with ``hour``."""
        schema = f"hour string, {schema}"
        folders = [
            f"{self.folder(version, name)}/{hour_partition(hour)}"
            for hour, version in sorted(versions.items())
            if version
        ]
        if not folders:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*folders)

    def folder(self, version: str, name: str) -> str:
        """Return the URI of the files ``name`` in a version folder."""
        return f"{self.arguments.output.rstrip('/')}/statistics/{version}/{name}"
