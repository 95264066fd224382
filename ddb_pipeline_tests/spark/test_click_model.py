"""The click model's estimates from clicks that were simulated with known probabilities."""

import random

import pytest

from ddb_pipeline.spark.click_model import Cell, attraction, estimate_examination

POSITIONS = 8


def simulated(
    seed: int, bias: float, *, pairs: int = 400, searches: int = 60_000
) -> list[list[Cell]]:
    """Simulate cells of pairs that a noisy ranker shows: it tends to rank good documents high."""
    rng = random.Random(seed)
    truth = [rng.random() ** 2 for _ in range(pairs)]
    shown: dict[tuple[int, int], list[int]] = {}
    for _ in range(searches // POSITIONS):
        candidates = rng.sample(range(pairs), 20)
        candidates.sort(key=lambda pair: -(truth[pair] + rng.gauss(0, 0.4)))
        for position, pair in enumerate(candidates[:POSITIONS], start=1):
            cell = shown.setdefault((pair, position), [0, 0])
            cell[0] += 1
            cell[1] += rng.random() < position**-bias * (0.05 + 0.95 * truth[pair])
    cells: dict[int, list[Cell]] = {}
    for (pair, position), (impressions, clicks) in sorted(shown.items()):
        cells.setdefault(pair, []).append((position, float(impressions), float(clicks)))
    return [found for found in cells.values() if len(found) > 1]


@pytest.mark.parametrize("bias", [0.0, 0.7, 1.3])
def test_examination_is_recovered_from_clicks_alone(bias: float) -> None:
    found = estimate_examination(simulated(3, bias), POSITIONS)
    assert found.estimated
    for position, value in enumerate(found.by_position, start=1):
        assert value == pytest.approx(position**-bias, abs=0.06)


def test_positions_that_share_no_documents_with_the_first_are_unlinked() -> None:
    """The same documents are always on top, so the others are comparable only to one another."""
    top = [[(1, 500.0, 400.0), (2, 500.0, 200.0)] for _ in range(5)]
    below = [[(3, 500.0, 100.0), (4, 500.0, 50.0)] for _ in range(20)]
    found = estimate_examination([*top, *below], 4)
    assert found.unlinked == (3, 4)
    assert found.by_position == pytest.approx((1.0, 0.5, 1 / 3, 1 / 6), abs=0.01)
    linked = [[(2, 500.0, 200.0), (3, 500.0, 100.0)] for _ in range(5)]
    found = estimate_examination([*top, *below, *linked], 4)
    assert found.unlinked == ()
    assert found.by_position == pytest.approx((1.0, 0.5, 0.25, 0.125), abs=0.01)


def test_few_clicks_are_no_basis_for_an_estimate() -> None:
    found = estimate_examination([[(1, 10.0, 1.0), (2, 10.0, 0.0)]], 4)
    assert not found.estimated
    assert found.by_position == (1.0, 1 / 2, 1 / 3, 1 / 4)


def test_without_pairs_the_default_is_assumed() -> None:
    assert estimate_examination([], 2).by_position == (1.0, 0.5)


@pytest.mark.parametrize("true", [0.1, 0.5, 0.9])
def test_attraction_is_recovered_for_a_known_examination(true: float) -> None:
    examination = (1.0, 0.5, 0.1)
    cells = [(k, 1e6, 1e6 * chance * true) for k, chance in enumerate(examination, start=1)]
    assert attraction(cells, examination, prior=0.3) == pytest.approx(true, abs=1e-3)
