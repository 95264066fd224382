"""Every dataset of the lake read by every engine: the same values.

The rows have what readers differ in: sets, sets in structs, exact numbers, times at both ends of
the calendar, nulls, and columns of every kind that were widened between two files. Readers take the
files that the catalog names. Of the embedded Athena, only tables whose files are all under the
table's own location are asked, because it ignores those of partitions.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import arrow_schema, parquet_write_options
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.export.rows.changes import CHANGE_COLUMNS
from ddb_pipeline.glue.asset_table import AssetTable
from ddb_pipeline.glue.catalog import CatalogTable, TableReference, create_table, read_table
from ddb_pipeline.glue.ddl import Dialect, create_statement
from ddb_pipeline.glue.lake_table import (
    LakePartition,
    lake_definition,
    parquet_definition,
    register_partitions,
)
from ddb_pipeline.glue.partition_pages import all_partitions
from ddb_pipeline.glue.partitions import CatalogPartition, point_partition
from ddb_pipeline.glue.snapshot_table import publish_export
from ddb_pipeline.hive.evolve import merge_columns
from ddb_pipeline.hive.names import EVENT_NAME, KEYS, WRITE_TIME
from ddb_pipeline.hive.types import (
    ArrayType,
    Column,
    DecimalType,
    HiveType,
    MapType,
    StructType,
    parse_type,
)
from ddb_pipeline.lake.catalog_dataset import catalog_dataset, data_files
from ddb_pipeline.lake.compaction import Lake, compact_hour
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import MANIFEST, Manifest, Snapshot
from ddb_pipeline.lake.current.object_store import S3Manifest
from ddb_pipeline.lake.current.sources import ParquetPart
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import BucketStore
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.current.update import Request, update
from ddb_pipeline.lake.current_versions import publish_version
from ddb_pipeline.lake.hour_generations import Generation
from ddb_pipeline.lake.layout import CURRENT_PREFIX, DeliveryHour
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.resources.asset_data import AssetFolder, Registration, write_asset
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.frames import frame_of
from ddb_pipeline_tests.support.embedded_cloud import embedded_cloud, new_lake

pytestmark = pytest.mark.embedded

BIG = 2**53 + 1
KEY = (KeyAttribute("id", "S"),)
EARLY, LATE = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
OLD = (
    Column("id", "string"),
    Column("tags", "array<string>"),
    Column("nested", "struct<ids:array<bigint>,at:array<array<string>>>"),
    Column("text_number", "string"),
    Column("exact", "decimal(38,4)"),
    Column("at", "timestamp"),
    Column("day", "date"),
    Column("flag", "boolean"),
    Column("wide_int", "int"),
    Column("wide_exact", "bigint"),
    Column("wide_small", "smallint"),
    Column("wide_decimal", "decimal(5,1)"),
    Column("wide_float", "float"),
    Column("wide_struct", "struct<a:int>"),
    Column("wide_list", "array<struct<a:int>>"),
    Column("wide_map", "map<string,int>"),
)
INCOMING = (
    Column("wide_int", "bigint"),
    Column("wide_exact", "decimal(1,0)"),
    Column("wide_small", "decimal(6,2)"),
    Column("wide_decimal", "decimal(20,4)"),
    Column("wide_float", "double"),
    Column("wide_struct", "struct<a:bigint,b:string>"),
    Column("wide_list", "array<struct<a:bigint,b:string>>"),
    Column("wide_map", "map<string,bigint>"),
    Column("added", "array<string>"),
)
NEW = merge_columns(OLD, INCOMING).columns
"""What the rules of widening make of both."""
EXACT = Decimal("1234567890123456789012345678901234.5678")
OLD_ROWS: list[dict[str, Any]] = [
    {
        "id": "old",
        "tags": ["a", "b"],
        "nested": {"ids": [BIG, -BIG], "at": [["x"], [], ["y", "z"]]},
        "text_number": f"{EXACT}00",
        "exact": EXACT,
        "at": EARLY,
        "day": date(1, 1, 1),
        "flag": True,
        "wide_int": 7,
        "wide_exact": BIG,
        "wide_small": -32768,
        "wide_decimal": Decimal("1.5"),
        "wide_float": 0.5,
        "wide_struct": {"a": 7},
        "wide_list": [{"a": 7}, None],
        "wide_map": {"k": 7},
    },
    {"id": "old nulls"},
]
NEW_ROWS: list[dict[str, Any]] = [
    {
        "id": "new",
        "tags": [],
        "nested": {"ids": None, "at": [None]},
        "text_number": "",
        "exact": -EXACT,
        "at": LATE,
        "day": date(9999, 12, 31),
        "flag": False,
        "wide_int": BIG,
        "wide_exact": Decimal(9 * 10**18),
        "wide_small": Decimal("-32768.25"),
        "wide_decimal": Decimal("1234567890123456.7891"),
        "wide_float": 0.1,
        "wide_struct": {"a": BIG, "b": "x"},
        "wide_list": [{"a": BIG, "b": None}],
        "wide_map": {"k": BIG, "l": None},
        "added": ["set"],
    },
    {"id": "new nulls"},
]


@dataclass(frozen=True)
class Dataset:
    """A dataset in the catalog; ``by_location``: all files are under the table's own location."""

    table: CatalogTable
    cloud: CloudResource
    by_location: bool

    @property
    def partitions(self) -> list[CatalogPartition]:
        if self.table.partition_keys:
            return list(all_partitions(self.cloud.glue, self.table.reference))
        return [CatalogPartition((), self.table.location, self.table.columns)]

    def copied(self, folder: Path) -> list[tuple[CatalogPartition, Path]]:
        """The files that the catalog names, as local folders, one for each partition."""
        local = pyarrow.fs.LocalFileSystem()
        copies = []
        for number, partition in enumerate(self.partitions):
            target = folder / f"{number}"
            target.mkdir()
            for index, path in enumerate(data_files(self.cloud.filesystem(), partition.location)):
                pyarrow.fs.copy_files(
                    path,
                    str(target / f"{index}.parquet"),
                    source_filesystem=self.cloud.filesystem(),
                    destination_filesystem=local,
                )
            copies.append((partition, target))
        return copies


