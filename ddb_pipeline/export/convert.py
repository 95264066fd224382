"""A whole export to a Parquet dataset: its data files side by side, published at once.

    from ddb_pipeline.export.convert import convert_export, infer_export
    from ddb_pipeline.export.source import open_export
    from ddb_pipeline.parquet.publish import Destination

    open_object, export = open_export(filesystem, "exports/AWSDynamoDB/0177...")
    columns = [("id", "string"), ("total", "decimal(12,2)"), ("tags", "array<string>")]
    conversion = convert_export(open_object, export, columns, Destination(filesystem, "orders"))

Tasks of one or several data files are converted into a staging folder, each leaving a report, so
that a conversion that was stopped goes on where it was. When all are done and every item is
accounted for, the dataset is published.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.read import MalformedExportError, Open
from ddb_pipeline.export.tasks import (
    OnItems,
    Outcome,
    RunTasks,
    Task,
    TaskConverter,
    TaskInference,
    TaskReport,
    Work,
    plan_tasks,
)
from ddb_pipeline.hive.infer import Inference, merge
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.parts import Part, PartOptions, total_rows
from ddb_pipeline.parquet.publish import Destination, publish, published, sole_writer

Columns = Sequence[Column | tuple[str, str]]


class ConversionFailedError(DdbPipelineError):
    """An export could not be converted; nothing was published. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ConvertedExport:
    """A dataset that was published.

    Attributes:
        items: in the export.
        rows: in the dataset.
        rejected: lines that no row was made of, kept under ``_rejected`` with the reasons.
        exact_lines: rows that were read one by one.
        resumed_tasks: tasks that an earlier run had done.
    """

    items: int
    rows: int
    rejected: int
    exact_lines: int
    parts: tuple[Part, ...]
    resumed_tasks: int

    @property
    def size(self) -> int:
        """Bytes of Parquet."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a conversion is; told from several threads, one at a time."""

    items: int
    total_items: int
    tasks: int
    total_tasks: int


OnProgress = Callable[[Progress], None]


