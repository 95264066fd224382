"""One Spark job, submitted in two ways: a child process here, or EMR Serverless. Pure.

Both run the same script with the same arguments.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddb_pipeline.spark.java import Java

EMR_PYTHON = "/usr/bin/python3.11"
"""In the images of EMR 7.x beside the default Python 3.9 (Amazon EMR release guide, 7.13.0)."""
LIBRARIES_FOLDER = "libraries"
LIBRARIES_PATH = {
    "spark.emr-serverless.driverEnv.PYTHONPATH": f"./{LIBRARIES_FOLDER}",
    "spark.executorEnv.PYTHONPATH": f"./{LIBRARIES_FOLDER}",
}
"""Where Spark unpacks an archive: the working folder of driver and executors."""
MAX_ARGUMENT = 10280
"""Characters of one entry point argument (EMR Serverless API, SparkSubmit)."""


@dataclass(frozen=True, slots=True)
class SparkJob:
    """A job: the module that is its script, its arguments, Spark properties that it needs.

    ``libraries`` tells that its Python needs more than Spark's, see ``deploy.spark_libraries``.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    libraries: bool = False


@dataclass(frozen=True, slots=True)
class LocalSpark:
    """What a local job may use: the heap of its one process, and its threads."""

    driver_memory: str = "1g"
    cores: int = 2


@dataclass(frozen=True, slots=True)
class EmrApplication:
    """An EMR Serverless application that runs jobs.

    Attributes:
        python: the interpreter in the application's image, or inside ``archives``.
        libraries: URI of the archive that ``ddb-pipeline package --spark-libraries`` writes.
        archives: URIs of packed environments (``s3://.../env.tar.gz#environment``), for jobs that
            need more than Spark.
        py_files: URIs of further code, such as a scorer's.
        properties: Spark properties of every job, such as worker sizes.
    """

    application_id: str
    job_role_arn: str
    log_group: str = ""
    python: str = EMR_PYTHON
    archives: tuple[str, ...] = ()
    py_files: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    timeout_minutes: int = 720
    libraries: str = ""


@dataclass(frozen=True, slots=True)
class UploadedCode:
    """Where a job's script and the zip of what it imports lie, as S3 URIs."""

    script: str
    modules: str


def local_command(job: SparkJob) -> list[str]:
    """The command of the child process."""
    return [sys.executable, "-m", job.module, *job.arguments]


def local_environment(job: SparkJob, spark: LocalSpark, java: Java) -> dict[str, str]:
    """What the child process finds in its environment beside this one's."""
    properties = {
        # Spark listens on every interface unless told; nobody but its own Python is to reach it.
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Right for a cluster, slow where a few threads do the work in one process.
        "spark.sql.shuffle.partitions": str(max(spark.cores, 2)),
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=160m",
        **job.properties,
    }
    words = ["--master", f"local[{spark.cores}]", "--driver-memory", spark.driver_memory]
    words += _properties(properties)
    return {
        "JAVA_HOME": str(java.home),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"{shlex.join(words)} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def emr_job_run(job: SparkJob, application: EmrApplication, code: UploadedCode) -> dict[str, Any]:
    """The request of ``StartJobRun``.

    Raises:
        ValueError: an argument is longer than EMR takes.
    """
    for argument in job.arguments:
        if len(argument) > MAX_ARGUMENT:
            raise ValueError(
                f"Job {job.name}: an argument has {len(argument)} characters, EMR Serverless "
                f"takes {MAX_ARGUMENT}: {argument[:80]}…"
            )
    archives = list(application.archives)
    if job.libraries and application.libraries:
        archives.append(f"{application.libraries}#{LIBRARIES_FOLDER}")
    properties = {
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": application.python,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": application.python,
        "spark.executorEnv.PYSPARK_PYTHON": application.python,
        **({"spark.archives": ",".join(archives)} if archives else {}),
        **(LIBRARIES_PATH if job.libraries and application.libraries else {}),
        **application.properties,
        **job.properties,
    }
    words = ["--py-files", ",".join((code.modules, *application.py_files))]
    words += _properties(properties)
    request: dict[str, Any] = {
        "applicationId": application.application_id,
        "executionRoleArn": application.job_role_arn,
        "name": job.name,
        "executionTimeoutMinutes": application.timeout_minutes,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": code.script,
                "entryPointArguments": list(job.arguments),
                "sparkSubmitParameters": shlex.join(words),
            }
        },
    }
    if application.log_group:
        logging = {"enabled": True, "logGroupName": application.log_group}
        request["configurationOverrides"] = {
            "monitoringConfiguration": {"cloudWatchLoggingConfiguration": logging}
        }
    return request


def _properties(properties: Mapping[str, str]) -> Sequence[str]:
    return [word for key, value in properties.items() for word in ("--conf", f"{key}={value}")]
