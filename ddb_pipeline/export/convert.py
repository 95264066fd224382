"""An export converted to a Parquet dataset, task by task, and published when it is complete.

    from ddb_pipeline.export.convert import convert_export
    from ddb_pipeline.export.source import open_export
    from ddb_pipeline.parquet.publish import Destination

    open_object, export = open_export(filesystem, "exports/AWSDynamoDB/0177...")
    columns = [("id", "string"), ("total", "decimal(12,2)"), ("tags", "array<string>")]
    converted = convert_export(open_object, export, columns, Destination(filesystem, "orders"))

Tasks (``export.tasks``) are converted to a staging folder. The dataset is published when all of
them are complete and the rows and the rejected lines add up to the number of items.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import Final

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.manifest import Open
from ddb_pipeline.export.rows.changes import CHANGE_COLUMNS
from ddb_pipeline.export.tasks import (
    ReportItems,
    Result,
    RunTasks,
    Task,
    TaskConverter,
    TaskInference,
    TaskReport,
    Work,
    plan_tasks,
)
from ddb_pipeline.hive.infer import Inference, merge
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.parts import Part, PartOptions, total_rows
from ddb_pipeline.parquet.publish import Destination, publish, published, sole_writer, writing_to

Columns = Sequence[Column | tuple[str, str]]
DEFAULT_OPTIONS: Final = PartOptions()


class ConversionFailedError(DdbPipelineError):
    """The converted items do not add up; nothing was published."""


@dataclass(frozen=True, slots=True)
class ConvertedExport:
    """A published dataset.

    Attributes:
        items: number of items in the export.
        rows: number of rows in the dataset.
        rejected: lines that could not be converted; ``_rejected`` has them with the reasons.
        exact_lines: lines that were read by the exact path.
        parts: the Parquet files.
        resumed_tasks: tasks that an earlier run had completed.
    """

    items: int
    rows: int
    rejected: int
    exact_lines: int
    parts: tuple[Part, ...]
    resumed_tasks: int

    @property
    def size(self) -> int:
        """Size of the Parquet files in bytes."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a conversion or an inference: what is done of the total."""

    items: int
    total_items: int
    tasks: int
    total_tasks: int


OnProgress = Callable[[Progress], None]
"""Called from several threads, by one at a time."""


