"""Blocks of an incremental export's lines to rows: the item's columns, and those of the change.

The item is the new image, or the key of a deleted item. It is converted as the items of full
exports are (``export.rows.reader``).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.rows.change_lines import ChangeLines, divided, keyed_items
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.key_texts import KeyTexts
from ddb_pipeline.export.rows.reader import ExportReader, Numbers, Rows
from ddb_pipeline.hive.infer import Inference
from ddb_pipeline.hive.names import EVENT_NAME, KEYS, WRITE_TIME
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.parquet.partition_by import PartitionBy

UPSERT: Final = "UPSERT"
REMOVE: Final = "REMOVE"
CHANGE_COLUMNS: Final = (
    Column(KEYS, "string"),
    Column(EVENT_NAME, "string"),
    Column(WRITE_TIME, "timestamp"),
)
"""Columns of each change, after those of the item: the key's canonical text, ``UPSERT`` or
``REMOVE``, and when the item was last written in the window."""


class ChangeReader:
    """Converts blocks of an incremental export's lines to rows. Not thread-safe.

    Attributes:
        schema: the columns given, and ``CHANGE_COLUMNS``.
    """

    def __init__(
        self,
        columns: Sequence[Column | tuple[str, str]],
        partition_by: PartitionBy | None = None,
        decisions: TypeDecisions = NO_DECISIONS,
    ) -> None:
        self._reader = ExportReader(columns, partition_by, decisions)
        self._keys = KeyTexts()
        self.schema = arrow_schema([*columns, *CHANGE_COLUMNS])

    def rows(self, block: bytes) -> Rows:
        """The rows of a block of whole lines; the last line may lack its newline."""
        return self.rows_of(divided(block))

    def rows_of(self, changes: ChangeLines) -> Rows:
        """The rows of changes whose lines are divided."""
        texts, errors = self._keys.texts(changes.keys)
        rows = self._reader.rows(changes.item_block())
        rejected = dict(zip(rows.rejected_numbers, rows.rejected, strict=True))
        for number, error in errors.items():
            rejected.setdefault(number, RejectedLine(b"", error.path, error.reason))
        kept = np.isin(rows.numbers, list(errors), invert=True) if errors else None
        table, numbers = rows.table, rows.numbers
        if kept is not None:
            table, numbers = table.filter(pa.array(kept)), numbers[kept]
        all_rejected = {
            changes.numbers[number]: replace(line, line=changes.lines[number])
            for number, line in rejected.items()
        } | changes.rejected
        return Rows(
            table=self._with_changes(table, changes, texts, numbers),
            rejected=tuple(all_rejected.values()),
            exact_lines=rows.exact_lines,
            numbers=np.array(changes.numbers, np.int64)[numbers],
            rejected_numbers=tuple(all_rejected),
        )

    def _with_changes(
        self, table: pa.Table, changes: ChangeLines, keys: pa.StringArray, numbers: Numbers
    ) -> pa.Table:
        names = pa.array([UPSERT if image is not None else REMOVE for image in changes.images])
        times = pa.array(changes.micros, pa.int64()).cast(pa.timestamp("us"))
        columns = [column.take(pa.array(numbers)) for column in (keys, names, times)]
        return pa.Table.from_arrays([*table.columns, *columns], schema=self.schema)


class KeyedItemReader:
    """Converts blocks of a full export's lines to rows as ``ChangeReader`` does. Not thread-safe.

    Each item is an ``UPSERT`` at one time.

    Attributes:
        schema: the columns given, and ``CHANGE_COLUMNS``.
    """

    def __init__(
        self,
        columns: Sequence[Column | tuple[str, str]],
        key_names: Sequence[str],
        write_micros: int,
        decisions: TypeDecisions = NO_DECISIONS,
    ) -> None:
        """
        Args:
            key_names: the attributes of the table's key.
            write_micros: the time, in microseconds of the epoch.
            decisions: what is decided about values of several types.
        """
        self._changes = ChangeReader(columns, decisions=decisions)
        self._key_names = tuple(key_names)
        self._write_micros = write_micros
        self.schema = self._changes.schema

    def rows(self, block: bytes) -> Rows:
        """The rows of a block of whole lines; the last line may lack its newline."""
        return self._changes.rows_of(keyed_items(block, self._key_names, self._write_micros))


class ChangeInference:
    """Infers the types of the items in an incremental export, block by block. Not thread-safe."""

    def __init__(self) -> None:
        self._items = ExportInference()

    @property
    def items(self) -> int:
        """Number of items so far."""
        return self._items.items

    @property
    def inference(self) -> Inference:
        """The result of the blocks so far; ``CHANGE_COLUMNS`` are not part of it."""
        return self._items.inference

    def add(self, block: bytes) -> int:
        """Observe a block of whole lines and return the number of lines without a valid change."""
        changes = divided(block)
        return len(changes.rejected) + self._items.add(changes.item_block())
