"""``ddb-pipeline vacuum``: remove, or list, the objects of a lake that are not needed any more."""

import json

import click

from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.defs.vacuum import vacuum_pipeline
from ddb_pipeline.lake.removals import VacuumReport
from ddb_pipeline.lake.retention import total_size
from ddb_pipeline.resources.cloud import CloudResource


@click.command("vacuum")
@click.argument("pipeline")
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def vacuum_command(pipeline: str, dry_run: bool, as_json: bool) -> None:
    """Remove objects of a lake that newer ones have replaced.

    PIPELINE is the pipeline's name. Removed are raw objects of hours that are compacted, older
    generations, snapshots past those that stay, converted exports, incremental exports that the
    current view has merged, and replaced snapshots of Iceberg tables with the files that belong to
    no other, each after the time that is configured under [pipelines.retention]. The job vacuum
    does the same once a day.
    """
    settings = load_settings()
    if pipeline not in [each.name for each in settings.pipelines]:
        known = ", ".join(each.name for each in settings.pipelines)
        raise click.UsageError(f"There is no pipeline {pipeline!r}; there are: {known}.")
    report = vacuum_pipeline(
        CloudResource.of(settings), settings.pipeline(pipeline), dry_run=dry_run
    )
    click.echo(json.dumps(members(report, dry_run), indent=2) if as_json else text(report, dry_run))


def members(report: VacuumReport, dry_run: bool) -> dict[str, object]:
    """The report's members of the JSON output."""
    return {
        "dry_run": dry_run,
        "objects": report.objects,
        "bytes": total_size(report.removals),
        "removals": [
            {
                "kind": removal.kind,
                "name": removal.name,
                "reason": removal.reason,
                "objects": len(removal.objects),
                "bytes": removal.size,
            }
            for removal in report.removals
        ],
        "retired_snapshots": report.retired,
        "expired_iceberg_snapshots": report.expired,
        "repaired_partitions": report.repaired,
        "more_to_remove": report.unfinished,
    }


def text(report: VacuumReport, dry_run: bool) -> str:
    """The report for a reader: a line for each removal."""
    lines = [
        f"{removal.kind:<12} {removal.name:<34} {len(removal.objects):>7,} objects "
        f"{removal.size:>14,} bytes: {removal.reason}"
        for removal in report.removals
    ]
    lines += [f"snapshot     {each}: its partition is removed" for each in report.retired]
    lines += [f"iceberg      {each}: another one has replaced it" for each in report.expired]
    lines += [f"partition    {each}: it names its generation again" for each in report.repaired]
    verb = "Would remove" if dry_run else "Removed"
    total = f"{report.objects:,} objects, {total_size(report.removals):,} bytes"
    rest = " There is more; run it again." if report.unfinished else ""
    return "\n".join([*lines, f"{verb} {total}.{rest}"])
