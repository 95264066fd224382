"""The shared Spark session as the jobs configure theirs."""

from typing import Any

import pytest

from ddb_pipeline.spark.session import with_semantics


@pytest.fixture(scope="session")
def session(spark: Any) -> Any:
    found = with_semantics(spark.newSession())
    # Replanning between stages pays on real data only.
    found.conf.set("spark.sql.adaptive.enabled", "false")
    found.sparkContext.setLogLevel("ERROR")
    return found
