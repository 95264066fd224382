"""A lake of the embedded AWS with hours of the stream: rows landed, compacted and read by DuckDB.

Readers go by the catalog: they read the Parquet files at the location of each partition, in the
files in which the embedded AWS stores its objects.
"""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ddb_pipeline.arrow_types import arrow_schema, parquet_write_options
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.glue.catalog import TableReference, create_table, read_table, update_table
from ddb_pipeline.glue.catalog import with_columns as with_table_columns
from ddb_pipeline.glue.lake_table import LakePartition, lake_definition, register_partitions
from ddb_pipeline.glue.partitions import CatalogPartition, find_partition, point_partition
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.compaction import Compaction, CompactionOptions, Lake, compact_hour
from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.layout import STREAM_PREFIX, DeliveryHour
from ddb_pipeline.lake.objects import StoredObject, list_objects
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.filesystem import s3_filesystem

COLUMNS = (
    Column("ddb_event_id", "string"),
    Column("ddb_sequence_number", "string"),
    Column("ddb_keys", "string"),
    Column("id", "string"),
    Column("n", "int"),
    Column("tags", "array<string>"),
)
HOUR = DeliveryHour("2026-05-28", "10")


def stream_row(number: int, **members: Any) -> dict[str, Any]:
    """The row of a change; one of five items with the same key has it."""
    return {
        "ddb_event_id": f"event-{number}",
        "ddb_sequence_number": f"{number}",
        "ddb_keys": f'{{"id":"{number % 5}"}}',
        "id": f"{number % 5}",
        "n": number,
        "tags": [f"t{number % 3}"] * (number % 4),
        **members,
    }


def stream_rows(first: int, end: int) -> list[dict[str, Any]]:
    """The rows of changes from ``first`` on, without ``end``."""
    return [stream_row(number) for number in range(first, end)]


@dataclass
class StreamLake:
    """A lake under a prefix of a bucket, and its table, in the embedded AWS."""

    endpoint: Endpoint
    home: Path
    bucket: str = field(default_factory=lambda: f"stream-{uuid.uuid4().hex[:12]}")
    columns: Sequence[Column] = COLUMNS

    def __post_init__(self) -> None:
        self.arguments = client_arguments(self.endpoint)
        self.root = LakeRoot(self.bucket, "sales/orders/")
        create: Any = boto3.session.Session().client
        self.s3 = create("s3", **self.arguments)
        self.glue = create("glue", **self.arguments)
        self.lake = Lake(self.s3, s3_filesystem(self.arguments), self.root)
        self.table = TableReference(self.bucket.replace("-", "_"), "lake")

    def create(self) -> "StreamLake":
        """Create the bucket and the table."""
        self.s3.create_bucket(Bucket=self.bucket)
        self.glue.create_database(DatabaseInput={"Name": self.table.database})
        location = self.root.uri(STREAM_PREFIX)
        create_table(self.glue, self.table, lake_definition("lake", location, self.columns))
        return self

    def land(
        self,
        rows: Sequence[dict[str, Any]],
        hour: DeliveryHour = HOUR,
        columns: Sequence[Column] | None = None,
        name: str = "",
    ) -> str:
        """Write rows as a raw object of an hour, as Firehose does; returns its key."""
        table = pa.Table.from_pylist(list(rows), arrow_schema(columns or self.columns))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="snappy", **parquet_write_options())
        key = f"{hour.prefix}{name or uuid.uuid4().hex}.parquet"
        self.s3.put_object(
            Bucket=self.bucket, Key=self.root.object_key(key), Body=sink.getvalue().to_pybytes()
        )
        return key

    def register(self, hour: DeliveryHour = HOUR) -> None:
        """Register the raw folder of an hour in the catalog, as a landing run does."""
        values = (hour.date, hour.hour)
        partition = LakePartition(values, self.root.uri(hour.prefix))
        register_partitions(self.glue, read_table(self.glue, self.table), [partition])

    def widen(self, *columns: Column) -> None:
        """Give the table these columns."""
        update_table(
            self.glue, self.table, lambda table: with_table_columns(table.definition, columns)
        )

    def compact(
        self, hour: DeliveryHour = HOUR, options: CompactionOptions | None = None
    ) -> Compaction | None:
        """Compact an hour and have the catalog read it."""

        def switch(generation: Generation) -> None:
            location = self.root.uri(generation.prefix(hour))
            values = (hour.date, hour.hour)
            partition = CatalogPartition(values, location, generation.columns)
            point_partition(self.glue, self.table, partition)

        return compact_hour(
            self.lake, hour, lambda: read_table(self.glue, self.table).columns, switch, options
        )

    def objects(self, prefix: str) -> list[StoredObject]:
        """The objects under a prefix."""
        return list(list_objects(self.s3, self.root, prefix))

    def files(self, hour: DeliveryHour = HOUR) -> list[str]:
        """The local paths of the Parquet files that readers of the catalog find."""
        found = find_partition(self.glue, self.table, (hour.date, hour.hour))
        assert found is not None
        folder = self.folder / found.location.removeprefix(f"s3://{self.bucket}/")
        return sorted(str(path) for path in folder.glob("*.parquet"))

    @property
    def folder(self) -> Path:
        """The folder of the bucket's objects."""
        if not hasattr(self, "_folder"):
            (self._folder,) = (p for p in (self.home / "s3").rglob(self.bucket) if p.is_dir())
        return self._folder

    def query(self, select: str, hour: DeliveryHour = HOUR) -> list[Any]:
        """The result of a query of the hour's rows, ``FROM hour`` in SQL, by DuckDB."""
        files = self.files(hour)
        with duckdb.connect() as connection:
            source = f"read_parquet({files!r}, union_by_name=true)"
            return connection.execute(f"WITH hour AS (FROM {source}) {select}").fetchall()

    def events(self, hour: DeliveryHour = HOUR) -> list[str]:
        """The event ids of all rows, sorted."""
        return [row[0] for row in self.query("SELECT ddb_event_id FROM hour ORDER BY 1", hour)]

    def size_of(self, key: str) -> int:
        """The size of an object's file."""
        return os.path.getsize(self.folder / self.root.object_key(key))
