"""Spark jobs through Dagster Pipes: in a child process here, or on EMR Serverless.

Where a pipeline has an EMR Serverless application, jobs run there and use the bucket itself.
Elsewhere a child process does, over a copy of the parts of the bucket that it needs: a local
Spark speaks to no S3. Script and arguments are the same.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from botocore.exceptions import ClientError
from dagster._core.errors import DagsterPipesExecutionError
from dagster_aws.pipes import PipesCloudWatchMessageReader, PipesEMRServerlessClient
from filelock import FileLock

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.bundle import build_spark_bundle
from ddb_pipeline.deploy.stack import stack_outputs
from ddb_pipeline.lake.layout import SPARK_CODE_PREFIX
from ddb_pipeline.lake.mirror import Mirrored, mirror, publish
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.filesystem import s3_environment
from ddb_pipeline.spark.java import SparkMissingError, find_java, require_pyspark
from ddb_pipeline.spark.submission import (
    EmrApplication,
    LocalSpark,
    SparkJob,
    UploadedCode,
    emr_job_run,
    local_command,
    local_environment,
)

EMR_POLL_SECONDS = 10.0
LOCK_SECONDS = 3600.0
REASON_LENGTH = 2000
FINAL_ERRORS = ("RelevanceError", "ExportJobError")
"""Errors of a job that a retry does not mend."""

KILLED = " It was killed: for want of memory, most likely. See spark.driver_memory."


class SparkPlace(ABC):
    """Where a pipeline's Spark jobs run, and how they reach the lake from there."""

    @abstractmethod
    def readable(self, prefix: str, wanted: Callable[[str], bool] = lambda key: True) -> str:
        """The URI under which a job reads what lies under a prefix of the bucket.

        ``wanted`` says by key which objects the job needs; it may find others.
        """

    @abstractmethod
    def writable(self, prefix: str) -> str:
        """The URI under which a job finds what lies under a prefix, and writes."""

    @abstractmethod
    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        """Make what a job wrote under a prefix visible in the bucket, the files ``last`` last."""

    @abstractmethod
    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        """Run a job to its end; what it tells goes to Dagster.

        Raises:
            dg.Failure: Spark is not installed, or the job failed; the description says why.
        """


@contextmanager
def spark_place(cloud: CloudResource, pipeline: PipelineConfig, home: Path) -> Iterator[SparkPlace]:
    """Where this pipeline's jobs run; ``home`` is for the copies of a local run.

    Local runs of one pipeline share their copies, so one waits for the other.
    """
    if pipeline.spark.emr_serverless:
        yield SparkOnEmr(cloud, pipeline)
        return
    folder = (home / "spark").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{pipeline.name}.lock", timeout=LOCK_SECONDS):
        yield SparkHere(cloud, pipeline, folder)


class SparkHere(SparkPlace):
    """A child process with pyspark."""

    def __init__(self, cloud: CloudResource, pipeline: PipelineConfig, folder: Path) -> None:
        self._cloud = cloud
        self._bucket = pipeline.bucket
        self._spark = LocalSpark(pipeline.spark.driver_memory, pipeline.spark.cores)
        self._folder = folder
        self._copies = folder / pipeline.name
        self._mirrored: dict[str, Mirrored] = {}

    def readable(self, prefix: str, wanted: Callable[[str], bool] = lambda key: True) -> str:
        return self._copy(prefix, wanted)

    def writable(self, prefix: str) -> str:
        return self._copy(prefix, lambda key: True)

    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        publish(self._cloud.s3, self._bucket, prefix, self._mirrored[prefix], last=last)

    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        try:
            require_pyspark()
            java = find_java(os.environ, self._folder)
        except SparkMissingError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info("Spark runs on Java %d (%s).", java.version, java.source)
        reader = ReasonReader(dg.PipesTempFileMessageReader())
        client = dg.PipesSubprocessClient(
            env={
                **local_environment(job, self._spark, java),
                **s3_environment(self._cloud.client_arguments()),
            },
            message_reader=reader,
        )
        try:
            return client.run(context=context, command=local_command(job))
        except DagsterPipesExecutionError as error:
            reason = reader.reason or f"{error}.{KILLED if str(error).endswith('-9') else ''}"
            raise job_failure(job, reason) from error

    def _copy(self, prefix: str, wanted: Callable[[str], bool]) -> str:
        folder = self._copies / prefix.rstrip("/")
        self._mirrored[prefix] = mirror(self._cloud.s3, self._bucket, prefix, folder, wanted=wanted)
        return folder.as_uri()


