"""Spark jobs on EMR Serverless with a stubbed API: the request submitted, the result reported.

No emulator runs such jobs. A stub replaces the service; the job's side of Dagster Pipes really
runs, with the environment that was submitted, and its output is put where EMR would log it.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.spark import SparkConfig
from ddb_pipeline.resources import spark
from ddb_pipeline.resources.spark import EmrSparkRunner, job_failure
from ddb_pipeline.spark.submission import SparkJob
from ddb_pipeline_tests.support.pipes_waits import shorten_pipes_waits

BUCKET = "emr-lake"
LOG_GROUP = "/aws/emr-serverless/emr"
JOB = SparkJob("relevance", "ddb_pipeline.spark.relevance", ("--stream", "s3://emr-lake/stream/"))
RUN = {"applicationId": "app1", "jobRunId": "run1", "arn": "a" * 60}
REMOTE = """
from ddb_pipeline.spark.reporting import open_reporter
with open_reporter() as reporter:
    reporter.log("scoring")
    reporter.report_result({"dagster/row_count": 7}, "v1")
"""
OUTPUTS = {
    "SparkApplicationId": "app1",
    "SparkJobRoleArn": "arn:aws:iam::000000000000:role/spark-jobs",
    "SparkLogGroup": LOG_GROUP,
}


class Account:
    """moto's account with a stubbed EMR Serverless, in place of ``CloudResource``."""

    def __init__(self) -> None:
        self.s3 = self.client("s3")
        self.logs = self.client("logs")
        self.emr = self.client("emr-serverless")
        self.stub = Stubber(self.emr)
        self.submitted: dict[str, Any] = {}
        self.ran = False
        self.s3.create_bucket(Bucket=BUCKET)
        self.logs.create_log_group(logGroupName=LOG_GROUP)

    def client(self, service: str) -> Any:
        known = {"emr-serverless": "emr", "logs": "logs"}.get(service)
        if known in self.__dict__:
            return self.__dict__[known]
        return boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]

    def expect_start(self) -> None:
        self.stub.add_response("start_job_run", RUN)
        self.emr.meta.events.register(
            "before-parameter-build.emr-serverless.StartJobRun",
            lambda params, **_: self.submitted.update(params),
        )

    def expect_state(self, state: str, *, dashboard: bool, details: str = "") -> None:
        run = {
            **RUN,
            "createdBy": "c" * 40,
            "createdAt": 0,
            "updatedAt": 0,
            "executionRole": "r" * 40,
            "state": state,
            "stateDetails": details or "none",
            "releaseLabel": "emr-7.13.0",
            "jobDriver": {"sparkSubmit": {"entryPoint": "s3://emr-lake/x.py"}},
            "configurationOverrides": {
                "monitoringConfiguration": {
                    "cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": LOG_GROUP}
                }
            },
        }
        expected = {"applicationId": "app1", "jobRunId": "run1"}
        self.stub.add_response("get_job_run", {"jobRun": run}, expected)
        if dashboard:
            self.stub.add_response("get_dashboard_for_job_run", {"url": "https://x"}, expected)

    def expect_application(self) -> None:
        application = {
            "applicationId": "app1",
            "arn": "a" * 60,
            "releaseLabel": "emr-7.13.0",
            "type": "Spark",
            "state": "STARTED",
            "createdAt": 0,
            "updatedAt": 0,
        }
        self.stub.add_response("get_application", {"application": application}, ANY_ARGUMENTS)

    def run_at_first_state_request(self) -> None:
        self.emr.meta.events.register_first(
            "before-parameter-build.emr-serverless.GetJobRun", self.run_remotely
        )

    def run_remotely(self, **_: Any) -> None:
        """Do once what the driver would: run the job's side of Pipes, log its output."""
        if self.ran:
            return
        self.ran = True
        words = shlex.split(self.submitted["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
        prefix = "spark.emr-serverless.driverEnv."
        settings = [w.removeprefix(prefix).split("=", 1) for w in words if w.startswith(prefix)]
        done = subprocess.run(
            [sys.executable, "-c", REMOTE],
            env={name: value for name, value in settings if name.startswith("DAGSTER")},
            capture_output=True,
            text=True,
            check=True,
        )
        stream = "/applications/app1/jobs/run1/SPARK_DRIVER/stdout"
        self.logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in done.stdout.splitlines()]
        self.logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


ANY_ARGUMENTS = {"applicationId": ANY}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(spark, "EMR_POLL_SECONDS", 0.01)
    monkeypatch.setattr(spark, "stack_outputs", lambda *_: OUTPUTS)
    shorten_pipes_waits(monkeypatch)
    with mock_aws():
        found = Account()
        with found.stub:
            yield found


def pipeline(**changed: Any) -> PipelineConfig:
    settings = SparkConfig(emr_serverless=True, **changed)
    return PipelineConfig(name="emr", bucket=BUCKET, spark=settings)


def materialize(account: Account, configured: PipelineConfig) -> dg.ExecuteInProcessResult:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=0))
    def scores(context: dg.AssetExecutionContext) -> Any:
        runner = EmrSparkRunner(account, configured)  # type: ignore[arg-type]
        assert runner.uri("stream/") == f"s3://{BUCKET}/stream/"
        return runner.run(context, JOB).get_materialize_result()

    return dg.materialize([scores], raise_on_error=False)


