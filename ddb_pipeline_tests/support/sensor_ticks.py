"""A sensor evaluated tick by tick on a Dagster instance, with a clock that tests set."""

import json
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import dagster as dg

from ddb_pipeline.config.names import failure_queue, object_change_queue
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.resources.cloud import CloudResource

REGION = "eu-west-1"
STARTED, SUCCESS, FAILURE = (
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
)


@dataclass
class Clock:
    """Stands in for the module ``time`` where sensors read it."""

    now: float = 1_780_000_000.0

    def time(self) -> float:
        return self.now


class CountingCloud(CloudResource):
    """Makes each client once, as that takes most of a test's time, and counts its requests."""

    clients: ClassVar[dict[tuple[str | None, str], Any]] = {}
    requests: ClassVar[Counter[str]] = Counter()

    def client(self, service: str) -> Any:
        """A client of the service; its requests are counted by operation."""
        place = (self.endpoint_url, service)
        if place not in self.clients:
            self.clients[place] = super().client(service)
            self.clients[place].meta.events.register("before-call", self._count)
        return self.clients[place]

    def _count(self, model: Any, **_: Any) -> None:
        self.requests[model.name] += 1


@dataclass
class Ticks:
    """A sensor's ticks; the runs that it requests are recorded with a given status, not executed.

    Attributes:
        cursor: what the last tick stored.
        skipped: the last tick's skip reason.
        events: the last tick's asset events.
    """

    sensor: dg.SensorDefinition
    instance: dg.DagsterInstance
    cloud: CloudResource
    clock: Clock
    cursor: str | None = None
    skipped: str = ""
    events: list[Any] = field(default_factory=list)

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the sensor once, as the daemon does."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"cloud": self.cloud}
        ) as context:
            result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        for added in result.dynamic_partitions_requests or ():
            keys = list(added.partition_keys)
            self.instance.add_dynamic_partitions(added.partitions_def_name, keys)
        skipped = result.skip_reason
        self.skipped = (
            skipped.skip_message if isinstance(skipped, dg.SkipReason) else skipped
        ) or ""
        self.cursor = result.cursor if result.cursor is not None else self.cursor
        self.events = list(result.asset_events)
        return list(result.run_requests or ())

    def one(self) -> dg.RunRequest:
        """The run request of a tick that has exactly one."""
        (request,) = self.tick()
        return request

    def record(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """Record the requested run as the daemon would, with this status.

        A successful run of a partition materialises it with the content that it was requested for.
        """
        self.instance.add_run(
            dg.DagsterRun(
                job_name=request.job_name or "materialize",
                run_id=str(uuid.uuid4()),
                status=status,
                tags={**request.tags, "dagster/run_key": request.run_key or ""},
            )
        )

        if status is SUCCESS and request.partition_key:
            self.materialize(request)

    def materialize(self, request: dg.RunRequest, content: str = "") -> None:
        """Record a materialization of the requested partition, by default with its content."""
        (key,) = request.asset_selection or ()
        version = (request.run_key or "").rsplit(":", 2)[1].rpartition(".")[0]
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                key,
                partition=request.partition_key,
                tags={"dagster/data_version": content or version},
            )
        )

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds


class MockAccount:
    """An AWS account of moto's, with one bucket and database for each pipeline."""

    def __init__(self, *pipelines: PipelineConfig) -> None:
        self.settings = Settings(target=Target.AWS, region=REGION, pipelines=pipelines)
        self.pipeline = pipelines[0]
        self.cloud = CountingCloud(
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for pipeline in pipelines:
            self.cloud.s3.create_bucket(
                Bucket=pipeline.bucket,
                CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
            )
            self.create_database(pipeline.database)
            for queue in (
                pipeline.change_queue,
                object_change_queue(pipeline),
                failure_queue(pipeline),
            ):
                self.cloud.sqs.create_queue(QueueName=queue)
            self.cloud.dynamodb.create_table(
                TableName=pipeline.dynamodb_table,
                AttributeDefinitions=[{"AttributeName": "log_id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "log_id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={
                    "StreamEnabled": True,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            )

    def create_database(self, name: str) -> None:
        """Create a database; pipelines may share one."""
        glue = self.cloud.glue
        with suppress(glue.exceptions.AlreadyExistsException):
            glue.create_database(DatabaseInput={"Name": name})

    def send(self, queue: str, body: str = "{}") -> None:
        """Put a message into a queue."""
        url = self.cloud.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        self.cloud.sqs.send_message(QueueUrl=url, MessageBody=body)

    def send_event(self) -> None:
        """Put a table-change event into the queue of the first pipeline."""
        self.send(self.pipeline.change_queue)

    def send_object_event(self, key: str) -> None:
        """Put an event about an object of the lake into the queue of the first pipeline."""
        body = json.dumps(
            {"source": "aws.s3", "detail": {"object": {"key": self.pipeline.lake.object_key(key)}}}
        )
        self.send(object_change_queue(self.pipeline), body)

    def put(self, key: str, body: bytes = b"x") -> None:
        """Write an object to the lake of the first pipeline."""
        self.cloud.s3.put_object(
            Bucket=self.pipeline.bucket, Key=self.pipeline.lake.object_key(key), Body=body
        )

    def delete(self, key: str) -> None:
        """Remove an object from the lake of the first pipeline."""
        self.cloud.s3.delete_object(
            Bucket=self.pipeline.bucket, Key=self.pipeline.lake.object_key(key)
        )

    def write_table(self, name: str, column_type: str) -> None:
        """Create or update a catalog table with one column, ``tags``."""
        columns = [{"Name": "tags", "Type": column_type}]
        table: Any = {"Name": name, "StorageDescriptor": {"Columns": columns}}
        glue, database = self.cloud.glue, self.pipeline.database
        try:
            glue.create_table(DatabaseName=database, TableInput=table)
        except glue.exceptions.AlreadyExistsException:
            glue.update_table(DatabaseName=database, TableInput=table)
