"""The parts of an export that are converted together: planned, converted, reported.

A task reads some of the data files and writes Parquet files of its own into a staging folder, with
a report last of all: where the report is, the task is done, and a conversion that goes on after a
crash leaves it as it is. Everything here can be sent to another process or machine.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa
import pyarrow.fs

from ddb_pipeline.export.layout import DYNAMODB_JSON, DataFile
from ddb_pipeline.export.read import Open, check_item_count, read_blocks
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.reader import ExportReader, RejectedLine
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.parts import Part, PartOptions, PartWriter

TASK_ITEMS: Final = 200_000
"""Data files with fewer items are put together into one task."""

REJECTED_FOLDER: Final = "_rejected"

OnItems = Callable[[int], None]
"""Told how many items more have been read."""


@dataclass(frozen=True, slots=True)
class Task:
    """Data files that are converted together."""

    number: int
    files: tuple[DataFile, ...]

    @property
    def stem(self) -> str:
        return f"part-{self.number:05d}"

    @property
    def items(self) -> int:
        return sum(file.item_count for file in self.files)


Outcome = TypeVar("Outcome")
Work = Callable[[Task, OnItems], Outcome]


class RunTasks(Protocol):
    """Works on tasks, on this machine or on many; outcomes come in any order."""

    def __call__(
        self, tasks: Sequence[Task], work: Work[Outcome], on_items: OnItems, /
    ) -> Iterator[Outcome]: ...


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What became of a task's items: rows and rejected lines add up to them."""

    number: int
    items: int
    rejected: int
    exact_lines: int
    parts: tuple[Part, ...]

    @property
    def rejected_file(self) -> str | None:
        """The dataset's file of the lines that no row was made of."""
        return f"{REJECTED_FOLDER}/{Task(self.number, ()).stem}.jsonl" if self.rejected else None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "TaskReport":
        document: dict[str, Any] = json.loads(text)
        parts = tuple(Part(**part) for part in document.pop("parts"))
        return cls(**document, parts=parts)


def plan_tasks(files: Sequence[DataFile], task_items: int = TASK_ITEMS) -> tuple[Task, ...]:
    """Data files in their order, small ones together; those without items are read as well, since
    they may not be what the manifest says."""
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
    """Learns types from tasks of one export."""

    open_object: Open
    output_format: str = DYNAMODB_JSON

    def infer(self, task: Task, on_items: OnItems) -> Inference:
        """What the items of a task tell of their types.

        Raises:
            ExportError: a data file is not what the manifest says.
        """
        inference = ExportInference()
        for file in task.files:
            counted = 0
            for block in read_blocks(self.open_object, file, self.output_format):
                before = inference.inference.items
                refused = inference.add(block)
                found = inference.inference.items - before + refused
                on_items(found)
                counted += found
            check_item_count(file, counted)
        return inference.inference


@dataclass(frozen=True, slots=True)
class TaskConverter:
    """Converts tasks of one export into one staging folder."""

    open_object: Open
    columns: tuple[Column, ...]
    filesystem: pyarrow.fs.FileSystem
    staging: str
    options: PartOptions
    output_format: str = DYNAMODB_JSON

    def convert(self, task: Task, on_items: OnItems) -> TaskReport:
        """Convert a task and leave its report.

        Raises:
            ExportError: a data file is damaged, missing or not what the manifest says.
            PartitionError: its rows fall into too many partitions.
        """
        reader = ExportReader(self.columns)
        writer = PartWriter(self.filesystem, self.staging, task.stem, self.options)
        rejected = _RejectedLines(self.filesystem, self.staging, task)
        items = exact_lines = 0
        try:
            for file in task.files:
                counted = 0
                for block in read_blocks(self.open_object, file, self.output_format):
                    rows = reader.rows(block)
                    writer.write(rows.table)
                    rejected.write(file.key, rows.rejected)
                    exact_lines += rows.exact_lines
                    counted += rows.lines
                    on_items(rows.lines)
                check_item_count(file, counted)
                items += counted
        except BaseException:
            writer.abort()
            raise
        finally:
            rejected.close()
        report = TaskReport(task.number, items, rejected.count, exact_lines, tuple(writer.close()))
        self._write(f"_{task.stem}.json", report.to_json().encode())
        return report

    def reports(self) -> Iterator[TaskReport]:
        """Of the tasks that an earlier run has done."""
        selector = pyarrow.fs.FileSelector(self.staging, allow_not_found=True)
        for info in self.filesystem.get_file_info(selector):
            if info.base_name.startswith("_part-") and info.base_name.endswith(".json"):
                with self.filesystem.open_input_stream(info.path) as source:
                    text = source.read()
                try:
                    yield TaskReport.from_json(text)
                except (KeyError, TypeError, ValueError):
                    # Cut short by a crash, or of another version: the task is done again.
                    continue

    def _write(self, name: str, body: bytes) -> None:
        with self.filesystem.open_output_stream(f"{self.staging}/{name}") as sink:
            sink.write(body)


class _RejectedLines:
    """A task's lines that no row was made of, written as they come; no file where there are none.

    JSON lines, each with the line whole (``rawData``, base64) and the reason.
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