def test_a_job_that_succeeds(account: Account) -> None:
    account.expect_start()
    account.expect_state("RUNNING", dashboard=True)
    account.expect_state("SUCCESS", dashboard=False)
    account.expect_application()
    account.run_at_first_state_request()
    result = materialize(account, pipeline(emr_properties={"spark.executor.memory": "8g"}))
    assert result.success
    (event,) = result.asset_materializations_for_node("scores")
    assert event.metadata["dagster/row_count"].value == 7
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == "v1"

    submit = account.submitted["jobDriver"]["sparkSubmit"]
    assert account.submitted["executionRoleArn"] == "arn:aws:iam::000000000000:role/spark-jobs"
    assert submit["entryPointArguments"] == list(JOB.arguments)
    assert "spark.executor.memory=8g" in submit["sparkSubmitParameters"]
    modules = shlex.split(submit["sparkSubmitParameters"])[1]
    for uri in (submit["entryPoint"], modules):
        account.s3.head_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))


def test_the_failure_of_a_job_has_its_state_and_details(account: Account) -> None:
    details = "ExitCode: 1. Last few exceptions: RelevanceError: No file of the logs has 'phrase'"
    account.expect_start()
    account.expect_state("FAILED", dashboard=True, details=details)
    result = materialize(account, pipeline())
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    text = event.step_failure_data.user_failure_data.description
    assert text == f"The Spark job 'relevance' failed. job run run1 is FAILED: {details}"


def test_a_job_that_needs_libraries_is_refused_without_their_archive(account: Account) -> None:
    job = replace(JOB, libraries=True)
    runner = EmrSparkRunner(account, pipeline())  # type: ignore[arg-type]
    with pytest.raises(dg.Failure, match="--spark-libraries"):
        runner.run(None, job)  # type: ignore[arg-type]
    configured = pipeline(emr_libraries=f"s3://{BUCKET}/spark-code/libraries.zip")
    application = EmrSparkRunner(account, configured).application()  # type: ignore[arg-type]
    assert application.libraries == f"s3://{BUCKET}/spark-code/libraries.zip"


def test_a_stack_without_an_application(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "stack_outputs", lambda *_: {})
    with pytest.raises(dg.Failure, match="ddb-pipeline deploy emr"):
        EmrSparkRunner(account, pipeline()).application()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "retried"),
    [("RelevanceError: no column", False), ("Py4JJavaError: connection reset", True)],
)
def test_only_errors_that_can_pass_are_retried(reason: str, retried: bool) -> None:
    assert job_failure(JOB, reason).allow_retries is retried
