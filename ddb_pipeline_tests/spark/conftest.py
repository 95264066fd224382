"""The test run's Spark session, configured as the jobs configure theirs."""

from typing import Any

import pytest

from ddb_pipeline.spark.session import with_semantics


@pytest.fixture(scope="session")
def session(spark: Any) -> Any:
    found = with_semantics(spark.newSession())
    # Adaptive planning only costs time on a few rows.
    found.conf.set("spark.sql.adaptive.enabled", "false")
    found.sparkContext.setLogLevel("ERROR")
    return found
