"""``ddb-pipeline current``: the table as it is now, from a full export and incremental ones."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from ddb_pipeline.cli.decide_option import decide_option
from ddb_pipeline.cli.locations import S3, filesystem_and_path
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.type_decisions import TypeDecisions
from ddb_pipeline.lake.current.bucket import Counts
from ddb_pipeline.lake.current.chain import name_of
from ddb_pipeline.lake.current.exports import ExportPlan, Exports, Opened, plan_exports
from ddb_pipeline.lake.current.manifest import MANIFEST, Manifest, iso
from ddb_pipeline.lake.current.sizing import MAX_BUCKETS
from ddb_pipeline.lake.current.steps import Processes, RunSteps
from ddb_pipeline.lake.current.store import BucketStore, LocalStore, Store
from ddb_pipeline.lake.current.update import Request, Updated, update


@dataclass(frozen=True, slots=True)
class CurrentReport:
    """What the command prints.

    Attributes:
        updated: the version that is current now, with the sums of all updates.
        applied: the names of the exports that were applied.
        skipped: of those that were applied before.
        conflicts: columns without a common wider type.
    """

    destination: str
    updated: Updated
    applied: tuple[str, ...]
    skipped: tuple[str, ...]
    conflicts: tuple[str, ...]
    seconds: float


@click.command("current")
@click.argument("destination")
@click.option("--full", metavar="EXPORT", help="A full export. Needed for the first time.")
@click.option(
    "--changes",
    metavar="EXPORT",
    multiple=True,
    help="An incremental export; may be given several times.",
)
@click.option(
    "--key",
    metavar="NAME[,NAME]",
    default="",
    help="The table's partition key and sort key. Default: those that the changes state.",
)
@click.option(
    "--buckets",
    type=click.IntRange(1, MAX_BUCKETS),
    help="Number of buckets. Default: as it is, or chosen by size.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes. Default: one for each core."
)
@decide_option
@click.option("--list", "list_files", is_flag=True, help="Print the files of the current version.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def current_command(
    destination: str,
    full: str | None,
    changes: tuple[str, ...],
    key: str,
    buckets: int | None,
    workers: int | None,
    decide: TypeDecisions,
    list_files: bool,
    as_json: bool,
) -> None:
    """Build or update the current view of a table from exports.

    The view has one row for each item, as it is now. DESTINATION is a folder or an s3:// URL. It
    holds Parquet in folders key_bucket=N. EXPORT is the folder or s3:// URL of an export as
    DynamoDB writes it.

    The first time, give a full export, and the incremental exports whose windows follow it without
    a gap. Later, incremental exports that follow, or a newer full export. Exports that are applied
    already are skipped, so the same command can be run again.

    With --list the files of the current version are printed, one a line, after the update if any.
    """
    began = time.monotonic()
    store = open_store(destination)
    exports = Exports(
        full=opened(full) if full else None,
        changes=tuple(map(opened, changes)),
        key=tuple(filter(None, (name.strip() for name in key.split(",")))),
        buckets=buckets,
        workers=workers,
        decisions=decide,
    )
    if exports.full or exports.changes or buckets:
        report = run_update(destination, store, exports, began)
        manifest = report.updated.manifest
        if not list_files:
            click.echo(report_json(report) if as_json else report_text(report))
            return
    else:
        manifest = store.read().manifest
    if not manifest.version:
        raise click.UsageError(f"{destination} has no current view yet. Give --full EXPORT.")
    paths = [f"{destination.rstrip('/')}/{path}" for path in manifest.paths]
    if as_json:
        click.echo(json.dumps({**state_json(manifest), "files": paths}))
    elif list_files:
        click.echo("\n".join(paths))
    else:
        click.echo(state_text(destination, manifest))


def open_store(destination: str) -> Store:
    """The store of a folder or an ``s3://`` URL."""
    filesystem, path = filesystem_and_path(destination)
    if not destination.startswith(S3):
        # The switch exchanges folders, so a symbolic link stays what it is.
        return LocalStore(str(Path(path).resolve()))
    # boto3 and the configuration are slow to import, and local paths need neither.
    from ddb_pipeline.config.settings import load_settings
    from ddb_pipeline.lake.current.object_store import S3Manifest
    from ddb_pipeline.lake.root import LakeRoot
    from ddb_pipeline.resources.cloud import CloudResource

    s3 = CloudResource.of(load_settings()).s3
    bucket, _, prefix = path.partition("/")
    key = f"{prefix}/{MANIFEST}" if prefix else MANIFEST
    return BucketStore(filesystem, path, S3Manifest(s3, LakeRoot(bucket), key))


