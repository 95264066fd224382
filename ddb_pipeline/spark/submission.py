"""How a Spark job is submitted: the command of a child process or a request to EMR Serverless.

Both run the same script with the same arguments. Pure.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddb_pipeline.spark.java import Java

EMR_PYTHON = "/usr/bin/python3.11"
"""EMR 7.x has it besides the default Python 3.9 (Amazon EMR release guide, 7.13.0)."""
LIBRARIES_FOLDER = "libraries"
LIBRARIES_PATH = {
    "spark.emr-serverless.driverEnv.PYTHONPATH": f"./{LIBRARIES_FOLDER}",
    "spark.executorEnv.PYTHONPATH": f"./{LIBRARIES_FOLDER}",
}
"""Spark unpacks archives into the working folders of the driver and the executors."""
MAX_ARGUMENT = 10280
"""Most characters of one entry point argument (EMR Serverless API, SparkSubmit)."""


@dataclass(frozen=True, slots=True)
class SparkJob:
    """A job to submit.

    Attributes:
        name: its name in messages and on EMR Serverless.
        module: the module that is its script.
        arguments: its command line.
        properties: the Spark properties that it needs.
        libraries: whether it imports the libraries of ``deploy.spark_libraries``.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    libraries: bool = False


@dataclass(frozen=True, slots=True)
class LocalSpark:
    """The limits of a local job: the heap of its one process and its threads."""

    driver_memory: str = "1g"
    cores: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EmrApplication:
    """An EMR Serverless application that runs jobs.

    Attributes:
        application_id, job_role_arn: the application, and the role that its jobs have.
        log_group: CloudWatch log group of the jobs' output; empty for none.
        python: path of the interpreter in the application's image or in one of ``archives``.
        archives: URIs of packed environments (``s3://.../env.tar.gz#environment``).
        py_files: URIs of further code, such as a scorer's.
        properties: Spark properties of every job, such as worker sizes.
        timeout_minutes: EMR Serverless stops a job after this time.
        libraries: URI of the archive that ``ddb-pipeline package --spark-libraries`` writes;
            empty for none.
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
    """The S3 URIs of a job's script and of the archive with the modules that it imports."""

    script: str
    modules: str


def local_command(job: SparkJob) -> list[str]:
    """Return the command of the child process."""
    return [sys.executable, "-m", job.module, *job.arguments]


def local_environment(job: SparkJob, spark: LocalSpark, java: Java) -> dict[str, str]:
    """Return the variables that the child process needs besides this process's environment."""
    properties = {
        # By default Spark listens on every interface; only its own Python process connects to it.
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # The default of 200 is for clusters and slow in one process with few threads.
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
    """Return the request of ``StartJobRun``.

    Raises:
        ValueError: an argument is longer than EMR Serverless accepts.
    """
    for argument in job.arguments:
        if len(argument) > MAX_ARGUMENT:
            raise ValueError(
                f"Job {job.name}: an argument has {len(argument)} characters, EMR Serverless "
                f"accepts {MAX_ARGUMENT}: {argument[:80]}…"
            )
    words = ["--py-files", ",".join((code.modules, *application.py_files))]
    words += _properties(_emr_properties(job, application))
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


def _emr_properties(job: SparkJob, application: EmrApplication) -> dict[str, str]:
    with_libraries = job.libraries and application.libraries
    archives = list(application.archives)
    if with_libraries:
        archives.append(f"{application.libraries}#{LIBRARIES_FOLDER}")
    return {
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": application.python,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": application.python,
        "spark.executorEnv.PYSPARK_PYTHON": application.python,
        **({"spark.archives": ",".join(archives)} if archives else {}),
        **(LIBRARIES_PATH if with_libraries else {}),
        **application.properties,
        **job.properties,
    }


def _properties(properties: Mapping[str, str]) -> Sequence[str]:
    return [word for key, value in properties.items() for word in ("--conf", f"{key}={value}")]