def infer_export(
    open_object: Open,
    export: Export,
    *,
    workers: int | None = None,
    run_tasks: RunTasks | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Inference:
    """Infer types from all items of an export. The arguments are those of ``convert_export``.

    The items of an incremental export are the new images, and the keys of deleted items.

    Raises:
        ExportError: a data file differs from the manifest.
    """
    tasks = plan_tasks(export.files)
    counter = _Counter(export, len(tasks), on_progress)
    found = Inference.empty()
    inference = TaskInference(open_object, export.format, export.summary.incremental)
    infer = Work(inference.infer, Inference.from_json)
    for one in (run_tasks or in_threads(workers))(tasks, infer, counter.add_items):
        counter.add_task()
        found = merge(found, one)
    return found


def convert_export(
    open_object: Open,
    export: Export,
    columns: Columns,
    destination: Destination,
    *,
    options: PartOptions = DEFAULT_OPTIONS,
    decisions: TypeDecisions = NO_DECISIONS,
    workers: int | None = None,
    run_tasks: RunTasks | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> ConvertedExport:
    """Convert an export to a Parquet dataset.

    Each item becomes a row with exact values, or a rejected line with the reason. A repeated call
    resumes an interrupted conversion, and changes nothing if the dataset is already published.

    An incremental export becomes a row for each changed item, with ``CHANGE_COLUMNS`` after the
    item's own; for a deleted item only the key's columns and these have values.

    Args:
        columns: the columns of the items.
        decisions: what is decided about values of several types.
        workers: number of threads; by default the number of cores.
        run_tasks: runs the tasks elsewhere than in threads of this process.

    Raises:
        ExportError: a data file is damaged or missing.
        ConversionFailedError: rows and rejected lines do not add up to the items.
        PublishError: the destination folder is not empty, and holds another dataset.
        NoParquetTypeError, HiveTypeError: a column's type is invalid.
    """
    named = tuple(Column(*column) for column in columns)
    fingerprint = _fingerprint(export, named, options, decisions)
    with writing_to(destination), sole_writer(destination, fingerprint):
        already = _published(destination, fingerprint)
        if already is not None:
            return already
        filesystem, staging = destination.filesystem, destination.staging(fingerprint)
        work = TaskConverter(
            open_object,
            named,
            filesystem,
            staging,
            options,
            export.format,
            export.summary.incremental,
            decisions,
        )
        run = run_tasks or in_threads(workers)
        resumed, reports = _all_reports(export, work, run, on_progress)
        converted = _summed(export, reports, resumed)
        publish(destination, fingerprint, _dataset_files(reports), asdict(converted))
    return converted


def published_export(
    export: Export,
    columns: Columns,
    destination: Destination,
    *,
    options: PartOptions = DEFAULT_OPTIONS,
    decisions: TypeDecisions = NO_DECISIONS,
) -> ConvertedExport | None:
    """What ``convert_export`` published with the same arguments; None if it has not.

    Raises:
        PublishError: the destination holds something else.
    """
    named = tuple(Column(*column) for column in columns)
    with writing_to(destination):
        return _published(destination, _fingerprint(export, named, options, decisions))


def _published(destination: Destination, fingerprint: str) -> ConvertedExport | None:
    details = published(destination, fingerprint)
    if details is None:
        return None
    parts = tuple(Part(**part) for part in details.pop("parts"))
    return replace(ConvertedExport(**details, parts=parts), resumed_tasks=0)


def _all_reports(
    export: Export, converter: TaskConverter, run_tasks: RunTasks, on_progress: OnProgress
) -> tuple[int, list[TaskReport]]:
    """Run the tasks that an earlier run did not complete.

    Returns:
        The number of tasks that were complete before, and the reports of all tasks in order.
    """
    tasks = plan_tasks(export.files)
    counter = _Counter(export, len(tasks), on_progress)
    converter.filesystem.create_dir(converter.staging, recursive=True)
    by_number = {task.number: task for task in tasks}
    reports = {
        report.number: report
        for report in converter.reports()
        if report.number in by_number and report.is_of(by_number[report.number])
    }
    for report in reports.values():
        counter.add_items(report.items)
        counter.add_task()
    resumed = len(reports)
    left = [task for task in tasks if task.number not in reports]
    convert = Work(converter.convert, TaskReport.from_json)
    for report in run_tasks(left, convert, counter.add_items):
        reports[report.number] = report
        counter.add_task()
    return resumed, [reports[task.number] for task in tasks]


def in_threads(workers: int | None = None) -> RunTasks:
    """Runs tasks in threads of this process: ``workers``, or one for each core.

    After an error no further task is started, and the error is raised when the running ones end.
    """

    def run(
        tasks: Sequence[Task], work: Work[Result], report_items: ReportItems
    ) -> Iterator[Result]:
        count = max(1, min(workers or available_cores(), len(tasks)))
        with ThreadPoolExecutor(count, thread_name_prefix="export") as pool:
            futures = [pool.submit(work.run, task, report_items) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    return run


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Counter:
    """Sums up the progress of several threads."""

    def __init__(self, export: Export, total_tasks: int, on_progress: OnProgress) -> None:
        self._progress = Progress(0, export.summary.item_count, 0, total_tasks)
        self._on_progress = on_progress
        self._lock = threading.Lock()

    def add_items(self, items: int) -> None:
        with self._lock:
            self._progress = replace(self._progress, items=self._progress.items + items)
            self._on_progress(self._progress)

    def add_task(self) -> None:
        with self._lock:
            self._progress = replace(self._progress, tasks=self._progress.tasks + 1)
            self._on_progress(self._progress)


def _dataset_files(reports: Sequence[TaskReport]) -> list[str]:
    files = [part.path for report in reports for part in report.parts]
    return files + [report.rejected_file for report in reports if report.rejected_file]


def _summed(export: Export, reports: Sequence[TaskReport], resumed: int) -> ConvertedExport:
    parts = tuple(part for report in reports for part in report.parts)
    converted = ConvertedExport(
        items=sum(report.items for report in reports),
        rows=total_rows(parts),
        rejected=sum(report.rejected for report in reports),
        exact_lines=sum(report.exact_lines for report in reports),
        parts=parts,
        resumed_tasks=resumed,
    )
    expected = export.summary.item_count
    if not (converted.items == expected == converted.rows + converted.rejected):
        raise ConversionFailedError(
            f"The manifest states {expected} items. The data files have {converted.items}, of "
            f"which {converted.rows} became rows and {converted.rejected} were rejected. Nothing "
            "was published. Export again, or report this."
        )
    return converted


def _fingerprint(
    export: Export, columns: Sequence[Column], options: PartOptions, decisions: TypeDecisions
) -> str:
    """Identifies a conversion: equal for equal data files, columns, options and decisions."""
    changes = CHANGE_COLUMNS if export.summary.incremental else ()
    document = {
        "export": [list(file) for file in export.files],
        "columns": [list(column) for column in (*columns, *changes)],
        "options": asdict(options),
        **({"decisions": decisions.text} if decisions else {}),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
