"""``ddb-pipeline demo``: the whole flow on the embedded AWS, from a terminal."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ddb_pipeline.cli.demo_run import Demo, DemoResult, demo_settings, fresh_home
from ddb_pipeline.config.settings import Settings, load_settings


@click.command()
@click.option(
    "--items",
    default=5000,
    show_default=True,
    type=click.IntRange(min=50),
    help="Number of items to write.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Seed of the random items; equal seeds produce equal searches.",
)
@click.option(
    "--delivery-schema",
    type=click.Choice(["crawled", "lake"]),
    default="crawled",
    show_default=True,
    help="The table from which Firehose reads the schema. With crawled, records fail and are "
    "redelivered; with lake, a new crawl makes no record fail.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo(items: int, seed: int, delivery_schema: str, as_json: bool) -> None:
    """Run the whole flow on the embedded AWS.

    Writes generated search logs to a DynamoDB table, streams them to Parquet, crawls and repairs
    the schema, redelivers the records that failed, and compares the rows with the items.

    The exit status is 1 if an item was lost.
    """
    settings = demo_settings(load_settings(), delivery_schema)
    console = Console(stderr=True)
    with (
        fresh_home(settings.home),
        progress(console, quiet=as_json) as on_stage,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        result = Demo(settings, seed=seed, on_stage=on_stage).run(items, instance)
    click.echo(json.dumps(asdict(result)) if as_json else summary(result, settings))
    if result.lost:
        sys.exit(1)


@contextmanager
def progress(console: Console, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per stage on a terminal, a line per stage elsewhere, nothing if quiet."""
    if quiet:
        yield lambda stage, done, total: None
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ) as bars:
            yield StageBars(bars)
    else:
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                console.print(f"{stage} ...")

        yield line


class StageBars:
    """One progress bar for each stage; a stage is complete when the next one starts."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            for task in self._bars.tasks:
                self._bars.update(task.id, completed=task.total or task.completed)
                self._bars.stop_task(task.id)
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)


def summary(result: DemoResult, settings: Settings) -> str:
    """The result as text."""
    sets = {name: text for name, text in result.schema_before.items() if "set<" in text}
    lines = [
        f"{result.items_written} items written, {result.rows} rows in Parquet, "
        f"{result.lost} lost, {result.duplicated} duplicated.",
        f"{result.failed_before_fix} records failed before the schema was repaired; "
        f"{result.redelivered} of them are rows now.",
        f"{result.held} records were held until each attribute had a column.",
        *(f"  {count:>8} {code}" for code, count in sorted(result.failure_codes.items())),
        f"{result.runs} Dagster run(s) repaired the schema and redelivered records.",
        "Types that the crawler wrote (-), and that the repair made of them (+):",
    ]
    for name, text in sorted(sets.items()):
        lines += [f"  - {name}: {text}", f"  + {name}: {result.schema_after[name]}"]
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.seconds.items())
    lines.append(f"Seconds: {stages}.")
    folder = Path(result.parquet_paths[0]).parents[2] if result.parquet_paths else settings.home
    lines.append(f"Parquet: {folder} ({len(result.parquet_paths)} files)")
    return "\n".join(lines)
