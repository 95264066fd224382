"""Exports in local folders, and what they are converted to."""

import json
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.fs

from ddb_pipeline.export.convert import ConvertedExport, convert_export
from ddb_pipeline.export.layout import Export, write_export
from ddb_pipeline.export.source import ExportFolder, open_export
from ddb_pipeline.parquet.publish import Destination

LOCAL = pyarrow.fs.LocalFileSystem()
NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/logs"

COLUMNS = [
    ("id", "string"),
    ("n", "bigint"),
    ("total", "decimal(12,2)"),
    ("tags", "array<string>"),
    ("day", "string"),
    ("note", "string"),
]


def order(number: int) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": {"S": f"order {number:06d}"},
        "n": {"N": str(number)},
        "total": {"N": f"{number}.25"},
        "tags": {"SS": ["a", f"t{number % 7}"]},
        "day": {"S": f"2026-11-{1 + number % 28:02d}T10:00:00Z"},
    }
    if number % 3 == 0:
        item["note"] = {"S": "café"}
    return item


def write_local_export(folder: Path, items: Iterable[Any], *, files: int = 4) -> Path:
    """The export's own folder."""

    def put(key: str, body: bytes) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    export = write_export(
        items, put, table_arn=ARN, bucket="b", export_time=NOW, now=lambda: NOW, files=files
    )
    return folder / export.summary.manifest_files_key.rpartition("/")[0]


def opened(folder: Path) -> tuple[ExportFolder, Export]:
    return open_export(LOCAL, str(folder))


def converted(source: Path, target: Path, **options: Any) -> ConvertedExport:
    return convert_export(*opened(source), COLUMNS, Destination(LOCAL, str(target)), **options)


def visible(target: Path) -> list[str]:
    """What a reader sees: Spark, Hive and Athena skip names that begin with _ or a dot."""
    paths = (path.relative_to(target) for path in target.rglob("*.parquet"))
    return sorted(str(p) for p in paths if not any(part[0] in "_." for part in p.parts))


def rows_of(target: Path) -> list[dict[str, Any]]:
    table = pyarrow.dataset.dataset(target, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["n"])


def rejected_lines(dataset: Path) -> list[dict[str, Any]]:
    files = sorted((dataset / "_rejected").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
