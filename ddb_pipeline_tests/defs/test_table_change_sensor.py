"""The table-change sensor on an ephemeral instance, its tables and queue in the embedded AWS."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.defs import table_change_sensor as module
from ddb_pipeline.defs.table_change_sensor import glue_table_change_sensor
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.resources.cloud import CloudResource

pytestmark = pytest.mark.embedded

Create = Callable[[str], Any]


@dataclass
class Ticks:
    """A sensor ticked by hand; runs are recorded as asked for and finished as told."""

    settings: Settings
    cloud: CloudResource
    instance: dg.DagsterInstance
    cursor: str | None = None
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)

    def tick(self) -> list[dg.RunRequest]:
        sensor = glue_table_change_sensor(self.settings)
        started = time.monotonic()
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"cloud": self.cloud}
        ) as context:
            data = sensor.evaluate_tick(context)
        self.seconds = time.monotonic() - started
        self.cursor = data.cursor
        return list(data.run_requests or ())

    def finish(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """Record a run of this request as the daemon would, ended with this status."""
        run = dg.DagsterRun(
            job_name="schema",
            run_id=str(uuid.uuid4()),
            status=status,
            tags={**request.tags, "dagster/run_key": request.run_key or ""},
        )
        self.instance.add_run(run)

    def later(self, seconds: float) -> None:
        """Let the cursor's times be so many seconds longer ago."""
        cursor = json.loads(self.cursor or "{}")
        cursor["reconciled_at"] -= seconds
        for entry in cursor["seen"].values():
            entry["requested_at"] -= seconds
        self.cursor = json.dumps(cursor)


@pytest.fixture
def database(aws_client: Create) -> str:
    name = f"s{uuid.uuid4().hex[:12]}"
    aws_client("glue").create_database(DatabaseInput={"Name": name})
    aws_client("sqs").create_queue(QueueName=name)
    return name


def pipeline(name: str, database: str) -> PipelineConfig:
    return PipelineConfig(
        name=name,
        dynamodb_table=name,
        database=database,
        change_queue=database,
        bucket="some-lake",
    )


@pytest.fixture
def ticks_of(
    embedded_aws: Endpoint, database: str
) -> Iterator[Callable[[list[PipelineConfig]], Ticks]]:
    with dg.DagsterInstance.ephemeral() as instance:

        def make(pipelines: list[PipelineConfig]) -> Ticks:
            settings = Settings(target=Target.AWS, pipelines=tuple(pipelines))
            cloud = CloudResource(
                settings=settings.model_dump(mode="json"),
                region_name=embedded_aws.region,
                endpoint_url=embedded_aws.url,
                aws_access_key_id=embedded_aws.access_key_id,
                aws_secret_access_key=embedded_aws.secret_access_key,
            )
            return Ticks(settings, cloud, instance)

        yield make


@pytest.fixture
def ticks(ticks_of: Callable[[list[PipelineConfig]], Ticks], database: str) -> Ticks:
    return ticks_of([pipeline("logs", database)])


def write(aws_client: Create, database: str, name: str, kind: str) -> None:
    glue = aws_client("glue")
    table = {"Name": name, "StorageDescriptor": {"Columns": [{"Name": "tags", "Type": kind}]}}
    try:
        glue.create_table(DatabaseName=database, TableInput=table)
    except glue.exceptions.AlreadyExistsException:
        glue.update_table(DatabaseName=database, TableInput=table)


def wake(aws_client: Create, database: str, times: int = 1) -> None:
    sqs = aws_client("sqs")
    url = sqs.get_queue_url(QueueName=database)["QueueUrl"]
    for _ in range(times):
        sqs.send_message(QueueUrl=url, MessageBody="{}")


SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


def test_a_table_with_sets_is_one_run_however_many_events(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    write(aws_client, database, "logs", "set<string>")
    wake(aws_client, database, times=25)
    (request,) = ticks.tick()
    assert [key.to_user_string() for key in request.asset_selection or ()] == [
        "logs/normalized_schema",
        "logs/lake_table",
    ]
    ticks.finish(request, dg.DagsterRunStatus.STARTED)
    wake(aws_client, database)
    assert ticks.tick() == []


def test_the_fixs_own_update_asks_for_no_further_run(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    write(aws_client, database, "logs", "set<string>")
    (request,) = ticks.tick()
    write(aws_client, database, "logs", "array<string>")
    ticks.finish(request, SUCCESS)
    wake(aws_client, database)
    assert ticks.tick() == []


def test_a_lost_event_is_found_within_an_interval(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    write(aws_client, database, "logs", "array<string>")
    (request,) = ticks.tick()
    ticks.finish(request, SUCCESS)
    write(aws_client, database, "logs", "set<string>")
    assert ticks.tick() == []
    ticks.later(module.RECONCILE_AWS_SECONDS)
    assert len(ticks.tick()) == 1


def test_a_revert_to_an_earlier_schema_is_fixed_again(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    keys = []
    for _ in range(3):
        write(aws_client, database, "logs", "set<string>")
        wake(aws_client, database)
        (request,) = ticks.tick()
        keys.append(request.run_key)
        write(aws_client, database, "logs", "array<string>")
        ticks.finish(request, SUCCESS)
    assert len(set(keys)) == 3


def test_a_failed_run_is_asked_for_again_under_another_key(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    write(aws_client, database, "logs", "set<string>")
    (first,) = ticks.tick()
    ticks.finish(first, FAILURE)
    assert ticks.tick() == []
    ticks.later(11)
    (second,) = ticks.tick()
    assert second.run_key != first.run_key
    assert second.tags["ddb_pipeline/attempt"] == "1"


def test_a_table_made_anew_is_another_table(
    aws_client: Create, database: str, ticks: Ticks
) -> None:
    write(aws_client, database, "logs", "set<string>")
    (first,) = ticks.tick()
    ticks.finish(first, SUCCESS)
    aws_client("glue").delete_table(DatabaseName=database, Name="logs")
    time.sleep(1.1)
    write(aws_client, database, "logs", "set<string>")
    wake(aws_client, database)
    (second,) = ticks.tick()
    assert second.run_key != first.run_key


def test_no_table_is_nothing_to_do(ticks: Ticks) -> None:
    assert ticks.tick() == []


def test_a_thousand_tables_in_a_tick(
    aws_client: Create,
    database: str,
    ticks_of: Callable[[list[PipelineConfig]], Ticks],
) -> None:
    names = [f"table{number}" for number in range(1000)]
    for name in names:
        write(aws_client, database, name, "struct<tags:set<string>,when:bigint>")
    many = ticks_of([pipeline(name, database) for name in names])
    requests = many.tick()
    assert len(requests) == 1000
    assert many.seconds < 5
    print(f"first tick {many.seconds:.2f} s")  # noqa: T201
    for request in requests:
        many.finish(request, SUCCESS)
    wake(aws_client, database)
    assert many.tick() == []
    assert many.seconds < 5
    print(f"second tick {many.seconds:.2f} s")  # noqa: T201
