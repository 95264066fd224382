"""Fixtures that all tests share: one embedded AWS for the whole test run."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import Endpoint, connect, stop
from ddb_pipeline.spark.java import find_java

# A slow machine fails no property test.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.fixture(scope="session")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the embedded AWS stores everything."""
    return tmp_path_factory.mktemp("embedded-aws")


@pytest.fixture(scope="session")
def embedded_aws(embedded_home: Path) -> Iterator[Endpoint]:
    """The embedded AWS, empty at first; tests share it, so names are to be their own."""
    yield connect(embedded_home)
    stop(embedded_home)


@pytest.fixture(scope="session")
def aws_client(embedded_aws: Endpoint) -> Callable[[str], Any]:
    """Makes boto3 clients of the embedded AWS by service name."""
    create: Any = boto3.session.Session().client
    return lambda service: create(service, **client_arguments(embedded_aws))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session of one thread, on loopback, whose tables are forgotten with it."""
    sql = pytest.importorskip("pyspark.sql")
    # Its Python workers are to find what this one finds.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["JAVA_HOME"] = str(find_java(os.environ, tmp_path_factory.mktemp("java")).home)
    builder = sql.SparkSession.builder.master("local[1]")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.driver.memory": "1g",
        # Compiling costs more than it gains on a test's few rows.
        "spark.sql.codegen.wholeStage": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()
