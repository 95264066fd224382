"""One verification: a temporary stack, observations of what this project assumes, its removal."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.cli.demo_run import Demo
from ddb_pipeline.cli.deploy import account_of, uploaded
from ddb_pipeline.cli.sensor_loop import SensorLoop
from ddb_pipeline.config.names import crawled_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings, Target
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.estate import Outcome, deploy_stacks, waves
from ddb_pipeline.deploy.stack import DeployError
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.request import start_export, wait_for_export
from ddb_pipeline.export.window import SHORTEST_WINDOW, Window
from ddb_pipeline.firehose.error_objects import FailedRecord, read_error_object
from ddb_pipeline.firehose.held import HELD_CODE
from ddb_pipeline.glue.catalog import read_table, update_table
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import ERROR_PREFIX, REDELIVERED_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.objects import list_objects, read_object
from ddb_pipeline.lake.parquet_objects import file_columns
from ddb_pipeline.queues import Queue
from ddb_pipeline.resources.cloud import CloudResource

MIXED = "probe_mixed"
SET_TYPE = "set<string>"
PACKED = ("probe-1", "probe-2")
BROKEN = "probe-3"
EVENT_SECONDS = 180.0
PROVISIONED_UNITS = 4_000
AWS_DEADLINE_SECONDS = 3_600.0
EMBEDDED_DEADLINE_SECONDS = 300.0


class ProbeTimeoutError(DdbPipelineError):
    """What a probe waits for did not happen in time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is verified only on request, because it costs more."""

    shard_split: bool = False
    emr: bool = False


def temporary_pipeline(name: str, account: str, *, embedded: bool, emr: bool) -> PipelineConfig:
    """The pipeline of a verification; all that it creates has its name."""
    stem = name.replace("_", "-")
    return PipelineConfig.model_validate(
        {
            "name": name,
            "bucket": f"{stem}-{account}",
            "delivery_schema": "crawled",
            "schema_fix": "dagster",
            "start": datetime.now(timezone.utc),
            "buffer_seconds": 1 if embedded else 60,
            **({"relevance": {}, "spark": {"emr_serverless": True}} if emr else {}),
        }
    )


@dataclass
class Verification:
    """Observes a temporary pipeline.

    Attributes:
        found: what was observed, by the name of the assumption.
        skipped: why others were not.
    """

    settings: Settings
    asked: Asked
    on_stage: Callable[[str], None]
    found: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline: PipelineConfig = self.settings.pipelines[0]
        self.embedded = self.settings.target is Target.EMBEDDED
        self.cloud = CloudResource.of(self.settings)
        seconds = EMBEDDED_DEADLINE_SECONDS if self.embedded else AWS_DEADLINE_SECONDS
        self.deadline_seconds = seconds

    def run(self, items: int) -> None:
        """Deploy the stack, and look at each assumption; a probe that fails ends only itself."""
        self.deploy()
        with dg.DagsterInstance.ephemeral() as instance:
            began = datetime.now(timezone.utc)
            with self.probe("the demo's flow", "crawler_sets", "firehose_set_code", "nothing_lost"):
                self.flow(items, instance)
            with self.probe("Firehose's message", "firehose_set_message"):
                self.found["firehose_set_message"] = self.set_message()
            with self.probe("packed records", "packed_documents", "packed_bad_document"):
                self.packed()
            with self.probe("EventBridge", "eventbridge_delay"):
                self.found["eventbridge_delay"] = self.event_delay()
            with self.probe("a crawl of mixed types", "crawler_mixed"):
                self.found["crawler_mixed"] = self.mixed_type()
            with self.probe("an incremental export", "incremental_export"):
                self.found["incremental_export"] = self.incremental(began)
            self.on_request(instance)

    def on_request(self, instance: dg.DagsterInstance) -> None:
        """Look at what was asked for."""
        if self.asked.shard_split:
            with self.probe("a shard split", "shard_split"):
                self.found["shard_split"] = self.split_shards()
        else:
            self.skipped["shard_split"] = "not asked for: --shard-split"
        if not self.asked.emr:
            self.skipped["emr_job"] = "not asked for: --emr"
        elif self.embedded:
            self.skipped["emr_job"] = "the embedded AWS has no EMR Serverless"
        else:
            with self.probe("a job on EMR Serverless", "emr_job"):
                self.found["emr_job"] = self.emr_job(instance)

    @contextmanager
    def probe(self, stage: str, *names: str) -> Iterator[None]:
        """Note the error of a probe for its assumptions."""
        self.on_stage(stage)
        try:
            yield
        except (DdbPipelineError, ClientError, BotoCoreError) as error:
            reason = " ".join(str(error).split())[:300]
            self.skipped |= {name: reason for name in names if name not in self.found}

    def deploy(self) -> None:
        """Deploy the stack as ``ddb-pipeline deploy`` does, from a bucket of its own for code."""
        self.on_stage("the stack")
        if self.embedded:
            self.cloud.glue.get_databases()
            return
        bucket = code_bucket(self.pipeline)
        place: Any = {"LocationConstraint": self.settings.region}
        options = (
            {} if self.settings.region == "us-east-1" else {"CreateBucketConfiguration": place}
        )
        self.cloud.s3.create_bucket(Bucket=bucket, **options)
        bundles = build_bundles()
        account = account_of(self.cloud, uploaded(self.cloud, bucket))
        planned = waves(None, [self.pipeline], [self.pipeline], bucket, bundles)
        for result in deploy_stacks(account, planned, parallel=1):
            if result.outcome is Outcome.FAILED:
                raise DeployError(f"{result.stack}: {result.reason}")

    def flow(self, items: int, instance: dg.DagsterInstance) -> None:
        """The demo: items, a crawl that breaks the delivery, the fix, redelivery."""
        demo = Demo(
            self.settings,
            seed=1,
            on_stage=lambda stage, done, total: None,
            deadline_seconds=self.deadline_seconds,
        )
        result = demo.run(items, instance)
        sets = [text for text in result.schema_before.values() if "set<" in text]
        exact = SET_TYPE if SET_TYPE in sets else next(iter(sets), "no set")
        self.found["crawler_sets"] = exact
        codes = {code: n for code, n in result.failure_codes.items() if code != HELD_CODE}
        self.found["firehose_set_code"] = max(codes, key=lambda code: codes[code], default="none")
        self.found["nothing_lost"] = result.lost

    def set_message(self) -> str:
        """The message of a record that was refused for a set's type."""
        code = self.found.get("firehose_set_code")
        for record in self.failed_records(f"{REDELIVERED_PREFIX}{ERROR_PREFIX}"):
            if record.error_code == code:
                return record.error_message
        raise ProbeTimeoutError("No copy of a refused record was found.")

    def failed_records(self, prefix: str) -> Iterator[FailedRecord]:
        """The records of the error objects under a prefix."""
        lake = self.pipeline.lake
        for stored in list_objects(self.cloud.s3, lake, prefix):
            yield from read_error_object(read_object(self.cloud.s3, lake, stored.key)).records

    def packed(self) -> None:
        """Put a record of two documents, and one of a good and a malformed document."""
        good = "\n".join(json.dumps({"log_id": key}) for key in PACKED)
        bad = json.dumps({"log_id": BROKEN}) + '\n{"log_id": '
        for data in (good, bad):
            self.cloud.firehose.put_record(
                DeliveryStreamName=self.pipeline.delivery_stream, Record={"Data": data.encode()}
            )

        def failed() -> int:
            found = self.failed_records(ERROR_PREFIX)
            return sum(BROKEN.encode() in record.raw_data for record in found)

        self.until(lambda: bool(failed()) and bool(self.rows(*PACKED)), "The packed records")
        self.found["packed_documents"] = self.rows(*PACKED)
        self.found["packed_bad_document"] = {"rows": self.rows(BROKEN), "failed": failed()}

    def rows(self, *keys: str) -> int:
        """The number of rows with these keys."""
        names = [
            each.key for each in list_objects(self.cloud.s3, self.pipeline.lake, STREAM_PREFIX)
        ]
        filesystem = self.cloud.filesystem()
        tables = file_columns(filesystem, self.pipeline.lake, names, ["log_id"])
        return sum(key in keys for table in tables for key in table.column("log_id").to_pylist())

    def event_delay(self) -> float:
        """Seconds from an update of the catalog table to the event in the queue."""
        queue = Queue(self.cloud.sqs, self.pipeline.change_queue)
        queue.take()
        reference = crawled_table(self.pipeline)
        marker = {"verified_at": f"{time.time():.0f}"}
        update_table(
            self.cloud.glue,
            reference,
            lambda table: {
                **table.definition,
                "Parameters": {**(table.definition.get("Parameters") or {}), **marker},
            },
        )
        began = time.monotonic()
        while time.monotonic() - began < EVENT_SECONDS:
            if any(reference.name in body for body in queue.take()):
                return round(time.monotonic() - began, 1)
            time.sleep(0.2)
        raise ProbeTimeoutError(f"No event within {EVENT_SECONDS:.0f} s.")

    def mixed_type(self) -> str:
        """The type that the crawler gives an attribute of a number and a text."""
        values: list[dict[str, Any]] = [{"N": "1"}, {"S": "one"}]
        for number, value in enumerate(values):
            item = {"log_id": {"S": f"mixed-{number}"}, MIXED: value}
            self.cloud.dynamodb.put_item(TableName=self.pipeline.dynamodb_table, Item=item)
        run_crawler(self.cloud.glue, self.pipeline.crawler)
        table = read_table(self.cloud.glue, crawled_table(self.pipeline))
        return dict(table.columns).get(MIXED, "no column")

    def incremental(self, began: datetime) -> dict[str, int]:
        """The items of an incremental export since the table was created, and those written."""
        first = began.replace(second=0, microsecond=0)
        if self.embedded:
            first -= SHORTEST_WINDOW
        end = max(first + SHORTEST_WINDOW, datetime.now(timezone.utc).replace(microsecond=0))
        time.sleep(max(0.0, (end - datetime.now(timezone.utc)).total_seconds() + 1))
        table = describe_table(self.cloud.dynamodb, self.pipeline.dynamodb_table)
        window = Window(first, end + timedelta(seconds=self.embedded))
        started = start_export(
            self.cloud.dynamodb,
            table.arn,
            self.pipeline.bucket,
            self.pipeline.bucket_export_prefix,
            window=window,
        )
        poll = 1.0 if self.embedded else 30.0
        done = wait_for_export(self.cloud.dynamodb, started.arn, poll_seconds=poll)
        pages = self.cloud.dynamodb.get_paginator("scan").paginate(
            TableName=table.name, Select="COUNT"
        )
        return {"items": done.items, "written": sum(page["Count"] for page in pages)}

    def split_shards(self) -> int:
        """The number of shards with a parent, after more write capacity was provisioned."""
        name = self.pipeline.dynamodb_table
        units = PROVISIONED_UNITS
        self.cloud.dynamodb.update_table(
            TableName=name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": units},
        )
        self.cloud.dynamodb.get_waiter("table_exists").wait(TableName=name)
        arn = describe_table(self.cloud.dynamodb, name).stream_arn
        deadline = time.monotonic() + (10.0 if self.embedded else self.deadline_seconds)
        while True:
            stream = self.cloud.dynamodb_streams.describe_stream(StreamArn=arn)
            shards = stream["StreamDescription"].get("Shards", [])
            children = sum("ParentShardId" in shard for shard in shards)
            if children or time.monotonic() > deadline:
                return children
            time.sleep(2.0)

    def emr_job(self, instance: dg.DagsterInstance) -> str:
        """Run the job of the relevance scores."""
        loop = SensorLoop(build_defs(self.settings), self.cloud, instance)
        self.until(lambda: loop.tick("relevance_sensor") > 0, "The relevance job")
        return "succeeded"

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until ``done`` returns True.

        Raises:
            ProbeTimeoutError: it did not in time.
        """
        deadline = time.monotonic() + self.deadline_seconds
        while not done():
            if time.monotonic() > deadline:
                raise ProbeTimeoutError(f"{what} did not end in {self.deadline_seconds:.0f} s.")
            time.sleep(1.0)


def code_bucket(pipeline: PipelineConfig) -> str:
    """The temporary bucket for the functions' zips."""
    return f"{pipeline.bucket[:58].rstrip('-')}-code"


