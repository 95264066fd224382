"""A tick of a sensor costs the same at any age: the simulation with fewer days and objects."""

import pytest

from ddb_pipeline.lake import content
from ddb_pipeline_tests.soak.aging import costs_by_age, simulation


def test_requests_and_cursors_do_not_grow_with_age(monkeypatch: pytest.MonkeyPatch) -> None:
    # A LIST request shows four hours' objects, so that slices are many.
    monkeypatch.setattr(content, "SLICE_OBJECTS", 8)
    with simulation(objects=2) as simulated:
        found = costs_by_age(simulated, (1, 20), 2.0, step_seconds=1800)
        young, old = [costs for _, costs in found]
        assert simulated.repeated == []
    for name, cost in young.items():
        assert old[name].most_lists <= max(cost.most_lists, 4) + 2, name
        assert old[name].other_requests <= cost.other_requests + 2, name
        assert old[name].cursor_bytes <= 2000, name
