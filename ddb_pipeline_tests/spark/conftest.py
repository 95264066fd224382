"""The shared Spark session as the jobs configure theirs."""

from typing import Any

import pytest

from ddb_pipeline.spark.session import with_semantics


@pytest.fixture(scope="session")
def session(spark: Any) -> Any:
    return with_semantics(spark.newSession())