class Removal:
    """Removes all that a verification has created, also after one that was killed.

    Attributes:
        left: what could not be removed, and why.
    """

    def __init__(self, settings: Settings) -> None:
        self.pipeline = settings.pipelines[0]
        self.cloud = CloudResource.of(settings, deploys=False)
        self.left: list[str] = []

    def run(self) -> None:
        """Remove the stack, then what stacks retain: table, database, buckets."""
        pipeline, cloud = self.pipeline, self.cloud
        self.step(f"stack {pipeline.stack}", self.stack)
        name = pipeline.dynamodb_table
        self.step(f"table {name}", lambda: cloud.dynamodb.delete_table(TableName=name))
        self.step(
            f"database {pipeline.database}",
            lambda: cloud.glue.delete_database(Name=pipeline.database),
        )
        for bucket in (pipeline.bucket, code_bucket(pipeline)):
            self.step(f"bucket {bucket}", partial(self.bucket, bucket))

    def stack(self) -> None:
        """Delete the stack and wait."""
        cloudformation = self.cloud.client("cloudformation")
        cloudformation.delete_stack(StackName=self.pipeline.stack)
        waiter = cloudformation.get_waiter("stack_delete_complete")
        delay = 1 if self.cloud.embedded else 10
        waiter.wait(
            StackName=self.pipeline.stack, WaiterConfig={"Delay": delay, "MaxAttempts": 180}
        )

    def bucket(self, bucket: str) -> None:
        """Delete a bucket and its objects."""
        s3 = self.cloud.s3
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys: list[Any] = [{"Key": each["Key"]} for each in page.get("Contents", ())]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        s3.delete_bucket(Bucket=bucket)

    def step(self, what: str, remove: Callable[[], Any]) -> None:
        """Remove one thing; what does not exist is removed."""
        try:
            remove()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if not code.endswith(("NotFoundException", "NoSuchBucket", "404")):
                self.left.append(f"{what}: {error}")
        except BotoCoreError as error:
            self.left.append(f"{what}: {error}")
