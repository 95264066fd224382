"""Hours of the stream at high speed: raw objects stay for a time, and no row is lost."""

from pathlib import Path

import pytest

from ddb_pipeline_tests.soak.stream_growth import limit, samples


@pytest.mark.embedded
def test_objects_stay_bounded_while_hours_pass(tmp_path: Path) -> None:
    """At any speed of the machine: an hour has a few objects, and its raw objects are removed."""
    hours, minutes = 6, 4
    found = list(samples(tmp_path, hours, hour_seconds=0.5, raw_hours=1, minutes=minutes))
    for sample in found:
        assert sample.objects <= limit(sample.hour, 1, minutes)
        assert sample.rows == sample.landed_rows
    assert found[-1].landed_objects == hours * minutes + 1
    assert found[-1].raw_objects < found[-1].landed_objects / 2
