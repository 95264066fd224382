"""Vacuum: removes objects of the lake that a newer one has replaced, after a time.

What a run removes is listed first, and may only be listed. Nothing is removed that a reader of the
catalog, a check or a redelivery still needs: raw objects only where their rows are in the
generation that readers read, generations only when readers have had time to leave them, snapshots
only after their partition was removed, incremental exports and their changes only once the current
view has merged them and would not begin before them if it were built again. A run may stop at any
step, and another does the rest.
"""

from ddb_pipeline.lake.removals import VacuumReport, VacuumRun, VacuumTarget
from ddb_pipeline.lake.retention import RetentionPolicy
from ddb_pipeline.lake.vacuum_exports import ExportVacuum
from ddb_pipeline.lake.vacuum_hours import HourVacuum


def vacuum(
    target: VacuumTarget, policy: RetentionPolicy, now: float, *, dry_run: bool
) -> VacuumReport:
    """Remove what is needed no more: of the stream, of the snapshots, of the exports.

    Args:
        now: the time of the run, epoch seconds.
        dry_run: whether to find only.

    Raises:
        VacuumError: objects cannot be removed.
        CatalogError: the catalog cannot be read or written.
    """
    run = VacuumRun(target, policy, now, dry_run)
    for found in target.iceberg:
        run.report.expired.extend(found.expired)
        run.report.removals.extend(found.removals)
    HourVacuum(run).remove()
    if not run.report.unfinished:
        ExportVacuum(run).remove()
    return run.report
