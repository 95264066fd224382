"""The prior, estimated from pairs that were drawn from a known distribution."""

import random
from typing import Any

import pytest

from ddb_pipeline.spark.evidence import Prior, estimate_prior

SCHEMA = "query string, document string, exposure double, satisfied double, squares double"


def estimated(session: Any, strength: float, exposure: int, weight: float) -> Prior:
    """Estimate the prior of pairs whose relevance has a Beta distribution of mean 0.4.

    Each pair has this exposure; half of the clicks have the weight 1, half ``weight``.
    """
    rng = random.Random(7)
    rows = []
    for query in range(40):
        for document in range(30):
            true = rng.betavariate(0.4 * strength, 0.6 * strength)
            clicks = [rng.choice((weight, 1.0)) for _ in range(exposure) if rng.random() < true]
            squares = float(sum(click**2 for click in clicks))
            rows.append((f"q{query}", str(document), float(exposure), float(sum(clicks)), squares))
    return estimate_prior(session.createDataFrame(rows, SCHEMA))


@pytest.mark.parametrize(("strength", "exposure"), [(2.0, 3), (2.0, 20), (20.0, 20)])
def test_a_beta_prior_is_recovered(session: Any, strength: float, exposure: int) -> None:
    found = estimated(session, strength, exposure, weight=1.0)
    assert found.mean == pytest.approx(0.4, abs=0.03)
    assert found.strength == pytest.approx(strength, rel=0.25)


def test_the_prior_of_weighted_clicks_does_not_depend_on_exposure(session: Any) -> None:
    few, many = (estimated(session, 2.0, exposure, weight=0.2).strength for exposure in (3, 20))
    assert few == pytest.approx(many, rel=0.3)


def test_without_clicks_the_prior_is_zero_and_strong(session: Any) -> None:
    frame = session.createDataFrame([("q", "1", 5.0, 0.0, 0.0)], SCHEMA)
    assert estimate_prior(frame) == Prior(0.0, 1000.0)
