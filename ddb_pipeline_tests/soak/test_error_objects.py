"""The simulation of error objects that accumulate, for some weeks."""

from pathlib import Path
from statistics import median

from ddb_pipeline_tests.soak.error_objects import Simulation


def test_redelivery_costs_the_same_at_any_age_and_leaves_nothing_repairable(tmp_path: Path) -> None:
    ages = list(Simulation(tmp_path, 64, 320, 96).ages())
    assert [(age.repairable_left, age.read_again) for age in ages] == [(0, 0)] * len(ages)
    assert ages[-1].left > 60
    assert max(age.tick_requests for age in ages) <= 16
    # An idle run after a schema change also removes the attempts of what that change repaired.
    idle = [age.idle_run_requests for age in ages]
    assert median(idle[len(idle) // 2 :]) == median(idle[: len(idle) // 2])
    assert max(idle) <= 20
