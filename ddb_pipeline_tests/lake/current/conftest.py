"""Views of one table in a folder, and Parquet of its changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import Manifest, Snapshot
from ddb_pipeline.lake.current.sources import Kind, ParquetPart
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import LocalStore, Store
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.current.update import Request, Updated, update

KEY = (KeyAttribute("id", "S"),)
BASE = 1_780_000_000_000_000
"""Time of the full export in microseconds of the epoch."""
HOUR = 3_600_000_000
Row = Mapping[str, Any]


class ViewOfItems:
    """A view of items, such as ``{"id": "a", "n": 1}``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view = folder / "view"
        self.store: Store = LocalStore(str(self.view))
        self.run_steps: Any = here
        self._files = 0

    def part(self, rows: Sequence[Row], kind: Kind, schema: pa.Schema | None = None) -> ParquetPart:
        """A file of items, or of changes with ``at`` (hours) and perhaps ``gone``."""
        self._files += 1
        path = self.folder / f"rows-{self._files}.parquet"
        pq.write_table(
            as_changes(rows, schema) if kind == "changes" else as_items(rows, schema), path
        )
        return ParquetPart(pyarrow.fs.LocalFileSystem(), str(path), kind, len(rows), KEY, BASE)

    def full(self, rows: Sequence[Row], columns: Sequence[Column], **options: Any) -> Updated:
        """Build the view from items."""
        source = self.part(rows, "items")
        snapshot = Snapshot("full", BASE)
        return self.apply(lambda _: (source,), columns, snapshot, replaces=True, **options)

    def change(self, rows: Sequence[Row], columns: Sequence[Column], **options: Any) -> Updated:
        """Merge changes."""
        source = self.part(rows, "changes")
        return self.apply(lambda _: (source,), columns, None, **options)

    def apply(
        self,
        sources: Callable[[Manifest], tuple[ParquetPart, ...]],
        columns: Sequence[Column],
        snapshot: Snapshot | None,
        *,
        as_of: int = BASE + 48 * HOUR,
        **options: Any,
    ) -> Updated:
        def plan(state: Manifest) -> Request:
            manifest = replace(
                state,
                key=KEY,
                columns=joined_columns(state.columns, columns).columns,
                snapshot=snapshot or state.snapshot,
                as_of=as_of,
            )
            return Request(manifest, sources(state), **options)

        return update(self.store, plan, self.run_steps)

    def rows(self) -> dict[str, Any]:
        """The items by id, without the columns of origin."""
        table = ds.dataset(self.view, partitioning="hive").to_table()
        return {
            row["id"]: {
                name: value
                for name, value in row.items()
                if not name.startswith("ddb_") and name != "key_bucket"
            }
            for row in table.to_pylist()
        }

    def files(self) -> dict[str, float]:
        """The Parquet files with the times at which they were written."""
        return {
            str(path.relative_to(self.view)): path.stat().st_mtime_ns
            for path in self.view.rglob("*.parquet")
        }


def as_items(rows: Sequence[Row], schema: pa.Schema | None) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema)


def as_changes(rows: Sequence[Row], schema: pa.Schema | None) -> pa.Table:
    items = [{n: v for n, v in row.items() if n not in ("at", "gone")} for row in rows]
    table = pa.Table.from_pylist(items, schema)
    times = pa.array([int(BASE + row["at"] * HOUR) for row in rows]).cast(pa.timestamp("us"))
    names = ["REMOVE" if row.get("gone") else "UPSERT" for row in rows]
    table = table.append_column("ddb_keys", pa.array([f'{{"id":"{r["id"]}"}}' for r in rows]))
    table = table.append_column("ddb_event_name", pa.array(names))
    return table.append_column("ddb_write_time", times)


@pytest.fixture
def items(tmp_path: Path) -> ViewOfItems:
    return ViewOfItems(tmp_path)
