"""How the same job is submitted to a child process and to EMR Serverless."""

import shlex
import sys
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from ddb_pipeline.spark.java import Java
from ddb_pipeline.spark.submission import (
    EmrApplication,
    LocalSpark,
    SparkJob,
    UploadedCode,
    emr_job_run,
    local_command,
    local_environment,
)

JOB = SparkJob(
    "relevance",
    "ddb_pipeline.spark.relevance",
    ("--stream", "s3://lake/stream/", "--column-key", "tenant, id"),
    {"spark.sql.files.maxPartitionBytes": "64m"},
)
CODE = UploadedCode("s3://lake/spark-code/1/relevance.py", "s3://lake/spark-code/1/modules.zip")


def test_the_command_and_environment_of_a_child_process() -> None:
    assert local_command(JOB) == [sys.executable, "-m", JOB.module, *JOB.arguments]
    found = local_environment(JOB, LocalSpark("512m", 1), Java(Path("/jdk"), 17, "PATH"))
    assert found["JAVA_HOME"] == "/jdk"
    assert found["PYSPARK_PYTHON"] == sys.executable
    words = shlex.split(found["PYSPARK_SUBMIT_ARGS"])
    assert words[:4] == ["--master", "local[1]", "--driver-memory", "512m"]
    assert "spark.driver.bindAddress=127.0.0.1" in words
    assert "spark.sql.files.maxPartitionBytes=64m" in words
    assert words[-1] == "pyspark-shell"


def test_the_request_is_valid_for_emr_serverless() -> None:
    application = EmrApplication(
        application_id="00f1application",
        job_role_arn="arn:aws:iam::000000000000:role/spark",
        log_group="/aws/emr-serverless/logs",
        archives=("s3://lake/env.tar.gz#environment",),
        py_files=("s3://lake/acme.zip",),
        properties={"spark.executor.memory": "8g"},
    )
    request = emr_job_run(JOB, application, CODE)
    submit = request["jobDriver"]["sparkSubmit"]
    assert submit["entryPoint"] == CODE.script
    assert submit["entryPointArguments"] == list(JOB.arguments)
    words = shlex.split(submit["sparkSubmitParameters"])
    assert words[:2] == ["--py-files", "s3://lake/spark-code/1/modules.zip,s3://lake/acme.zip"]
    properties = dict(word.split("=", 1) for word in words[3::2])
    assert properties == {
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": "/usr/bin/python3.11",
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": "/usr/bin/python3.11",
        "spark.executorEnv.PYSPARK_PYTHON": "/usr/bin/python3.11",
        "spark.archives": "s3://lake/env.tar.gz#environment",
        "spark.executor.memory": "8g",
        "spark.sql.files.maxPartitionBytes": "64m",
    }
    emr = boto3.client(
        "emr-serverless",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with Stubber(emr) as stub:
        response = {"applicationId": "00f1application", "jobRunId": "1", "arn": "a" * 60}
        stub.add_response("start_job_run", response)
        assert emr.start_job_run(clientToken="t", **request)["jobRunId"] == "1"


def test_only_a_job_that_needs_the_libraries_has_them() -> None:
    application = EmrApplication(
        application_id="a",
        job_role_arn="r",
        archives=("s3://b/env.zip#env",),
        libraries="s3://lake/spark-code/libraries.zip",
    )

    def properties(job: SparkJob) -> dict[str, str]:
        submit = emr_job_run(job, application, CODE)["jobDriver"]["sparkSubmit"]
        words = shlex.split(submit["sparkSubmitParameters"])
        return dict(word.split("=", 1) for word in words[3::2])

    found = properties(SparkJob("convert_export", "m", (), libraries=True))
    assert found["spark.archives"] == (
        "s3://b/env.zip#env,s3://lake/spark-code/libraries.zip#libraries"
    )
    assert found["spark.executorEnv.PYTHONPATH"] == "./libraries"
    assert found["spark.emr-serverless.driverEnv.PYTHONPATH"] == "./libraries"
    without = properties(JOB)
    assert without["spark.archives"] == "s3://b/env.zip#env"
    assert "spark.executorEnv.PYTHONPATH" not in without


def test_an_argument_too_long_for_emr_serverless_is_an_error() -> None:
    long = SparkJob("j", "m", ("x" * 20_000,))
    with pytest.raises(ValueError, match=r"Job j: an argument has 20000 characters"):
        emr_job_run(long, EmrApplication(application_id="a", job_role_arn="r"), CODE)
