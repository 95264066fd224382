"""A small run of the command that delivers items through injected faults and kills."""

from pathlib import Path

import pytest

from ddb_pipeline.embedded.process import stop
from ddb_pipeline_tests.soak.faulty_delivery import run_all

KILL_SECONDS = {"function": 3.0, "consumer": 9.0, "embedded AWS": 8.0}


@pytest.mark.e2e
@pytest.mark.embedded
@pytest.mark.timeout(1200)
def test_no_item_is_lost(tmp_path: Path) -> None:
    try:
        figures = run_all(
            tmp_path, 3000, seconds=300.0, kill_seconds=KILL_SECONDS, longer_each_time=1.1
        )
    finally:
        stop(tmp_path / "embedded")
    assert figures["lost"] == 0
    assert sum(figures["faults"].values()) > 0
    assert figures["kills"].keys() == KILL_SECONDS.keys()