class SparkOnEmr(SparkPlace):
    """The EMR Serverless application of the pipeline's stack."""

    def __init__(self, cloud: CloudResource, pipeline: PipelineConfig) -> None:
        self._cloud = cloud
        self._pipeline = pipeline

    def readable(self, prefix: str, wanted: Callable[[str], bool] = lambda key: True) -> str:
        return f"s3://{self._pipeline.bucket}/{prefix}"

    def writable(self, prefix: str) -> str:
        return f"s3://{self._pipeline.bucket}/{prefix}"

    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        """Nothing to do: the job writes to the bucket itself."""

    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        application = self.application()
        if job.libraries and not (application.libraries or application.archives):
            raise dg.Failure(
                f"The Spark job {job.name!r} needs libraries that EMR does not have. Write them by "
                "ddb-pipeline package --spark-libraries, put the archive into a bucket that the "
                f"job role reads, {self._pipeline.bucket!r} under {SPARK_CODE_PREFIX} for one, and "
                "set spark.emr_libraries to its URI.",
                allow_retries=False,
            )
        request: Any = emr_job_run(job, application, self.uploaded_code(job))
        client = ReasonedEmrClient(
            client=self._cloud.client("emr-serverless"),
            message_reader=PipesCloudWatchMessageReader(client=self._cloud.client("logs")),
            poll_interval=EMR_POLL_SECONDS,
        )
        try:
            return client.run(context=context, start_job_run_params=request)
        except RuntimeError as error:
            raise job_failure(job, client.reason) from error

    def application(self) -> EmrApplication:
        """The application, as the stack's outputs name it.

        Raises:
            dg.Failure: the stack has none.
        """
        pipeline = self._pipeline
        outputs = stack_outputs(self._cloud.client("cloudformation"), pipeline.stack)
        if "SparkApplicationId" not in outputs:
            raise dg.Failure(
                f"Stack {pipeline.stack!r} has no EMR Serverless application, but "
                f"spark.emr_serverless is set for {pipeline.name!r}. Run: ddb-pipeline deploy "
                f"{pipeline.name}",
                allow_retries=False,
            )
        return EmrApplication(
            outputs["SparkApplicationId"],
            outputs["SparkJobRoleArn"],
            outputs["SparkLogGroup"],
            pipeline.spark.emr_python,
            pipeline.spark.emr_archives,
            pipeline.spark.emr_py_files,
            pipeline.spark.emr_properties,
            pipeline.spark.emr_timeout_minutes,
            pipeline.spark.emr_libraries,
        )

    def uploaded_code(self, job: SparkJob) -> UploadedCode:
        """The code of this installation in the bucket, put there where it is not yet."""
        bundle = build_spark_bundle()
        name = job.module.rpartition(".")[2]
        folder = f"{SPARK_CODE_PREFIX}{bundle.sha256[:16]}/"
        bodies = {f"{folder}modules.zip": bundle.body}
        bodies |= {f"{folder}{each}.py": script for each, script in bundle.scripts.items()}
        for key, body in bodies.items():
            if not self._exists(key):
                self._cloud.s3.put_object(Bucket=self._pipeline.bucket, Key=key, Body=body)
        root = f"s3://{self._pipeline.bucket}/{folder}"
        return UploadedCode(f"{root}{name}.py", f"{root}modules.zip")

    def _exists(self, key: str) -> bool:
        try:
            self._cloud.s3.head_object(Bucket=self._pipeline.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True


class ReasonReader(dg.PipesMessageReader):
    """Reads as another reader does, and keeps the error with which the job ended."""

    def __init__(self, inner: dg.PipesMessageReader) -> None:
        self.inner = inner
        self.reason = ""

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[Any]:
        keep = self._keep

        class Keeping:
            """The handler, with a look at the last message."""

            def handle_message(self, message: Mapping[str, Any]) -> None:
                keep(message)
                handler.handle_message(message)

            def __getattr__(self, name: str) -> Any:
                return getattr(handler, name)

        with self.inner.read_messages(Keeping()) as params:  # type: ignore[arg-type]
            yield params

    def _keep(self, message: Mapping[str, Any]) -> None:
        exception = (message.get("params") or {}).get("exception")
        if message.get("method") == "closed" and exception:
            # "package.module.Error: what is wrong", as Python prints an exception.
            self.reason = re.sub(r"^(?:\w+\.)+(?=\w+: )", "", exception["message"].strip())

    def no_messages_debug_text(self) -> str:
        return self.inner.no_messages_debug_text()


class ReasonedEmrClient(PipesEMRServerlessClient):
    """Keeps what EMR Serverless says of a job that failed: its state and last exceptions."""

    reason = ""

    def _wait_for_completion(self, context: Any, start_response: Any) -> Any:
        try:
            return super()._wait_for_completion(context, start_response)
        except RuntimeError:
            run = self.client.get_job_run(
                applicationId=start_response["applicationId"],
                jobRunId=start_response["jobRunId"],
            )["jobRun"]
            details = run.get("stateDetails") or "no details"
            self.reason = f"job run {run['jobRunId']} is {run['state']}: {details}"
            raise


def job_failure(job: SparkJob, reason: str) -> dg.Failure:
    """The failure of a run whose job failed, for a reader."""
    final = any(name in reason for name in FINAL_ERRORS)
    return dg.Failure(
        f"The Spark job {job.name!r} failed. {reason[:REASON_LENGTH]}", allow_retries=not final
    )
