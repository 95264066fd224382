"""Run Spark jobs through Dagster Pipes: in a local child process, or on EMR Serverless.

A pipeline with an EMR Serverless application runs its jobs there; they read and write the bucket
directly. Without one, a child process runs the same script with the same arguments over local
copies of the bucket's prefixes, because a local Spark has no S3 client.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from botocore.exceptions import ClientError
from filelock import FileLock

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.bundle import build_spark_bundle
from ddb_pipeline.deploy.stack import stack_outputs
from ddb_pipeline.lake.layout import SPARK_CODE_PREFIX
from ddb_pipeline.lake.mirror import Mirrored, mirror, upload_changes
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
"""Characters of a job's error that a failure's description includes."""
FINAL_ERRORS = ("RelevanceError", "ExportJobError")
"""Errors of a job that occur again in every retry."""
KILLED = " The process was killed, most likely because memory ran out: see spark.driver_memory."


class SparkRunner(ABC):
    """Runs a pipeline's Spark jobs and provides the URIs by which they access the lake."""

    @abstractmethod
    def uri(self, prefix: str, start_after: str = "") -> str:
        """Return the URI under which a job reads and writes the objects under a key prefix.

        The job needs those whose key sorts after ``start_after``; it may find others too.
        """

    @abstractmethod
    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        """Upload what a job wrote under a prefix to the bucket, the files named ``last`` last."""

    @abstractmethod
    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        """Run a job and wait for its end; Dagster receives its log lines and metadata.

        Raises:
            dg.Failure: Spark is not installed, or the job failed; the description has the reason.
        """


@contextmanager
def spark_runner(
    cloud: CloudResource, pipeline: PipelineConfig, home: Path
) -> Iterator[SparkRunner]:
    """Choose where a pipeline's jobs run, and lock it for one run where that is this machine.

    Args:
        cloud: the AWS to use.
        pipeline: the pipeline whose jobs are run.
        home: folder for the local copies; runs of one pipeline share them, so they wait for
            one another.
    """
    if pipeline.spark.emr_serverless:
        yield EmrSparkRunner(cloud, pipeline)
        return
    folder = (home / "spark").absolute()
    # Only the owner reads the copies.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / f"{pipeline.name}.lock", timeout=LOCK_SECONDS):
        yield LocalSparkRunner(cloud, pipeline, folder)


class LocalSparkRunner(SparkRunner):
    """Runs jobs in a child process with pyspark, over copies of the bucket's prefixes."""

    def __init__(self, cloud: CloudResource, pipeline: PipelineConfig, folder: Path) -> None:
        self._cloud = cloud
        self._lake = pipeline.lake
        self._spark = LocalSpark(pipeline.spark.driver_memory, pipeline.spark.cores)
        self._folder = folder
        self._copies = folder / pipeline.name
        self._mirrored: dict[str, Mirrored] = {}

    def uri(self, prefix: str, start_after: str = "") -> str:
        """Copy the needed objects into a local folder and return its URI."""
        folder = self._copies / prefix.rstrip("/")
        self._mirrored[prefix] = mirror(
            self._cloud.s3, self._lake, prefix, folder, start_after=start_after
        )
        return folder.as_uri()

    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        """Upload the changes in the prefix's local folder, the files named ``last`` last."""
        upload_changes(self._cloud.s3, self._lake, prefix, self._mirrored[prefix], last=last)

    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        """Run the job in a child process; see ``SparkRunner.run``."""
        try:
            require_pyspark()
            java = find_java(os.environ, self._folder)
        except SparkMissingError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info("Spark runs on Java %d (%s).", java.version, java.source)
        reader = ErrorRecordingReader(dg.PipesTempFileMessageReader())
        client = dg.PipesSubprocessClient(
            env={
                **local_environment(job, self._spark, java),
                **s3_environment(self._cloud.client_arguments()),
            },
            message_reader=reader,
        )
        try:
            return client.run(context=context, command=local_command(job))
        except Exception as error:
            # Dagster does not export the class of the error that it raises for an exit code.
            reason = reader.error or f"{error}.{KILLED if str(error).endswith('-9') else ''}"
            raise job_failure(job, reason) from error


