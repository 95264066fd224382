"""The Spark session of a job, with the same semantics on every Spark that runs it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEMANTICS = {
    "spark.sql.session.timeZone": "UTC",
    # Off on Spark 3, on from Spark 4: a value that cannot be cast is to be counted, not to fail.
    "spark.sql.ansi.enabled": "false",
    # What Hive 2.3 reads, too.
    "spark.sql.parquet.outputTimestampType": "INT96",
    "spark.sql.parquet.compression.codec": "snappy",
}


def open_session(name: str) -> "SparkSession":
    """The session that spark-submit or EMR has configured, else a new one as configured here."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.appName(name).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return with_semantics(session)


def with_semantics(session: "SparkSession") -> "SparkSession":
    for key, value in SEMANTICS.items():
        session.conf.set(key, value)
    return session
