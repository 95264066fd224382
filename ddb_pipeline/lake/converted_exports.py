"""Converted exports: where the Parquet of a kind of them is, and which table reads it."""

from dataclasses import dataclass

from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.glue.snapshot_table import PARTITION_KEY


@dataclass(frozen=True, slots=True)
class Converted:
    """A kind of converted exports.

    Attributes:
        kind: what a removal calls one of them.
        noun: the same in a sentence, with its verb.
        prefix: of their Parquet.
        retired: prefix of the notes about those whose partition was removed.
        table: the catalog table.
    """

    kind: str
    noun: str
    prefix: str
    retired: str
    table: TableReference

    def folder(self, export_id: str) -> str:
        """The prefix of the Parquet of one."""
        return f"{self.prefix}{PARTITION_KEY.name}={export_id}/"