def infer_export(
    open_object: Open,
    export: Export,
    *,
    workers: int | None = None,
    run_tasks: RunTasks | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Inference:
    """What all items of a full export tell of their types; arguments as ``convert_export``'s.

    Raises:
        ExportError: a data file is not what the manifest says, or the export is incremental.
    """
    _require_full(export)
    tasks = plan_tasks(export.files)
    counter = _Counter(export, len(tasks), on_progress)
    found = Inference.empty()
    work = TaskInference(open_object, export.summary.output_format)
    for one in (run_tasks or side_by_side(workers))(tasks, work.infer, counter.add):
        counter.done()
        found = merge(found, one)
    return found


def convert_export(
    open_object: Open,
    export: Export,
    columns: Columns,
    destination: Destination,
    *,
    options: PartOptions | None = None,
    workers: int | None = None,
    run_tasks: RunTasks | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> ConvertedExport:
    """Convert a full export to a Parquet dataset.

    Each item becomes a row by ``columns``, exactly, or a rejected line with its reason. The same
    call again goes on with what is left, and does nothing where all was done.

    Args:
        open_object: opens the export's objects by their keys.
        columns: of the dataset, as names and Hive types.
        destination: a folder that does not exist yet or is empty.
        workers: tasks converted side by side; as many as there are cores if not given.
        run_tasks: converts the tasks instead of this process's threads.

    Raises:
        ExportError: a data file is damaged or missing, or the export is incremental.
        ConversionFailedError: items do not add up.
        PublishError: the destination holds something else.
        NoParquetTypeError, HiveTypeError: a column cannot be written.
    """
    _require_full(export)
    options = options or PartOptions()
    names = tuple(Column(*column) for column in columns)
    fingerprint = _fingerprint(export, names, options)
    with sole_writer(destination, fingerprint):
        done = _published(destination, fingerprint)
        if done is not None:
            return done
        converter = TaskConverter(
            open_object,
            names,
            destination.filesystem,
            destination.staging(fingerprint),
            options,
            export.summary.output_format,
        )
        tasks = plan_tasks(export.files)
        counter = _Counter(export, len(tasks), on_progress)
        resumed, reports = _all_reports(
            tasks, converter, run_tasks or side_by_side(workers), counter
        )
        conversion = _summed(export, reports, resumed)
        files = [part.path for part in conversion.parts]
        files += [report.rejected_file for report in reports if report.rejected_file]
        publish(destination, fingerprint, files, asdict(conversion))
    return conversion


def published_conversion(
    export: Export,
    columns: Columns,
    destination: Destination,
    *,
    options: PartOptions | None = None,
) -> ConvertedExport | None:
    """What :func:`convert_export` by these arguments has published; None where it has not yet.

    Raises:
        PublishError: the destination holds something else.
    """
    names = tuple(Column(*column) for column in columns)
    return _published(destination, _fingerprint(export, names, options or PartOptions()))


def _published(destination: Destination, fingerprint: str) -> ConvertedExport | None:
    told = published(destination, fingerprint)
    if told is None:
        return None
    parts = tuple(Part(**part) for part in told.pop("parts"))
    return replace(ConvertedExport(**told, parts=parts), resumed_tasks=0)


def _all_reports(
    tasks: Sequence[Task], converter: TaskConverter, run_tasks: RunTasks, counter: "_Counter"
) -> tuple[int, list[TaskReport]]:
    """How many tasks an earlier run had done, and the reports of all in the tasks' order."""
    converter.filesystem.create_dir(converter.staging, recursive=True)
    done = {report.number: report for report in converter.reports()}
    for report in done.values():
        counter.add(report.items)
        counter.done()
    resumed = len(done)
    left = [task for task in tasks if task.number not in done]
    for report in run_tasks(left, converter.convert, counter.add):
        done[report.number] = report
        counter.done()
    return resumed, [done[task.number] for task in tasks]


def _require_full(export: Export) -> None:
    if export.summary.incremental:
        raise MalformedExportError(
            export.summary.manifest_files_key,
            "the export is incremental: it has changes, of which no table can be made alone. "
            "Give a full export.",
        )


def side_by_side(workers: int | None = None) -> RunTasks:
    """Work on tasks by threads of this process, as many as there are cores if not given.

    The first error ends it, once what runs is done.
    """

    def run(tasks: Sequence[Task], work: Work[Outcome], on_items: OnItems) -> Iterator[Outcome]:
        count = max(1, min(workers or available_cores(), len(tasks) or 1))
        with ThreadPoolExecutor(count, thread_name_prefix="export") as pool:
            futures = [pool.submit(work, task, on_items) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    return run


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Counter:
    """Adds up progress of several threads."""

    def __init__(self, export: Export, total_tasks: int, on_progress: OnProgress) -> None:
        self._progress = Progress(0, export.summary.item_count, 0, total_tasks)
        self._on_progress = on_progress
        self._lock = threading.Lock()

    def add(self, items: int) -> None:
        self._tell(items, 0)

    def done(self) -> None:
        self._tell(0, 1)

    def _tell(self, items: int, tasks: int) -> None:
        with self._lock:
            now = self._progress
            self._progress = replace(now, items=now.items + items, tasks=now.tasks + tasks)
            self._on_progress(self._progress)


def _summed(export: Export, reports: Sequence[TaskReport], resumed: int) -> ConvertedExport:
    parts = tuple(part for report in reports for part in report.parts)
    conversion = ConvertedExport(
        items=sum(report.items for report in reports),
        rows=total_rows(parts),
        rejected=sum(report.rejected for report in reports),
        exact_lines=sum(report.exact_lines for report in reports),
        parts=parts,
        resumed_tasks=resumed,
    )
    promised = export.summary.item_count
    if not (conversion.items == promised == conversion.rows + conversion.rejected):
        raise ConversionFailedError(
            f"The manifest has {promised} items, the data files {conversion.items}, of which "
            f"{conversion.rows} became rows and {conversion.rejected} were rejected. Nothing was "
            "published; export again, or report this."
        )
    return conversion


def _fingerprint(export: Export, columns: Sequence[Column], options: PartOptions) -> str:
    told = {
        "export": [list(file) for file in export.files],
        "columns": [list(column) for column in columns],
        "options": asdict(options),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
