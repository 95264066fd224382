"""The Spark session of a job, with the same SQL semantics on Spark 3 and Spark 4."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ddb_pipeline.spark.reporting import Reporter, open_reporter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Arguments = TypeVar("Arguments")

SEMANTICS = {
    "spark.sql.session.timeZone": "UTC",
    # By default false on Spark 3, true on Spark 4. The jobs count values that cannot be cast.
    "spark.sql.ansi.enabled": "false",
    # The type of timestamps that Hive 2.3 can read, too.
    "spark.sql.parquet.outputTimestampType": "INT96",
    "spark.sql.parquet.compression.codec": "snappy",
}


def open_session(name: str) -> "SparkSession":
    """Return the session that spark-submit or EMR configured, or else a new one."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.appName(name).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return with_semantics(session)


def with_semantics(session: "SparkSession") -> "SparkSession":
    """Set ``SEMANTICS`` in a session and return the session."""
    for key, value in SEMANTICS.items():
        session.conf.set(key, value)
    return session


def run_job(
    name: str,
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], Arguments],
    run: "Callable[[SparkSession, Arguments, Reporter], object]",
) -> None:
    """Run a job with the arguments of its command line, in a session that ends with it."""
    with open_reporter() as reporter:
        arguments = parse(argv)
        spark = open_session(name)
        try:
            run(spark, arguments, reporter)
        finally:
            spark.stop()