def opened(location: str) -> Opened:
    """The export in a folder or at an ``s3://`` URL."""
    return open_export(*filesystem_and_path(location))


def run_update(destination: str, store: Store, exports: Exports, began: float) -> CurrentReport:
    """Update the view: once, and once more for each window that overlaps the one before it."""
    done: list[tuple[ExportPlan, Updated]] = []
    with Processes(exports.workers) as run_steps:
        while not done or done[-1][0].chain.more:
            done.append(one_update(store, exports, run_steps))
    plans, updates = zip(*done, strict=True)
    applied = [name for plan in plans for name in applied_names(plan, exports)]
    updated = replace(
        updates[-1],
        rewritten=sum(each.rewritten for each in updates),
        counts=sum((each.counts for each in updates), Counts()),
    )
    return CurrentReport(
        destination,
        updated,
        tuple(applied),
        plans[0].chain.skipped,
        tuple(conflict for plan in plans for conflict in plan.conflicts),
        time.monotonic() - began,
    )


def one_update(store: Store, exports: Exports, run_steps: RunSteps) -> tuple[ExportPlan, Updated]:
    """Update the view by what one chain applies of the exports."""
    plans: list[ExportPlan] = []

    def plan(manifest: Manifest) -> Request | None:
        plans.append(plan_exports(manifest, exports))
        return plans[-1].request

    updated = update(store, plan, run_steps)
    return plans[-1], updated


def applied_names(plan: ExportPlan, exports: Exports) -> list[str]:
    """The names of the exports that a plan applies."""
    names = [name_of(exports.changes[position][1]) for position in plan.chain.changes]
    return [name_of(exports.full[1]), *names] if plan.chain.full and exports.full else names


def state_json(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says of the view."""
    return {
        "rows": manifest.rows,
        "buckets": manifest.buckets,
        "as_of": iso(manifest.as_of),
        "table": manifest.table.arn,
        "key": [attribute.name for attribute in manifest.key],
        "columns": [list(column) for column in manifest.columns],
        "version": manifest.version,
    }


def report_json(report: CurrentReport) -> str:
    """The report as one JSON object."""
    updated = report.updated
    counts = asdict(updated.counts)
    return json.dumps(
        {
            **state_json(updated.manifest),
            "deletes_applied": counts.pop("deleted"),
            **counts,
            "buckets_rewritten": updated.rewritten,
            "applied": list(report.applied),
            "skipped": list(report.skipped),
            "conflicts": list(report.conflicts),
            "destination": report.destination,
            "seconds": round(report.seconds, 3),
        }
    )


def report_text(report: CurrentReport) -> str:
    """The report for a terminal."""
    updated, counts = report.updated, report.updated.counts
    lines = [
        state_text(report.destination, updated.manifest),
        f"  {len(report.applied)} export(s) applied, {len(report.skipped)} skipped, "
        f"{updated.rewritten} bucket(s) written in {report.seconds:.1f} s.",
        f"  {counts.inserted:,} rows inserted, {counts.updated:,} updated, {counts.deleted:,} "
        "deleted.",
        *(f"  {conflict}" for conflict in report.conflicts),
    ]
    if counts.too_late:
        lines.append(
            f"  {counts.too_late:,} change(s) are older than the deletes that are remembered, and "
            "were not applied. Build the view again from a newer full export."
        )
    return "\n".join(lines)


def state_text(destination: str, manifest: Manifest) -> str:
    """The view's state in a line."""
    return (
        f"{manifest.rows:,} rows as of {iso(manifest.as_of)}, in {manifest.buckets} bucket(s): "
        f"{destination}"
    )
