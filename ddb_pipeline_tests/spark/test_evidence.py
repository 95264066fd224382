"""The prior, estimated from pairs that were drawn from a known one."""

import random
from typing import Any

import pytest

from ddb_pipeline.spark.evidence import Prior, estimate_prior

SCHEMA = "query string, document string, exposure double, satisfied double, squares double"


def drawn(session: Any, strength: float, looks: int, weight: float) -> Prior:
    """The prior of pairs whose relevance follows a Beta distribution of mean 0.4.

    Each is looked at ``looks`` times; a click counts ``weight`` or all.
    """
    rng = random.Random(7)
    rows = []
    for query in range(40):
        for document in range(30):
            true = rng.betavariate(0.4 * strength, 0.6 * strength)
            clicks = [rng.choice((weight, 1.0)) for _ in range(looks) if rng.random() < true]
            squares = float(sum(click**2 for click in clicks))
            rows.append((f"q{query}", str(document), float(looks), float(sum(clicks)), squares))
    return estimate_prior(session.createDataFrame(rows, SCHEMA))


@pytest.mark.parametrize(("strength", "looks"), [(2.0, 3), (2.0, 20), (20.0, 20)])
def test_a_beta_prior_is_recovered(session: Any, strength: float, looks: int) -> None:
    found = drawn(session, strength, looks, weight=1.0)
    assert found.mean == pytest.approx(0.4, abs=0.03)
    assert found.strength == pytest.approx(strength, rel=0.25)


def test_clicks_of_unequal_weight_are_no_noise_of_whole_ones(session: Any) -> None:
    """Whether looked at thrice or twenty times a pair, the prior comes out the same."""
    few, many = (drawn(session, 2.0, looks, weight=0.2).strength for looks in (3, 20))
    assert few == pytest.approx(many, rel=0.3)


def test_no_clicks_at_all(session: Any) -> None:
    frame = session.createDataFrame([("q", "1", 5.0, 0.0, 0.0)], SCHEMA)
    assert estimate_prior(frame) == Prior(0.0, 1000.0)
