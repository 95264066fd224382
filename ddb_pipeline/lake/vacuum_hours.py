"""The vacuum of the stream's hours: generations and raw objects that a compaction has replaced."""

from ddb_pipeline.glue.partitions import CatalogPartition, find_partition, point_partition
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.compacted_hours import compacted_hours
from ddb_pipeline.lake.hour_generations import read_generation, uncovered
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.removals import VacuumRun
from ddb_pipeline.lake.retention import Removal, raw_is_removable, stale_folders


class HourVacuum:
    """Removes, of the hours that were compacted, what readers have left."""

    def __init__(self, run: VacuumRun) -> None:
        self._run = run

    def remove(self) -> None:
        """Visit the compacted hours, until the run is full.

        Raises:
            VacuumError: objects cannot be removed.
            CatalogError: the catalog cannot be read or written.
        """
        run = self._run
        for hour, noted in compacted_hours(run.target.s3, run.target.lake):
            if run.is_full():
                return
            if run.now >= noted.modified_at + run.policy.replaced_seconds:
                self._visit(hour, noted)

    def _visit(self, hour: DeliveryHour, noted: StoredObject) -> None:
        """Remove replaced generations and raw objects of an hour that was compacted."""
        run = self._run
        target, policy, now = run.target, run.policy, run.now
        current, _ = read_generation(target.s3, target.lake, hour)
        read = self._repaired_location(hour)
        found = list(list_objects(target.s3, target.lake, hour.compacted_prefix, with_empty=True))
        stale = stale_folders(hour, found, current, read, policy.replaced_seconds, now)
        stale = {
            folder: objects
            for folder, objects in stale.items()
            if not any(o.key in table.used for table in target.iceberg for o in objects)
        }
        for folder, objects in stale.items():
            reason = "another generation has replaced it, or it was never committed"
            run.remove(Removal("generation", f"{hour.partition_key} {folder}", reason, objects))
        raw = tuple(list_objects(target.s3, target.lake, hour.prefix))
        reads_current = current is not None and read.endswith(f"/{current.prefix(hour)}")
        if current is None or not reads_current:
            return
        if (
            raw
            and not uncovered(raw, current)
            and raw_is_removable(hour, current, target.needed_since, policy, now)
        ):
            reason = f"their rows are in generation {current.number}, which readers read"
            run.remove(Removal("raw objects", hour.partition_key, reason, raw))
            raw = ()
        folders = {stored.key.split("/")[-2] for stored in found if stored.key.endswith(".parquet")}
        waits = bool(folders - {*stale, current.folder}) or (raw and policy.raw_seconds)
        if not waits and not run.dry_run:
            # Unless another compaction has begun since.
            conditional.delete(target.s3, target.lake, noted.key, f'"{noted.etag}"')

    def _repaired_location(self, hour: DeliveryHour) -> str:
        """Where readers read an hour; the partition is repaired where it names another generation.

        It does where a compaction was killed, or stopped for long, before it wrote the catalog.
        """
        run = self._run
        target, values = run.target, (hour.date, hour.hour)
        found = find_partition(target.glue, target.lake_table, values)
        # Read after the partition: a compaction commits first.
        current, _ = read_generation(target.s3, target.lake, hour)
        location = found.location if found else ""
        if current is None or run.now < current.compacted_at + run.policy.replaced_seconds:
            return location
        wanted = CatalogPartition(values, target.lake.uri(current.prefix(hour)), current.columns)
        if found != wanted:
            run.report.repaired.append(hour.partition_key)
            if not run.dry_run:
                point_partition(target.glue, target.lake_table, wanted)
        # Readers of the former location may not have left it yet.
        return location
