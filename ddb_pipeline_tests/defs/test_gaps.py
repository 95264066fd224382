"""A pipeline that was stopped for 30 hours, longer than the stream keeps its records."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.arrow_types import parquet_write_options
from ddb_pipeline.config.choices import CurrentView, GapPolicy, SchemaFix, StreamReader
from ddb_pipeline.config.names import checkpoint_table, current_table, stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.checks import ARRIVAL_SECONDS
from ddb_pipeline.defs.gaps import gap_sensor
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.lake.current.manifest import MANIFEST
from ddb_pipeline.lake.gaps import PAD_AFTER, PAD_BEFORE, read_gaps, report_gap
from ddb_pipeline.lake.layout import CURRENT_PREFIX, hour_of_key
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.lake.reconciliation_state import STATE_KEY
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources import cloud as cloud_module
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.embedded_history import age_history, age_streams
from ddb_pipeline_tests.support.polling import wait_until
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks

PIPELINE = PipelineConfig(
    name="stopped",
    bucket="stopped-lake",
    lake_prefix="sales/stopped",
    schema_fix=SchemaFix.DAGSTER,
    stream_reader=StreamReader.CONSUMER,
    buffer_seconds=1,
    current=CurrentView.STREAM,
)
STOPPED = timedelta(hours=30)


class Stopped:
    """The pipeline on an embedded AWS that can be stopped for a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        (self.pipeline,) = settings.pipelines
        self.table = self.pipeline.dynamodb_table
        self.definitions = build_defs(settings)
        self.cloud = CloudResource.of(settings)

    def put(self, key: str, number: int) -> None:
        item = {"log_id": {"S": key}, "n": {"N": str(number)}}
        self.cloud.dynamodb.put_item(TableName=self.table, Item=item)

    def delete(self, key: str) -> None:
        self.cloud.dynamodb.delete_item(TableName=self.table, Key={"log_id": {"S": key}})

    def consume(self) -> None:
        config = {"ops": {"consume_stream_records": {"config": {"pipeline": self.pipeline.name}}}}
        job = self.definitions.resolve_job_def("consume_stream")
        assert job.execute_in_process(run_config=config).success

    def materialise(self, *names: str) -> Any:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey([self.pipeline.name, name]) for name in names]
        result = job.execute_in_process(asset_selection=keys)
        assert result.success
        return result

    def rows(self) -> list[dict[str, Any]]:
        s3, found = self.cloud.s3, []
        for stored in list_objects(s3, self.pipeline.lake, "stream/"):
            body = read_object(s3, self.pipeline.lake, stored.key)
            found += pq.read_table(pa.BufferReader(body)).to_pylist()
        return sorted(found, key=lambda row: (row["ddb_event_time"], row["log_id"]))

    def export(self) -> None:
        config = {"ops": {"export_to_s3": {"config": {"pipeline": self.pipeline.name}}}}
        job = self.definitions.resolve_job_def("export_table")
        assert job.execute_in_process(run_config=config).success

    def view(self) -> dict[str, Any]:
        """The rows of the catalog table's files by key."""
        reference = current_table(self.pipeline)
        table = self.cloud.glue.get_table(DatabaseName=reference.database, Name=reference.name)
        prefix = table["Table"]["StorageDescriptor"]["Location"].removeprefix(
            self.pipeline.lake.uri()
        )
        s3, found = self.cloud.s3, {}
        for stored in list_objects(s3, self.pipeline.lake, prefix):
            body = read_object(s3, self.pipeline.lake, stored.key)
            for row in pq.read_table(pa.BufferReader(body)).to_pylist():
                assert row["log_id"] not in found
                found[row["log_id"]] = row["n"]
        return found

    def items(self) -> dict[str, Any]:
        """The table's items by key."""
        items = self.cloud.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {item["log_id"]["S"]: int(item["n"]["N"]) for item in items}

    def delivered(self) -> None:
        """Pretend that the stream was reconciled up to now: changes need minutes to be."""
        waited = self.pipeline.buffer_seconds + ARRIVAL_SECONDS + 1
        real = time.time

        def later() -> float:
            return real() + waited

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.time", later)
            self.materialise("parquet_current")

    def run_function(self, enabled: bool) -> None:
        """Have the stream invoke the streaming function, or not."""
        functions = self.cloud.client("lambda")
        name = stream_function(self.pipeline)
        for mapping in functions.list_event_source_mappings(FunctionName=name)[
            "EventSourceMappings"
        ]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)

    def get(self, key: str) -> bytes:
        """An object of the lake."""
        return read_object(self.cloud.s3, self.pipeline.lake, key)

    def set(self, key: str, body: bytes) -> None:
        """Write an object of the lake."""
        lake = self.pipeline.lake
        self.cloud.s3.put_object(Bucket=lake.bucket, Key=lake.object_key(key), Body=body)

    def age_view(self, passed: timedelta) -> None:
        """Make the full export older on which the view is based, and the view's rows."""
        manifest = json.loads(self.get(f"{CURRENT_PREFIX}{MANIFEST}"))
        for place, name in ((manifest["snapshot"], "time"), (manifest, "as_of")):
            place[name] -= passed // timedelta(microseconds=1)
        manifest["tombstones_from"] -= passed // timedelta(microseconds=1)
        for file in manifest["files"]:
            key = f"{CURRENT_PREFIX}{file['path']}"
            self.set(key, aged(self.get(key), "ddb_updated_at", passed))
        self.set(f"{CURRENT_PREFIX}{MANIFEST}", json.dumps(manifest).encode())

    def age_rows(self, passed: timedelta) -> None:
        """Make the rows of the stream older, which then lie in earlier hours."""
        for stored in list(list_objects(self.cloud.s3, self.pipeline.lake, "stream/")):
            hour = hour_of_key(stored.key)
            assert hour is not None
            earlier = hour.plus(-int(passed.total_seconds() // 3600))
            body = aged(self.get(stored.key), "ddb_event_time", passed)
            self.set(f"{earlier.prefix}{stored.key.rpartition('/')[2]}", body)
            key = self.pipeline.lake.object_key(stored.key)
            self.cloud.s3.delete_object(Bucket=self.pipeline.bucket, Key=key)

    def age_reconciliation(self, passed: timedelta) -> None:
        """Make the last reconciliation older."""
        state = json.loads(self.get(STATE_KEY))
        state["until"] -= passed.total_seconds()
        self.set(STATE_KEY, json.dumps(state).encode())

    def stop_for(self, passed: timedelta) -> None:
        home = self.settings.home / "embedded"
        stop(home)
        age_history(home, passed)
        age_streams(home, passed)
        # The next client starts the embedded AWS again, at another port.
        cloud_module._embedded_arguments.cache_clear()
        self.cloud = CloudResource.of(self.settings)
        self.definitions = build_defs(self.settings)
        self.age_view(passed)
        self.age_rows(passed)
        self.age_reconciliation(passed)
        if self.pipeline.stream_reader is StreamReader.LAMBDA:
            return
        table = checkpoint_table(self.pipeline)
        for item in self.cloud.dynamodb.scan(TableName=table)["Items"]:
            if "delivered_until" in item:
                moment = float(item["delivered_until"]["N"]) - passed.total_seconds()
                item["delivered_until"] = {"N": str(moment)}
                self.cloud.dynamodb.put_item(TableName=table, Item=item)


def aged(body: bytes, column: str, passed: timedelta) -> bytes:
    """Parquet whose times are earlier: numbers in milliseconds, or timestamps."""
    table = pq.read_table(pa.BufferReader(body), coerce_int96_timestamp_unit="us")
    position = table.schema.get_field_index(column)
    times = table.column(position)
    if pa.types.is_integer(times.type):
        earlier = pc.subtract(times, pa.scalar(passed // timedelta(milliseconds=1), times.type))
    else:
        earlier = pc.subtract(times.cast(pa.timestamp("us")), pa.scalar(passed)).cast(times.type)
    sink = pa.BufferOutputStream()
    table = table.set_column(position, column, earlier)
    pq.write_table(table, sink, **parquet_write_options())
    return bytes(sink.getvalue().to_pybytes())


def compared(result: Any) -> Any:
    """The result of ``current_equals_source``."""
    (found,) = (
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == "current_equals_source"
    )
    return found


@pytest.fixture
def stopped(tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Stopped]:
    pipeline = PIPELINE.model_copy(update=getattr(request, "param", {}))
    settings = Settings(home=tmp_path, pipelines=(pipeline,))
    yield Stopped(settings)
    stop(tmp_path / "embedded")


@pytest.mark.embedded
@pytest.mark.timeout(900)
def test_what_the_stream_lost_comes_from_an_export(stopped: Stopped) -> None:
    for number in range(4):
        stopped.put(f"item-{number}", 1)
    stopped.materialise("crawled_catalog_table", "normalized_schema", "lake_table")
    # The window of the export begins after these, and before the next ones.
    time.sleep(PAD_BEFORE + 1)
    stopped.put("last", 1)
    stopped.put("created-just-before", 1)
    stopped.consume()
    wait_until(lambda: len(stopped.rows()) == 6, "rows")
    stopped.export()
    stopped.delivered()
    assert stopped.view() == stopped.items()
    # From here on nothing reads the stream.
    stopped.put("item-1", 2)
    stopped.put("item-1", 3)
    stopped.delete("item-2")
    stopped.put("new", 1)
    stopped.put("short-lived", 1)
    stopped.delete("short-lived")
    stopped.delete("created-just-before")
    stopped.stop_for(STOPPED)
    stopped.put("item-3", 2)

    stopped.consume()
    (gap,) = read_gaps(stopped.cloud.s3, PIPELINE.lake)
    assert gap.open
    assert gap.start < time.time() - 29 * 3600
    assert "trimmed" in gap.causes[0]
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(gap_sensor(stopped.settings), instance, stopped.cloud, Clock())
        request = ticks.one()
        assert request.asset_selection == [dg.AssetKey([PIPELINE.name, "healed_gaps"])]
    result = stopped.materialise("healed_gaps")
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    (gap,) = read_gaps(stopped.cloud.s3, PIPELINE.lake)
    assert sum(cure.changes for cure in gap.cures) == 5
    with dg.DagsterInstance.ephemeral() as instance:
        assert Ticks(gap_sensor(stopped.settings), instance, stopped.cloud, Clock()).tick() == []
    stopped.materialise("redelivered_records")
    healed = [row for row in stopped.rows() if row["ddb_event_id"].startswith("healed-")]
    newest = {row["log_id"]: (row["ddb_event_name"], row["n"]) for row in healed}
    assert newest["item-1"][1] == 3
    assert newest["item-2"] == ("REMOVE", None)
    assert newest["new"] == ("INSERT", 1)
    # The export has nothing of it: its window began before the item was created.
    assert newest["created-just-before"] == ("REMOVE", None)
    assert all(row["ddb_sequence_number"] is None for row in healed)
    wait_until(lambda: any(row["n"] == 2 for row in stopped.rows()), "the row of item-3")
    result = stopped.materialise("parquet_current")
    assert stopped.view() == stopped.items()
    assert stopped.items() == {
        "item-0": 1,
        "item-1": 3,
        "item-3": 2,
        "last": 1,
        "new": 1,
    }
    evaluation = compared(result)
    assert evaluation.passed
    assert evaluation.metadata["compared"].value == 5
    # Healed a second time, nothing is added.
    before = stopped.rows()
    stopped.cloud.s3.delete_object(
        Bucket=PIPELINE.bucket, Key=PIPELINE.lake.object_key("pipeline-state/gaps.json")
    )
    span = (gap.start + PAD_BEFORE, gap.end - PAD_AFTER)
    report_gap(stopped.cloud.s3, PIPELINE.lake, span, "again", now=time.time())
    stopped.materialise("healed_gaps")
    stopped.materialise("redelivered_records")
    assert stopped.rows() == before


@pytest.mark.embedded
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stopped", [{"stream_reader": StreamReader.LAMBDA}], indirect=True)
def test_what_the_function_never_got_is_found_by_the_reconciliation(stopped: Stopped) -> None:
    stopped.run_function(False)
    for number in range(3):
        stopped.put(f"item-{number}", 1)
    stopped.materialise("crawled_catalog_table", "normalized_schema", "lake_table")
    stopped.run_function(True)
    wait_until(lambda: len(stopped.rows()) == 3, "rows")
    # The window of the export that heals begins after the items were created.
    time.sleep(PAD_BEFORE + 1)
    stopped.export()
    stopped.delivered()
    # Since the reconciliation the pipeline has worked for a while.
    stopped.put("created", 1)
    wait_until(lambda: len(stopped.rows()) == 4, "the row that was created later")
    stopped.materialise("parquet_current")
    assert stopped.view() == stopped.items()
    stopped.run_function(False)
    stopped.delete("created")
    stopped.put("item-1", 2)
    stopped.delete("item-2")
    stopped.stop_for(STOPPED)
    stopped.run_function(True)
    stopped.put("item-0", 3)
    wait_until(lambda: any(row["n"] == 3 for row in stopped.rows()), "the function works again")
    with dg.DagsterInstance.ephemeral() as instance:
        request = Ticks(gap_sensor(stopped.settings), instance, stopped.cloud, Clock()).one()
        assert request.asset_selection == [dg.AssetKey(["stopped", "healed_gaps"])]
    # By its policy the pipeline only reports the gap at first.
    heals = stopped.definitions
    reports = stopped.pipeline.model_copy(update={"gap_policy": GapPolicy.REPORT})
    stopped.definitions = build_defs(stopped.settings.model_copy(update={"pipelines": (reports,)}))
    (evaluation,) = stopped.materialise("healed_gaps").get_asset_check_evaluations()
    assert not evaluation.passed
    (gap,) = read_gaps(stopped.cloud.s3, stopped.pipeline.lake)
    assert (gap.open, gap.cures) == (True, ())
    assert "lost records unread" in gap.causes[0]
    stopped.definitions = heals
    (evaluation,) = stopped.materialise("healed_gaps").get_asset_check_evaluations()
    assert evaluation.passed
    stopped.materialise("redelivered_records")
    healed = [row for row in stopped.rows() if row["ddb_event_id"].startswith("healed-")]
    assert {(row["log_id"], row["ddb_event_name"]) for row in healed} >= {
        ("created", "REMOVE"),
        ("item-1", "MODIFY"),
        ("item-2", "REMOVE"),
    }
    assert compared(stopped.materialise("parquet_current")).passed
    assert stopped.view() == stopped.items() == {"item-0": 3, "item-1": 2}


def test_the_sensor_reports_where_it_may_not_heal(
    account_of: Any, instance: dg.DagsterInstance, clock: Clock
) -> None:
    account: MockAccount = account_of(PipelineConfig(name="logs", gap_policy=GapPolicy.REPORT))
    ticks = Ticks(gap_sensor(account.settings), instance, account.cloud, clock)
    assert ticks.tick() == []
    assert ticks.skipped == "No gap is open."
    bucket = account.pipeline.bucket
    report_gap(
        account.cloud.s3, LakeRoot(bucket), (clock.now - 7200, clock.now - 3600), "c", now=clock.now
    )
    request = ticks.one()
    ticks.record(request, dg.DagsterRunStatus.SUCCESS)
    ticks.later(1e5)
    assert ticks.tick() == []
    assert ticks.skipped == "logs: its gaps are reported only"


def test_a_table_without_recovery_is_named(
    account: MockAccount, instance: dg.DagsterInstance, clock: Clock
) -> None:
    ticks = Ticks(gap_sensor(account.settings), instance, account.cloud, clock)
    bucket = account.pipeline.bucket
    report_gap(
        account.cloud.s3, LakeRoot(bucket), (clock.now - 7200, clock.now - 3600), "c", now=clock.now
    )
    ticks.record(ticks.one(), dg.DagsterRunStatus.SUCCESS)
    ticks.later(1e5)
    assert ticks.tick() == []
    assert "point-in-time recovery" in ticks.skipped