class Builder:
    """Builds each dataset as the product does, in a bucket and database of its own."""

    def __init__(self, cloud: CloudResource) -> None:
        self.cloud = cloud
        self.name = new_lake(cloud, "matrix")

    def put(self, key: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
        table = pa.Table.from_pylist(
            [{name: as_arrow(row.get(name)) for name, _ in columns} for row in rows],
            arrow_schema(columns),
        )
        pq.write_table(
            table,
            f"{self.name}/{key}",
            filesystem=self.cloud.filesystem(),
            **parquet_write_options(),
        )

    def stream(self) -> Dataset:
        hour = DeliveryHour("2026-11-24", "09")
        self.put(f"{hour.prefix}0.parquet", OLD, OLD_ROWS)
        self.put(f"{hour.prefix}1.parquet", NEW, NEW_ROWS)
        reference = TableReference(self.name, "lake")
        definition = lake_definition("lake", f"s3://{self.name}/stream/", NEW)
        table = create_table(self.cloud.glue, reference, definition)
        location = f"s3://{self.name}/{hour.prefix}"
        partition = LakePartition((hour.date, hour.hour), location)
        register_partitions(self.cloud.glue, table, [partition])
        return Dataset(table, self.cloud, by_location=True)

    def compacted(self) -> Dataset:
        hour = DeliveryHour("2026-11-24", "09")
        found = self.stream()
        reference = found.table.reference

        def switch(generation: Generation) -> None:
            location = f"s3://{self.name}/{generation.prefix(hour)}"
            values = (hour.date, hour.hour)
            partition = CatalogPartition(values, location, generation.columns)
            point_partition(self.cloud.glue, reference, partition)

        lake = Lake(self.cloud.s3, self.cloud.filesystem(), LakeRoot(self.name))
        compact_hour(lake, hour, lambda: NEW, switch)
        return Dataset(found.table, self.cloud, by_location=False)

    def snapshot(self) -> Dataset:
        reference = TableReference(self.name, "snapshot")
        for export_id, columns, rows in (("1-a", OLD, OLD_ROWS), ("2-b", NEW, NEW_ROWS)):
            folder = f"snapshot/export_id={export_id}/"
            self.put(f"{folder}rows.parquet", columns, rows)
            publish_export(
                self.cloud.glue,
                reference,
                location=f"s3://{self.name}/snapshot/",
                columns=columns,
                export_id=export_id,
                partition_location=f"s3://{self.name}/{folder}",
            )
        return Dataset(read_table(self.cloud.glue, reference), self.cloud, by_location=True)

    def scores(self) -> Dataset:
        """A table without partitions, whose location is the current version."""
        self.put("relevance/scores/v1/0.parquet", OLD, OLD_ROWS)
        self.put("relevance/scores/v1/1.parquet", NEW, NEW_ROWS)
        reference = TableReference(self.name, "scores")
        location = f"s3://{self.name}/relevance/scores/v1/"
        table = create_table(
            self.cloud.glue, reference, parquet_definition("scores", location, NEW)
        )
        return Dataset(table, self.cloud, by_location=True)

    def current(self) -> Dataset:
        """A view of a full export and changes with widened columns, at its second version."""
        reference = TableReference(self.name, "current")
        filesystem, s3 = self.cloud.filesystem(), self.cloud.s3
        manifest = S3Manifest(s3, LakeRoot(self.name), f"{CURRENT_PREFIX}{MANIFEST}")
        store = BucketStore(filesystem, f"{self.name}/{CURRENT_PREFIX.rstrip('/')}", manifest)
        for kind, columns, rows in (("items", OLD, OLD_ROWS), ("changes", NEW, NEW_ROWS)):
            changes = [
                {
                    **row,
                    KEYS: json.dumps({"id": row["id"]}, separators=(",", ":")),
                    EVENT_NAME: "UPSERT",
                    WRITE_TIME: datetime(2026, 11, 24, 9),
                }
                for row in rows
            ]
            extra = CHANGE_COLUMNS if kind == "changes" else ()
            self.put(f"{kind}.parquet", (*columns, *extra), changes)
            part = ParquetPart(filesystem, f"{self.name}/{kind}.parquet", kind, 2, KEY, 1)  # type: ignore[arg-type]

            def plan(state: Manifest, part: Any = part, columns: Any = columns) -> Request:
                joined = joined_columns(state.columns, columns).columns
                after = replace(state, key=KEY, columns=joined, snapshot=Snapshot("full", 1))
                return Request(after, (part,), replaces=part.kind == "items")

            view = update(store, plan, here).manifest
            publish_version(s3, self.cloud.glue, LakeRoot(self.name), reference, view, time.time())
        return Dataset(read_table(self.cloud.glue, reference), self.cloud, by_location=True)

    def asset(self) -> Dataset:
        """An output of the IO manager, registered."""
        uri = f"s3://{self.name}/assets/asset"
        folder = AssetFolder(self.cloud.filesystem(), uri.removeprefix("s3://"), uri)
        reference = TableReference(self.name, "asset")
        target = AssetTable(reference, "asset", ("partition_key",))
        for key, columns, rows in (("a", OLD, OLD_ROWS), ("b", NEW, NEW_ROWS)):
            frame = pa.Table.from_pylist(
                [{name: as_arrow(row.get(name)) for name, _ in columns} for row in rows],
                arrow_schema(columns),
            )
            write_asset(
                folder,
                frame,
                {"partition_key": key},
                options=PartOptions(),
                keep=timedelta(days=1),
                preview_rows=0,
                registration=Registration(self.cloud.glue, target),
            )
        return Dataset(read_table(self.cloud.glue, reference), self.cloud, by_location=False)


def as_arrow(value: Any) -> Any:
    """Maps as lists of pairs, where they are not structs."""
    return list(value.items()) if isinstance(value, dict) and value.keys() & {"k", "l"} else value


DATASETS: dict[str, Callable[[Builder], Dataset]] = {
    "parquet_stream": Builder.stream,
    "parquet_stream compacted": Builder.compacted,
    "parquet_snapshot": Builder.snapshot,
    "relevance_scores": Builder.scores,
    "parquet_current": Builder.current,
    "asset": Builder.asset,
}


@pytest.fixture(scope="module", params=list(DATASETS))
def dataset(request: pytest.FixtureRequest, embedded_aws: Endpoint) -> Dataset:
    """Each dataset, in a lake of its own."""
    return DATASETS[request.param](Builder(embedded_cloud(embedded_aws)))


def by_pyarrow(dataset: Dataset, folder: Path, spark: Any) -> list[dict[str, Any]]:
    cloud = dataset.cloud
    found = catalog_dataset(cloud.glue, cloud.filesystem(), dataset.table)
    rows: list[dict[str, Any]] = found.to_table().to_pylist()
    return rows


def by_pandas(dataset: Dataset, folder: Path, spark: Any) -> list[dict[str, Any]]:
    cloud = dataset.cloud
    found = catalog_dataset(cloud.glue, cloud.filesystem(), dataset.table)
    frame = frame_of(pd.DataFrame, found)
    arrays: Any = {name: pa.chunked_array(pa.array(frame[name].array)) for name in frame.columns}
    columns = {name: array.to_pylist() for name, array in arrays.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def by_duckdb(dataset: Dataset, folder: Path, spark: Any) -> list[dict[str, Any]]:
    copies = dataset.copied(folder)
    files = [str(path) for _, target in copies for path in sorted(target.iterdir())]
    connection = duckdb.connect()
    found: Any = connection.execute("SELECT * FROM read_parquet($1, union_by_name = true)", [files])
    rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return rows


def by_spark(dataset: Dataset, folder: Path, spark: Any) -> list[dict[str, Any]]:
    copies = dataset.copied(folder)
    name = f"matrix_{dataset.table.reference.database.replace('-', '_')}"
    keys = [key.name for key in dataset.table.partition_keys]
    location = (folder if keys else copies[0][1]).as_uri()
    spark.sql(f"DROP TABLE IF EXISTS {name}")
    spark.sql(create_statement(dataset.table, Dialect.SPARK, name=name, location=location))
    for partition, target in copies if keys else ():
        values = ", ".join(f"{k} = '{v}'" for k, v in zip(keys, partition.values, strict=True))
        spark.sql(f"ALTER TABLE {name} ADD PARTITION ({values}) LOCATION '{target.as_uri()}'")
    form = "map('timestampFormat', 'yyyy-MM-dd HH:mm:ss.SSSSSS')"
    lines = spark.sql(f"SELECT to_json(struct(*), {form}) FROM {name}").collect()
    rows = [json.loads(line[0], parse_float=Decimal) for line in lines]
    spark.sql(f"DROP TABLE {name}")
    return rows


def by_athena(dataset: Dataset, folder: Path, spark: Any) -> list[dict[str, Any]]:
    if not dataset.by_location:
        pytest.skip("the embedded Athena reads the table's location, not those of its partitions")
    athena = dataset.cloud.client("athena")
    reference = dataset.table.reference
    bucket = f"s3://{reference.database}/athena/"
    query = athena.start_query_execution(
        QueryString=f"SELECT CAST(to_json(r) AS VARCHAR) FROM (SELECT * FROM {reference.name}) r",
        QueryExecutionContext={"Database": reference.database},
        ResultConfiguration={"OutputLocation": bucket},
    )["QueryExecutionId"]
    state: dict[str, Any] = {"State": "QUEUED"}
    for _ in range(600):
        state = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if state["State"] not in ("QUEUED", "RUNNING"):
            break
        time.sleep(0.1)
    assert state["State"] == "SUCCEEDED", state
    rows = athena.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"][1:]
    return [json.loads(row["Data"][0]["VarCharValue"], parse_float=Decimal) for row in rows]


ENGINES = [by_pyarrow, by_pandas, by_duckdb, by_spark, by_athena]


@pytest.mark.parametrize("read", ENGINES, ids=lambda read: read.__name__)
def test_every_engine_reads_the_same_values(
    dataset: Dataset, read: Callable[..., list[dict[str, Any]]], spark: Any, tmp_path: Path
) -> None:
    found = {row["id"]: row for row in read(dataset, tmp_path, spark)}
    expected = {row["id"]: row for row in (*OLD_ROWS, *NEW_ROWS)}
    assert set(found) == set(expected)
    for key, row in expected.items():
        for name, kind in NEW:
            hive = parse_type(kind)
            wanted, value = row.get(name), found[key].get(name)
            assert plain(value, hive) == plain(wanted, hive), (key, name)


def plain(value: Any, kind: HiveType) -> Any:
    """A value of any engine in one form."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(kind, ArrayType):
        return [plain(element, kind.element) for element in value]
    if isinstance(kind, MapType):
        pairs = value.items() if isinstance(value, dict) else map(pair, value)
        return {name: plain(entry, kind.value) for name, entry in pairs}
    if isinstance(kind, StructType):
        return {field.name: plain(value.get(field.name), field.type) for field in kind.fields}
    if isinstance(kind, DecimalType):
        return Decimal(str(value))
    name = str(kind)
    if name == "timestamp":
        return moment(value)
    if name == "date":
        return date.fromisoformat(value) if isinstance(value, str) else value
    return float(value) if name in ("float", "double") else value


def pair(entry: Any) -> tuple[Any, Any]:
    return (entry["key"], entry["value"]) if isinstance(entry, dict) else entry


def moment(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return datetime.combine(value.date(), value.time())
