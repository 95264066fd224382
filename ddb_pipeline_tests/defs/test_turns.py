"""The pipelines of a tick: each in its turn, for a limited time, none stopped by another."""

import logging
from collections.abc import Callable

import dagster as dg
import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs import turns as module
from ddb_pipeline.defs.crawl import crawl_sensor
from ddb_pipeline.defs.export_sensor import export_sensor
from ddb_pipeline.defs.failure_sensor import failed_batches_sensor
from ddb_pipeline.defs.landing_sensor import landing_sensor
from ddb_pipeline.defs.redelivery import failed_records_sensor
from ddb_pipeline.defs.source import source_sensor
from ddb_pipeline.defs.table_change_sensor import glue_table_change_sensor
from ddb_pipeline.defs.turns import Turns
from ddb_pipeline_tests.support.sensor_ticks import Clock, MockAccount, Ticks

LOG = logging.getLogger(__name__)
NAMES = ("a", "b", "c", "d", "e")
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "denied"}}, "ListObjectsV2")


class SlowClock:
    """A monotonic clock that each visit moves on by a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowClock:
    clock = SlowClock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def visited(turns: Turns, slow: SlowClock, seconds: float = 100.0) -> str:
    names: list[str] = []

    def action(name: str) -> None:
        names.append(name)
        slow.now += 1.0

    turns.visit({name: name for name in NAMES}, action, LOG, seconds=seconds)
    return "".join(names)


def test_a_tick_with_time_visits_all(slow: SlowClock) -> None:
    turns = Turns()
    assert visited(turns, slow) == "abcde"
    assert turns.first == ""


def test_ticks_without_time_for_all_visit_each_in_turn(slow: SlowClock) -> None:
    turns = Turns()
    assert [visited(turns, slow, seconds=2.0) for _ in range(5)] == ["ab", "cd", "ea", "bc", "de"]


def test_a_visit_longer_than_a_tick_starves_no_other(slow: SlowClock) -> None:
    turns = Turns()
    assert [visited(turns, slow, seconds=0.5) for _ in range(6)] == ["a", "b", "c", "d", "e", "a"]


def test_a_pipeline_that_is_no_longer_configured_begins_no_tick(slow: SlowClock) -> None:
    assert visited(Turns("gone"), slow) == "abcde"


def test_a_full_tick_ends(slow: SlowClock) -> None:
    done: list[str] = []
    turns = Turns()
    turns.visit({n: n for n in NAMES}, done.append, LOG, is_full=lambda: len(done) == 3)
    assert (done, turns.first) == (["a", "b", "c"], "d")


def test_a_failure_is_named_and_stops_no_other() -> None:
    done: list[str] = []

    def action(name: str) -> None:
        if name == "b":
            raise DENIED
        done.append(name)

    turns = Turns()
    turns.visit({name: name for name in NAMES}, action, LOG)
    assert done == ["a", "c", "d", "e"]
    (reason,) = turns.reasons()
    assert reason.startswith("b: ")
    assert "denied" in reason


def test_where_all_fail_the_tick_fails() -> None:
    def action(_: str) -> None:
        raise DENIED

    with pytest.raises(ClientError, match="denied"):
        Turns().visit({name: name for name in NAMES}, action, LOG)


def test_a_defect_of_the_program_is_no_failure_of_a_pipeline() -> None:
    def action(_: str) -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        Turns().visit({name: name for name in NAMES}, action, LOG)


SENSORS = (
    crawl_sensor,
    export_sensor,
    failed_batches_sensor,
    failed_records_sensor,
    glue_table_change_sensor,
    landing_sensor,
    source_sensor,
)


@pytest.mark.parametrize("sensor_of", SENSORS)
def test_a_broken_pipeline_does_not_stop_the_others(
    sensor_of: Callable[[Settings], dg.SensorDefinition],
    account_of: Callable[..., MockAccount],
    instance: dg.DagsterInstance,
    clock: Clock,
) -> None:
    good, broken = PipelineConfig(name="good"), PipelineConfig(name="broken")
    account = account_of(broken, good)
    remove(account, broken)
    account.cloud.requests.clear()
    alone = Settings(target=account.settings.target, region="eu-west-1", pipelines=(good,))
    Ticks(sensor_of(alone), instance, account.cloud, clock).tick()
    needed = account.cloud.requests.copy()
    account.cloud.requests.clear()
    ticks = Ticks(sensor_of(account.settings), instance, account.cloud, clock)
    ticks.tick()
    assert account.cloud.requests >= needed
    assert ticks.cursor
    if sensor_of is not crawl_sensor:
        assert "broken: " in ticks.skipped


def remove(account: MockAccount, pipeline: PipelineConfig) -> None:
    """Take away what a pipeline's sensors read."""
    cloud = account.cloud
    cloud.s3.delete_bucket(Bucket=pipeline.bucket)
    cloud.dynamodb.delete_table(TableName=pipeline.dynamodb_table)
    for url in cloud.sqs.list_queues(QueueNamePrefix=pipeline.name)["QueueUrls"]:
        cloud.sqs.delete_queue(QueueUrl=url)
