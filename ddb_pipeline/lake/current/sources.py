"""Where incoming rows come from, in parts that are read independently of each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.changes import change_rows, moment_micros
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.lines import RejectedLine
from ddb_pipeline.export.manifest import Open
from ddb_pipeline.export.read import check_item_count, read_blocks
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute, have_own_columns
from ddb_pipeline.lake.current.rows import of_full_export, of_incremental_export, of_stream

BATCH_ROWS: Final = 64 * 1024

Kind = Literal["items", "changes", "stream"]


class RejectedChangeError(DdbPipelineError):
    """A line of an export cannot be converted, so that an item's state would not be known."""


class Source(Protocol):
    """A part of the incoming rows."""

    @property
    def rows(self) -> int:
        """Their number, as far as it is known."""
        ...

    def tables(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """The rows as ``rows.incoming_schema`` has them."""
        ...


@dataclass(frozen=True, slots=True)
class ExportPart:
    """Data files of an export.

    Attributes:
        export: the export's summary, and the data files of this part only.
        key: the key's attributes, for a full export; none if they are not known.
        decisions: what is decided about values of several types.
    """

    open_object: Open
    export: Export
    key: tuple[KeyAttribute, ...] = ()
    decisions: TypeDecisions = NO_DECISIONS

    @property
    def rows(self) -> int:
        """As ``Source.rows``."""
        return sum(file.item_count for file in self.export.files)

    def tables(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As ``Source.tables``.

        Raises:
            ExportError: a data file is damaged or missing.
            RejectedChangeError: an item or a change cannot be converted.
        """
        if self.export.summary.incremental:
            for table in self._keyed(columns):
                yield of_incremental_export(table, columns)
            return
        micros = moment_micros(self.export, self.export.summary.export_time)
        by_columns = have_own_columns(self.key, (column.name for column in columns))
        for table in self._items(columns) if by_columns else self._keyed(columns):
            yield of_full_export(table, columns, self.key, micros)

    def _keyed(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        rows = change_rows(
            self.open_object,
            self.export,
            columns,
            key_names=[k.name for k in self.key],
            decisions=self.decisions,
        )
        for table, rejected in rows:
            self._refuse(rejected)
            yield table

    def _items(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        reader = ExportReader(columns, decisions=self.decisions)
        for file in self.export.files:
            counted = 0
            for block, refused in read_blocks(self.open_object, file, self.export.format):
                rows = reader.rows(block)
                self._refuse((*refused, *rows.rejected))
                counted += rows.lines
                yield rows.table
            check_item_count(file, counted)

    def _refuse(self, lines: Sequence[RejectedLine]) -> None:
        for line in lines:
            where = f", attribute {line.path!r}" if line.path else ""
            raise RejectedChangeError(
                f"A line of {self.export.summary.export_arn or 'an export'}{where} cannot be "
                f"converted: {line.reason}. Without it the view would show an old state of the "
                "item, so it is not updated. Correct the item in the table, and export again."
            )


@dataclass(frozen=True, slots=True)
class ParquetPart:
    """A Parquet file of the lake.

    Attributes:
        filesystem, path: where it is.
        kind: ``stream`` for a file of the delivery stream, ``changes`` for a converted incremental
            export, ``items`` for a converted full export.
        rows: number of its rows, as far as it is known.
        key: the key's attributes in the order of their names, for ``items``.
        micros: the time of the full export in microseconds of the epoch, for ``items``.
    """

    filesystem: pyarrow.fs.FileSystem
    path: str
    kind: Kind
    rows: int = 0
    key: tuple[KeyAttribute, ...] = ()
    micros: int = 0

    def tables(self, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As ``Source.tables``.

        Raises:
            ChangeRowError, KeyColumnError: a row lacks what orders or identifies it.
        """
        with self.filesystem.open_input_file(self.path) as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us")
            for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
                table = pa.Table.from_batches([batch])
                if self.kind == "stream":
                    yield of_stream(table, columns)
                elif self.kind == "changes":
                    yield of_incremental_export(table, columns)
                else:
                    yield of_full_export(table, columns, self.key, self.micros)
