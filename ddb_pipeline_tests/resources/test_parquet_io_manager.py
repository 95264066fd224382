"""The IO manager in runs of Dagster: outputs, inputs, partitions, and the catalog."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import TableReference, create_table, read_table
from ddb_pipeline.glue.lake_table import LakePartition, parquet_definition, register_partitions
from ddb_pipeline.glue.partition_pages import all_partitions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.catalog_dataset import MissingPartitionError, catalog_dataset
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.asset_data import AssetDataError
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.frames import FrameError
from ddb_pipeline.resources.parquet_io_manager import ParquetIOManager
from ddb_pipeline_tests.support.embedded_cloud import embedded_cloud, new_lake

BIG = 2**53 + 1
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")
ROWS = pa.table(
    {"n": pa.array([BIG, None], pa.int64()), "tags": pa.array([["a"], None], pa.list_(pa.string()))}
)


@pytest.fixture
def cloud(embedded_aws: Endpoint) -> CloudResource:
    """The AWS of the test run."""
    return embedded_cloud(embedded_aws)


@pytest.fixture
def database(cloud: CloudResource) -> str:
    """A new database, and a bucket of the same name."""
    return new_lake(cloud, "io")


def keys_in(cloud: CloudResource, bucket: str) -> list[str]:
    """The keys of a bucket's objects, without pyarrow's markers of folders."""
    return [stored.key for stored in list_objects(cloud.s3, LakeRoot(bucket), "")]


class Project:
    """Runs assets with one IO manager and instance."""

    def __init__(self, manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
        self.resources = {"io_manager": manager}
        self.instance = instance

    def run(self, *assets: Any, only: Any = None, key: str | None = None, **tags: str) -> Any:
        return dg.materialize(
            assets,
            selection=None if only is None else [only],
            partition_key=key,
            resources=self.resources,
            instance=self.instance,
            tags=tags or None,
        )

    def metadata(self, result: Any, node: str) -> Any:
        (found,) = result.asset_materializations_for_node(node)
        return {name: entry.value for name, entry in found.metadata.items()}

    def failure(self, *assets: Any, only: Any = None, key: str | None = None) -> BaseException:
        """The error of ours that ends a run."""
        with pytest.raises(Exception) as raised:  # noqa: PT011
            self.run(*assets, only=only, key=key)
        error: BaseException | None = raised.value
        while not isinstance(error, DdbPipelineError):
            assert error is not None
            error = error.__cause__
        return error


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def local(tmp_path: Path, instance: dg.DagsterInstance) -> Project:
    """A project whose assets are in a folder."""
    return Project(ParquetIOManager(root=str(tmp_path)), instance)


@pytest.fixture
def in_s3(database: str, cloud: CloudResource, instance: dg.DagsterInstance) -> Project:
    """A project whose assets are in a bucket."""
    manager = ParquetIOManager(root=f"s3://{database}/assets", cloud=cloud, keep_hours=0)
    return Project(manager, instance)


@pytest.fixture(params=["local", pytest.param("in_s3", marks=pytest.mark.embedded)])
def project(request: pytest.FixtureRequest) -> Project:
    """Both kinds of project."""
    found: Project = request.getfixturevalue(request.param)
    return found


def partitioned(**arguments: Any) -> dg.AssetsDefinition:
    """An asset with a row for each day, the name of the day and its number."""

    def daily(context: dg.AssetExecutionContext) -> pd.DataFrame:
        day = context.partition_key
        return pd.DataFrame({"key": [day], "n": pd.array([int(day[-2:]) + BIG], dtype="Int64")})

    found: dg.AssetsDefinition = dg.asset(partitions_def=DAYS, **arguments)(daily)
    return found


def reader_of(
    form: Any, seen: list[Any], partitions: Any = None, **asset_in: Any
) -> dg.AssetsDefinition:
    """An asset that takes ``daily`` in a form."""

    def compute(daily: Any) -> None:
        seen.append(daily)

    compute.__annotations__["daily"] = form
    ins = {"daily": dg.AssetIn(**asset_in)}
    return dg.asset(name="reader", ins=ins, partitions_def=partitions)(compute)


FORMS: list[tuple[Any, Callable[[pa.Table], Any], Callable[[Any], Any]]] = [
    (pa.Table, lambda rows: rows, lambda found: found.to_pylist()),
    (
        pa.RecordBatchReader,
        lambda rows: rows.to_reader(),
        lambda found: found.read_all().to_pylist(),
    ),
    (
        pd.DataFrame,
        lambda rows: rows.to_pandas(types_mapper=pd.ArrowDtype),
        lambda found: pa.Table.from_pandas(found).to_pylist(),
    ),
    (pl.DataFrame, pl.from_arrow, lambda found: found.to_dicts()),
    (
        pl.LazyFrame,
        lambda rows: pl.DataFrame(rows).lazy(),
        lambda found: found.collect().to_dicts(),
    ),
    (
        duckdb.DuckDBPyRelation,
        lambda rows: duckdb.connect().from_arrow(rows),
        lambda found: found.to_arrow_table().to_pylist(),
    ),
]


@pytest.mark.parametrize(
    ("form", "make", "rows_in"), FORMS, ids=[f"{f[0].__module__}.{f[0].__name__}" for f in FORMS]
)
def test_each_form_as_output_and_input(
    project: Project, form: Any, make: Callable[[pa.Table], Any], rows_in: Callable[[Any], Any]
) -> None:
    seen: list[Any] = []

    def produce() -> Any:
        return make(ROWS)

    def consume(up: Any) -> None:
        assert isinstance(up, form)
        seen.append(rows_in(up))

    produce.__annotations__["return"] = form
    consume.__annotations__["up"] = form
    up, down = dg.asset(name="up")(produce), dg.asset(name="down")(consume)
    result = project.run(up, down)
    assert seen == [ROWS.to_pylist()]
    metadata = project.metadata(result, "up")
    assert metadata["dagster/row_count"] == 2
    assert [c.name for c in metadata["dagster/column_schema"].columns] == ["n", "tags"]
    assert metadata["preview"].splitlines()[2] == f"| `{BIG}` | `['a']` |"
    assert metadata["dagster/uri"].startswith(("s3://io-", "file:///"))
    assert (metadata["files"], metadata["bytes"] > 0) == (1, True)


def test_partitions_in_one_load(project: Project) -> None:
    daily = partitioned()
    for day in range(4, 11):
        project.run(daily, key=f"2026-01-{day:02}")
    seen: list[Any] = []
    weeks = dg.WeeklyPartitionsDefinition("2026-01-04", end_date="2026-02-01")
    one_day = reader_of(pd.DataFrame, seen, DAYS)
    project.run(daily, one_day, only=one_day, key="2026-01-05")
    assert seen.pop().to_dict("list") == {"key": ["2026-01-05"], "n": [BIG + 5]}
    one_week = reader_of(pa.Table, seen, weeks)
    project.run(daily, one_week, only=one_week, key="2026-01-04")
    assert seen.pop()["n"].to_pylist() == [BIG + day for day in range(4, 11)]
    as_dict = reader_of(dict[str, pl.DataFrame], seen, weeks)
    project.run(daily, as_dict, only=as_dict, key="2026-01-04")
    found = seen.pop()
    assert list(found) == [f"2026-01-{day:02}" for day in range(4, 11)]
    assert found["2026-01-07"]["n"].to_list() == [BIG + 7]


def test_projection_and_filter_by_the_metadata_of_the_input(project: Project) -> None:
    daily = partitioned(metadata={"partition_expr": "day"})
    for day in (4, 5, 6):
        project.run(daily, key=f"2026-01-{day:02}")
    seen: list[Any] = []
    metadata = {
        "columns": ["n", "day"],
        "filters": [["day", ">", "2026-01-04"], ["n", "<", BIG + 6]],
        "allow_missing_partitions": True,
    }
    reader = reader_of(pa.Table, seen, metadata=metadata)
    project.run(daily, reader, only=reader)
    assert seen.pop().to_pylist() == [{"n": BIG + 5, "day": "2026-01-05"}]


def test_partitions_that_are_missing(local: Project) -> None:
    daily = partitioned()
    project = local
    seen: list[Any] = []
    project.run(daily, key="2026-01-05")
    reader = reader_of(pd.DataFrame, seen)
    error = project.failure(daily, reader, only=reader)
    assert isinstance(error, AssetDataError)
    assert "30 of 31 partitions of daily were not written: 2026-01-01, " in str(error)
    allowed = reader_of(pd.DataFrame, seen, metadata={"allow_missing_partitions": True})
    project.run(daily, allowed, only=allowed)
    assert seen.pop()["n"].tolist() == [BIG + 5]


def test_several_partitions_in_one_run(project: Project) -> None:
    @dg.asset(
        name="daily",
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def many(context: dg.AssetExecutionContext) -> dict[str, pa.Table]:
        return {key: pa.table({"key": [key]}) for key in context.partition_keys}

    span = {
        "dagster/asset_partition_range_start": "2026-01-04",
        "dagster/asset_partition_range_end": "2026-01-06",
    }
    result = project.run(many, **span)
    counts = [
        found.metadata["dagster/partition_row_count"].value
        for found in result.asset_materializations_for_node("daily")
    ]
    assert counts == [3, 3, 3]
    seen: list[Any] = []
    reader = reader_of(pa.Table, seen, metadata={"allow_missing_partitions": True})
    project.run(many, reader, only=reader)
    assert seen.pop()["key"].to_pylist() == ["2026-01-04", "2026-01-05", "2026-01-06"]


def test_one_frame_for_several_partitions_is_refused(local: Project) -> None:
    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def daily() -> pa.Table:
        return ROWS

    with pytest.raises(FrameError, match="for 2 partitions of daily, and the output has 1"):
        local.run(
            daily,
            **{
                "dagster/asset_partition_range_start": "2026-01-04",
                "dagster/asset_partition_range_end": "2026-01-05",
            },
        )


def test_partitions_in_two_dimensions(project: Project) -> None:
    both = dg.MultiPartitionsDefinition(
        {"letter": dg.StaticPartitionsDefinition(["a/b", "c"]), "day": DAYS}
    )

    @dg.asset(name="daily", partitions_def=both)
    def daily(context: dg.AssetExecutionContext) -> pa.Table:
        return pa.table({"key": [str(context.partition_key)]})

    seen: list[Any] = []
    for key in ("2026-01-01|a/b", "2026-01-01|c", "2026-01-02|c"):
        project.run(daily, key=key)
    reader = reader_of(pa.Table, seen, DAYS)
    project.run(daily, reader, only=reader, key="2026-01-01")
    assert sorted(seen.pop()["key"].to_pylist()) == ["2026-01-01|a/b", "2026-01-01|c"]


def test_partitions_whose_types_differ(local: Project) -> None:
    types = {"2026-01-01": pa.int32(), "2026-01-02": pa.int64(), "2026-01-03": pa.string()}

    @dg.asset(partitions_def=DAYS)
    def daily(context: dg.AssetExecutionContext) -> pa.Table:
        kind = types[context.partition_key]
        return pa.table({"n": pa.array([1], pa.int32()).cast(kind)})

    project = local
    seen: list[Any] = []
    for key in types:
        project.run(daily, key=key)
    two = reader_of(
        pa.Table, seen, partition_mapping=dg.SpecificPartitionsPartitionMapping([*types][:2])
    )
    project.run(daily, two, only=two)
    assert seen.pop()["n"].type == pa.int64()
    three = reader_of(
        pa.Table, seen, partition_mapping=dg.SpecificPartitionsPartitionMapping([*types])
    )
    error = project.failure(daily, three, only=three)
    assert isinstance(error, AssetDataError)
    assert "n" in str(error)


def test_outputs_of_ops_that_are_no_assets(project: Project) -> None:
    seen: list[Any] = []

    @dg.op
    def one() -> pa.Table:
        return ROWS

    @dg.op
    def two(rows: pd.DataFrame) -> None:
        seen.append(rows)

    @dg.job(resource_defs={"io_manager": project.resources["io_manager"]})
    def job() -> None:
        two(one())

    assert job.execute_in_process(instance=project.instance).success
    assert seen[0]["n"].tolist() == [BIG, pd.NA]


def test_a_value_outside_of_a_run(local: Project) -> None:
    @dg.asset
    def up() -> pa.Table:
        return ROWS

    local.run(up)
    defs = dg.Definitions(assets=[up], resources=local.resources)
    found: Any = defs.load_asset_value("up", python_type=pd.DataFrame, instance=local.instance)
    assert found["n"].tolist() == [BIG, pd.NA]


def test_nothing_to_load_is_an_error_that_says_what_to_do(local: Project) -> None:
    daily = partitioned()
    reader = reader_of(pa.Table, [], DAYS)
    error = local.failure(daily, reader, only=reader, key="2026-01-05")
    assert isinstance(error, AssetDataError)
    assert "Nothing was written for daily under" in str(error)
    assert "set dagster/table_name in the metadata of the input" in str(error)


@pytest.mark.embedded
class TestCatalog:
    """Outputs in the catalog, and inputs from it."""

    def test_an_output_is_registered_and_replaced(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        outputs = iter(
            [
                pa.table({"n": pa.array([1], pa.uint32()), "t": pa.array([0], pa.timestamp("ns"))}),
                pa.table({"d": [Decimal("1.5")], "none": pa.nulls(1)}),
            ]
        )

        @dg.asset(metadata={"dagster/table_name": f"{database}.scores"})
        def scores() -> pa.Table:
            return next(outputs)

        reference = TableReference(database, "scores")
        result = in_s3.run(scores)
        first = read_table(cloud.glue, reference)
        assert first.columns == (Column("n", "bigint"), Column("t", "timestamp"))
        assert first.location == in_s3.metadata(result, "scores")["dagster/uri"]
        filesystem = cloud.filesystem()
        rows = catalog_dataset(cloud.glue, filesystem, read_table(cloud.glue, reference)).to_table()
        assert rows.to_pylist() == [{"n": 1, "t": datetime(1970, 1, 1)}]
        in_s3.run(scores)
        rows = catalog_dataset(cloud.glue, filesystem, read_table(cloud.glue, reference)).to_table()
        assert rows.to_pylist() == [{"d": Decimal("1.5")}]
        defs = dg.Definitions(assets=[scores], resources=in_s3.resources)
        own: Any = defs.load_asset_value("scores", python_type=pa.Table, instance=in_s3.instance)
        assert own.to_pylist() == [{"d": Decimal("1.5"), "none": None}]
        # keep_hours is 0: what the catalog does not read any more is removed.
        assert not filesystem.get_file_info(first.location.removeprefix("s3://").rstrip("/")).size
        assert len(keys_in(cloud, database)) == 2

    def test_partitions_are_registered_and_the_table_widens(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        types = {"2026-01-01": pa.int32(), "2026-01-02": pa.int64(), "2026-01-03": pa.int8()}

        @dg.asset(
            partitions_def=DAYS,
            metadata={"dagster/table_name": f"{database}.daily", "partition_expr": "day"},
        )
        def daily(context: dg.AssetExecutionContext) -> pa.Table:
            return pa.table(
                {"n": pa.array([int(context.partition_key[-2:])], types[context.partition_key])}
            )

        for key in [*types, "2026-01-01"]:
            in_s3.run(daily, key=key)
        reference = TableReference(database, "daily")
        table = read_table(cloud.glue, reference)
        assert (table.columns, table.partition_keys) == (
            (Column("n", "bigint"),),
            (Column("day", "string"),),
        )
        found = {p.values: p.columns for p in all_partitions(cloud.glue, reference)}
        assert found == {(key,): (Column("n", "bigint"),) for key in types}
        rows = catalog_dataset(
            cloud.glue, cloud.filesystem(), read_table(cloud.glue, reference)
        ).to_table()
        assert sorted(rows.to_pylist(), key=str) == [
            {"n": number, "day": f"2026-01-{number:02}"} for number in (1, 2, 3)
        ]

    def test_outputs_that_have_no_place_in_the_catalog(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        rows: list[pa.Table] = []

        def asset(name: str, partitions: Any = None, **metadata: str) -> dg.AssetsDefinition:
            @dg.asset(name=name, partitions_def=partitions, metadata={**metadata})
            def made() -> pa.Table:
                return rows[-1]

            return made

        table = {"dagster/table_name": f"{database}.t"}
        daily = asset("daily", DAYS, **table, partition_expr="day")
        rows.append(pa.table({"n": ["text"]}))
        in_s3.run(daily, key="2026-01-01")
        cases: list[tuple[Any, str | None, Any, str]] = [
            (daily, "2026-01-02", pa.table({"n": [1]}), "n is bigint, but string in table"),
            (daily, "2026-01-02", pa.table({"day": ["x"]}), "partitioned by 'day', and its data"),
            (asset("other", **table), None, rows[0], "asset daily registered it"),
            (
                asset("x", **{"dagster/table_name": "t"}),
                None,
                rows[0],
                "Give a database and a table",
            ),
        ]
        free = asset("free", **{"dagster/table_name": f"{database}.free"})
        nanos = pa.table({"at": pa.array([1], pa.timestamp("ns"))})
        cases += [
            (free, None, pa.table({"Größe": [1]}), "for example to 'grosse'"),
            (free, None, pa.table({"s": [{"A": 1}]}), "the name of 's.A'"),
            (
                free,
                None,
                pa.table({"l": pa.array([[]], pa.list_(pa.null()))}),
                r"l\[\] is of type null",
            ),
            (free, None, pa.table({"n": pa.nulls(1)}), "no column with values"),
            (free, None, nanos, "Column at of type timestamp.*would lose data"),
        ]
        for made, key, table_of_case, message in cases:
            rows.append(table_of_case)
            error = in_s3.failure(made, key=key)
            with pytest.raises(type(error), match=message):
                raise error
        keys = keys_in(cloud, database)
        assert all(key.startswith("assets/daily/day=2026-01-01/") for key in keys)

    def lake(self, database: str, cloud: CloudResource) -> TableReference:
        """A table as Firehose's hours are, with two hours of different types, one is missing."""
        reference = TableReference(database, "lake")
        filesystem = cloud.filesystem()
        for hour, kind in (("00", pa.int32()), ("02", pa.int64())):
            folder = f"{database}/stream/delivery_date=2026-01-05/delivery_hour={hour}"
            rows = pa.table({"n": pa.array([int(hour)], kind), "extra": ["x"]})
            pq.write_table(rows, f"{folder}/rows.parquet", filesystem=filesystem)
            pq.write_table(rows, f"{folder}/_ignored.parquet", filesystem=filesystem)
        columns = (Column("n", "decimal(20,1)"), Column("new", "array<string>"))
        keys = (Column("delivery_date", "string"), Column("delivery_hour", "string"))
        location = f"s3://{database}/stream/"
        create_table(cloud.glue, reference, parquet_definition("lake", location, columns, keys))
        partitions = [
            LakePartition(
                ("2026-01-05", hour),
                f"{location}delivery_date=2026-01-05/delivery_hour={hour}/",
            )
            for hour in ("00", "02")
        ]
        register_partitions(cloud.glue, read_table(cloud.glue, reference), partitions)
        return reference

    def test_a_table_of_another_region(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        there, bucket = cloud.in_region("eu-west-1"), f"{database}-far"
        there.glue.create_database(DatabaseInput={"Name": database})
        there.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        rows = pa.table({"n": ["1"]})
        pq.write_table(rows, f"{bucket}/far/rows.parquet", filesystem=there.filesystem())
        reference, columns = TableReference(database, "far"), (Column("n", "string"),)
        definition = parquet_definition("far", f"s3://{bucket}/far/", columns, ())
        create_table(there.glue, reference, definition)
        metadata = {"dagster/table_name": str(reference), "ddb_pipeline/region": "eu-west-1"}
        seen: list[Any] = []
        in_s3.run(dg.AssetSpec("daily", metadata=metadata), reader_of(pa.Table, seen))
        assert seen.pop().to_pylist() == [{"n": "1"}]

    def test_hours_of_the_lake_as_a_day(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        reference = self.lake(database, cloud)
        expression = {"delivery_date": "%Y-%m-%d", "delivery_hour": "%H"}
        hours = dg.AssetSpec(
            "daily",
            partitions_def=dg.HourlyPartitionsDefinition("2026-01-01-00:00"),
            metadata={"dagster/table_name": str(reference), "partition_expr": expression},
        )
        seen: list[Any] = []
        reader = reader_of(pa.Table, seen, DAYS)
        error = in_s3.failure(hours, reader, key="2026-01-05")
        assert isinstance(error, MissingPartitionError)
        assert "no partition 2026-01-05/01, 2026-01-05/03" in str(error)
        allowed = reader_of(pa.Table, seen, DAYS, metadata={"allow_missing_partitions": True})
        in_s3.run(hours, allowed, key="2026-01-05")
        expected = [
            {
                "n": Decimal(hour),
                "new": None,
                "delivery_date": "2026-01-05",
                "delivery_hour": hour,
            }
            for hour in ("00", "02")
        ]
        assert seen.pop().to_pylist() == expected
        in_s3.run(hours, allowed, key="2026-01-06")
        assert seen.pop().num_rows == 0

    def test_the_latest_materialization_names_the_table(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        """So does an asset of another code location, of which only the key is known here."""
        reference = self.lake(database, cloud)
        event = dg.AssetMaterialization("daily", metadata={"dagster/table_name": str(reference)})
        in_s3.instance.report_runless_asset_event(event)
        seen: list[Any] = []
        metadata = {"filters": [["delivery_hour", "=", "02"]], "columns": ["n"]}
        reader = reader_of(pd.DataFrame, seen, metadata=metadata)
        in_s3.run(dg.AssetSpec("daily"), reader)
        assert seen.pop().to_dict("list") == {"n": [Decimal(2)]}

    def test_a_table_with_other_partitions(
        self, in_s3: Project, database: str, cloud: CloudResource
    ) -> None:
        reference = self.lake(database, cloud)
        spec = dg.AssetSpec(
            "daily", partitions_def=DAYS, metadata={"dagster/table_name": str(reference)}
        )
        reader = reader_of(pa.Table, [], DAYS)
        error = in_s3.failure(spec, reader, key="2026-01-05")
        assert isinstance(error, AssetDataError)
        assert "by delivery_date, delivery_hour. Set partition_expr" in str(error)
