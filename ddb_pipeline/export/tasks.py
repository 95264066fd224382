"""Tasks: groups of an export's data files that are converted together.

A task writes its Parquet files to a staging folder and its report last. A task with a report is
complete: a conversion that is resumed after a crash does not repeat it. All objects here can be
sent to another process or machine.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.export.layout import DYNAMODB_JSON, DataFile
from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.manifest import Open
from ddb_pipeline.export.read import check_item_count, read_blocks
from ddb_pipeline.export.rows.changes import ChangeInference, ChangeReader
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.parts import Part, PartOptions, PartWriter

TASK_ITEMS: Final = 200_000
"""Data files are added to a task until it has at least this many items."""

SMALL_TASK_ITEMS: Final = 50_000
"""As ``TASK_ITEMS``, where an export would be fewer tasks than a machine has cores."""

FEW_TASKS: Final = 8

REJECTED_FOLDER: Final = "_rejected"

ReportItems = Callable[[int], None]
"""Called with the number of items that were read since the last call."""


@dataclass(frozen=True, slots=True)
class Task:
    """Data files that are converted together.

    Attributes:
        number: position of the task in the export, from 0.
    """

    number: int
    files: tuple[DataFile, ...]

    @property
    def stem(self) -> str:
        """Start of the names of the files that the task writes."""
        return f"part-{self.number:05d}"

    @property
    def items(self) -> int:
        """Number of items according to the manifest."""
        return sum(file.item_count for file in self.files)


class JsonResult(Protocol):
    """A result that can be passed from one process to another."""

    def to_json(self) -> str:
        """The result as JSON text."""
        ...


Result = TypeVar("Result", bound=JsonResult)


@dataclass(frozen=True, slots=True)
class Work(Generic[Result]):
    """What is done with each task.

    Attributes:
        run: does it.
        read: a result from its JSON text.
    """

    run: Callable[[Task, ReportItems], Result]
    read: Callable[[str], Result]


class RunTasks(Protocol):
    """Runs work on tasks, on one machine or several, and yields the results in any order."""

    def __call__(
        self, tasks: Sequence[Task], work: Work[Result], report_items: ReportItems, /
    ) -> Iterator[Result]: ...


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The result of a converted task.

    Attributes:
        items: all lines; each is a row of ``parts`` or a rejected line.
        rejected: lines that could not be converted.
        exact_lines: lines that were read by the exact path.
        files: keys of the data files.
    """

    number: int
    items: int
    rejected: int
    exact_lines: int
    parts: tuple[Part, ...]
    files: tuple[str, ...] = ()

    def is_of(self, task: Task) -> bool:
        """Whether the task's data files are those that were converted."""
        return self.number == task.number and self.files == tuple(file.key for file in task.files)

    @property
    def rejected_file(self) -> str | None:
        """Path in the dataset of the file with the rejected lines."""
        return f"{REJECTED_FOLDER}/{Task(self.number, ()).stem}.jsonl" if self.rejected else None

    def to_json(self) -> str:
        """The report as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "TaskReport":
        """A report from the text that ``to_json`` returned.

        Raises:
            KeyError, TypeError, ValueError: it is another text.
        """
        document: dict[str, Any] = json.loads(text)
        parts = tuple(Part(**part) for part in document.pop("parts"))
        files = tuple(document.pop("files", ()))
        return cls(**document, parts=parts, files=files)


def plan_tasks(files: Sequence[DataFile], task_items: int | None = None) -> tuple[Task, ...]:
    """Group data files, in their order, into tasks.

    Data files without items are included: that they are empty is verified when they are read.

    Args:
        task_items: data files are added to a task until it has at least this many items; by default
            ``TASK_ITEMS``, and fewer if that makes few tasks.
    """
    if task_items is None:
        share = sum(file.item_count for file in files) // FEW_TASKS
        task_items = min(TASK_ITEMS, max(SMALL_TASK_ITEMS, share))
    tasks: list[Task] = []
    gathered: list[DataFile] = []
    items = 0
    for file in files:
        gathered.append(file)
        items += file.item_count
        if items >= task_items:
            tasks.append(Task(len(tasks), tuple(gathered)))
            gathered, items = [], 0
    if gathered:
        tasks.append(Task(len(tasks), tuple(gathered)))
    return tuple(tasks)


@dataclass(frozen=True, slots=True)
class TaskInference:
    """Infers types from tasks of one export."""

    open_object: Open
    output_format: str = DYNAMODB_JSON
    incremental: bool = False

    def infer(self, task: Task, report_items: ReportItems) -> Inference:
        """Infer the types of a task's items.

        Raises:
            ExportError: a data file is damaged, missing or differs from the manifest.
        """
        inference = ChangeInference() if self.incremental else ExportInference()
        for file in task.files:
            counted = 0
            for block, rejected in read_blocks(self.open_object, file, self.output_format):
                before = inference.items
                refused = inference.add(block) + len(rejected)
                found = inference.items - before + refused
                report_items(found)
                counted += found
            check_item_count(file, counted)
        return inference.inference


@dataclass(frozen=True, slots=True)
class TaskConverter:
    """Converts tasks of one export into one staging folder.

    Attributes:
        columns: the columns of the items; those of changes are added for an incremental export.
        decisions: what is decided about values of several types.
    """

    open_object: Open
    columns: tuple[Column, ...]
    filesystem: pyarrow.fs.FileSystem
    staging: str
    options: PartOptions
    output_format: str = DYNAMODB_JSON
    incremental: bool = False
    decisions: TypeDecisions = NO_DECISIONS

    def convert(self, task: Task, report_items: ReportItems) -> TaskReport:
        """Convert a task and write its report.

        Raises:
            ExportError: a data file is damaged, missing or differs from the manifest.
        """
        kind = ChangeReader if self.incremental else ExportReader
        reader = kind(self.columns, self.options.partition_by, self.decisions)
        writer = PartWriter(self.filesystem, self.staging, task.stem, self.options)
        rejected = _RejectedLines(self.filesystem, self.staging, task)
        items = exact_lines = 0
        try:
            for file in task.files:
                counted = 0
                for block, refused in read_blocks(self.open_object, file, self.output_format):
                    rows = reader.rows(block)
                    writer.write(rows.table)
                    rejected.write(file.key, refused + rows.rejected)
                    exact_lines += rows.exact_lines
                    read = rows.lines + len(refused)
                    counted += read
                    report_items(read)
                check_item_count(file, counted)
                items += counted
        except BaseException:
            writer.abort()
            raise
        finally:
            rejected.close()
        keys = tuple(file.key for file in task.files)
        parts = tuple(writer.close())
        report = TaskReport(task.number, items, rejected.count, exact_lines, parts, keys)
        self._write(f"_{task.stem}.json", report.to_json().encode())
        return report

    def reports(self) -> Iterator[TaskReport]:
        """The reports of tasks that an earlier run completed."""
        selector = pyarrow.fs.FileSelector(self.staging, allow_not_found=True)
        for info in self.filesystem.get_file_info(selector):
            if info.base_name.startswith("_part-") and info.base_name.endswith(".json"):
                with self.filesystem.open_input_stream(info.path) as source:
                    text = source.read()
                try:
                    yield TaskReport.from_json(text)
                except (KeyError, TypeError, ValueError):
                    # Truncated by a crash, or of another version: the task is run again.
                    continue

    def _write(self, name: str, body: bytes) -> None:
        with self.filesystem.open_output_stream(f"{self.staging}/{name}") as sink:
            sink.write(body)


class _RejectedLines:
    """The file of a task's rejected lines, created with the first of them.

    Each line of the file is a JSON object with the complete rejected line (``rawData``, base64)
    and the reason.
    """

    def __init__(self, filesystem: pyarrow.fs.FileSystem, staging: str, task: Task) -> None:
        self._filesystem = filesystem
        self._path = f"{staging}/{REJECTED_FOLDER}/{task.stem}.jsonl"
        self._sink: pa.NativeFile | None = None
        self.count = 0

    def write(self, key: str, lines: Sequence[RejectedLine]) -> None:
        for line in lines:
            if self._sink is None:
                self._filesystem.create_dir(self._path.rpartition("/")[0], recursive=True)
                self._sink = self._filesystem.open_output_stream(self._path)
            document = {
                "dataFile": key,
                "path": line.path,
                "reason": line.reason,
                "rawData": b64encode(line.line).decode("ascii"),
            }
            self._sink.write(json.dumps(document).encode() + b"\n")
            self.count += 1

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