class EmrSparkRunner(SparkRunner):
    """Runs jobs on the EMR Serverless application of the pipeline's stack."""

    def __init__(self, cloud: CloudResource, pipeline: PipelineConfig) -> None:
        self._cloud = cloud
        self._pipeline = pipeline

    def uri(self, prefix: str, start_after: str = "") -> str:
        """Return the prefix's S3 URI."""
        return self._pipeline.lake.uri(prefix)

    def publish(self, prefix: str, *, last: tuple[str, ...] = ()) -> None:
        """Do nothing: the job has written to the bucket."""

    def run(
        self, context: dg.AssetExecutionContext, job: SparkJob
    ) -> dg.PipesClientCompletedInvocation:
        """Submit the job and wait for its end; see ``SparkRunner.run``."""
        # A second, as it imports the database drivers of Dagster's instance.
        from dagster_aws.pipes import PipesCloudWatchMessageReader, PipesEMRServerlessClient

        application = self.application()
        if job.libraries and not (application.libraries or application.archives):
            raise dg.Failure(
                f"The Spark job {job.name!r} needs Python libraries that EMR does not have. Write "
                "them with: ddb-pipeline package --spark-libraries. Upload the archive where "
                "the job role can read it, such as to "
                f"{self._pipeline.lake.uri(SPARK_CODE_PREFIX)}, and set spark.emr_libraries to "
                "its URI.",
                allow_retries=False,
            )
        request: Any = emr_job_run(job, application, self.uploaded_code(job))
        emr = self._cloud.client("emr-serverless")
        last_state = JobRunState(emr)
        client = PipesEMRServerlessClient(
            client=emr,
            message_reader=PipesCloudWatchMessageReader(client=self._cloud.client("logs")),
            poll_interval=EMR_POLL_SECONDS,
        )
        try:
            return client.run(context=context, start_job_run_params=request)
        except RuntimeError as error:
            raise job_failure(job, last_state.description or str(error)) from error

    def application(self) -> EmrApplication:
        """Read the application from the stack's outputs.

        Raises:
            dg.Failure: the stack has no application.
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
            application_id=outputs["SparkApplicationId"],
            job_role_arn=outputs["SparkJobRoleArn"],
            log_group=outputs["SparkLogGroup"],
            python=pipeline.spark.emr_python,
            archives=pipeline.spark.emr_archives,
            py_files=pipeline.spark.emr_py_files,
            properties=pipeline.spark.emr_properties,
            timeout_minutes=pipeline.spark.emr_timeout_minutes,
            libraries=pipeline.spark.emr_libraries,
        )

    def uploaded_code(self, job: SparkJob) -> UploadedCode:
        """Upload this installation's Spark code to the bucket unless it is there already."""
        bundle = build_spark_bundle()
        name = job.module.rpartition(".")[2]
        folder = f"{SPARK_CODE_PREFIX}{bundle.sha256[:16]}/"
        bodies = {f"{folder}modules.zip": bundle.body}
        bodies |= {f"{folder}{each}.py": script for each, script in bundle.scripts.items()}
        for key, body in bodies.items():
            if not self._exists(key):
                self._cloud.s3.put_object(
                    Bucket=self._pipeline.bucket, Key=self._pipeline.lake.object_key(key), Body=body
                )
        root = self._pipeline.lake.uri(folder)
        return UploadedCode(f"{root}{name}.py", f"{root}modules.zip")

    def _exists(self, key: str) -> bool:
        try:
            self._cloud.s3.head_object(
                Bucket=self._pipeline.bucket, Key=self._pipeline.lake.object_key(key)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True


class ErrorRecordingReader(dg.PipesMessageReader):
    """Reads Pipes messages as another reader does, and records the error that ended the job.

    Attributes:
        error: class name and message of the error; empty until a job has reported one.
    """

    def __init__(self, inner: dg.PipesMessageReader) -> None:
        self.inner = inner
        self.error = ""

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[Any]:
        """Read messages as the other reader does."""
        record = self._record

        class RecordingHandler:
            """The handler, which also passes every message to ``record``."""

            def handle_message(self, message: Mapping[str, Any]) -> None:
                record(message)
                handler.handle_message(message)

            def __getattr__(self, name: str) -> Any:
                return getattr(handler, name)

        with self.inner.read_messages(RecordingHandler()) as params:  # type: ignore[arg-type]
            yield params

    def _record(self, message: Mapping[str, Any]) -> None:
        exception = (message.get("params") or {}).get("exception")
        if message.get("method") == "closed" and exception:
            # Python prints "package.module.Error: message"; the package is left out.
            self.error = re.sub(r"^(?:\w+\.)+(?=\w+: )", "", exception["message"].strip())

    def no_messages_debug_text(self) -> str:
        """Return the other reader's explanation of why no message may have arrived."""
        return self.inner.no_messages_debug_text()


class JobRunState:
    """Follows the state of a job run through the responses that an EMR client receives.

    ``PipesEMRServerlessClient`` raises an error without state or details; botocore's events show
    the response in which it found them.

    Attributes:
        description: id, state and details of the job run; empty before the first response.
    """

    def __init__(self, emr: Any) -> None:
        self.description = ""
        emr.meta.events.register("after-call.emr-serverless.GetJobRun", self._record)

    def _record(self, parsed: Mapping[str, Any], **_: Any) -> None:
        run = parsed.get("jobRun")
        if run is not None:
            details = run.get("stateDetails") or "no details"
            self.description = f"job run {run['jobRunId']} is {run['state']}: {details}"


def job_failure(job: SparkJob, reason: str) -> dg.Failure:
    """Return the failure to raise for a job that failed; it says whether a retry makes sense."""
    final = any(name in reason for name in FINAL_ERRORS)
    return dg.Failure(
        f"The Spark job {job.name!r} failed. {reason[:REASON_LENGTH]}", allow_retries=not final
    )
