"""The Spark session of a job, with the same SQL semantics on Spark 3 and Spark 4."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

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
