"""The position-based click model: how likely a position is looked at, from clicks alone.

A result is clicked when its position is examined and the document attracts:
``P(click) = examination[position] * attraction[query, document]`` (Craswell et al., "An
Experimental Comparison of Click Position-Bias Models", WSDM 2008; Chuklin et al., "Click Models for
Web Search", 2015, section 3.3). Both sides are estimated from logged clicks without any
intervention, as the EM of Wang et al., "Position Bias Estimation for Unbiased
Learning to Rank in Personal Search", WSDM 2018, does: a ranking that varies shows the same
document at several positions. The likelihood is theirs. It is climbed by Fisher scoring on one side
while the other stands, which needs some tens of rounds where EM needs hundreds: with
``w = 1 / (1 - examination * attraction)``, the inverse variance of a cell up to a common factor,

    attraction[pair]      = sum w clicks / sum w impressions examination     over its positions
    examination[position] = sum w clicks / sum w impressions attraction      over its pairs

Only the product is identified, so the first position's examination is 1. Positions that no
document links to the first (a campaign that always holds the top) cannot be compared with it by any
method without intervention: their first is taken to be looked at with ``1 / position``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

FLOOR = 0.01
"""Smallest examination: bounds the weight of one click (Joachims et al., WSDM 2017, section 4)."""
CEILING = 0.99
"""Largest click probability, so that weights stay finite."""
MAX_ROUNDS = 500
TOLERANCE = 1e-4
"""Relative change of an examination by which a round must move it, or it was the last."""
LINK = 50.0
"""Impressions at each of two positions, of documents seen at both, that link the two."""
MIN_CLICKS = 20
PRIOR_STRENGTH = 1.0
INNER_ROUNDS = 2

Cell = tuple[int, float, float]
"""Position from 1, impressions, clicks."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The chance to look at each position, relative to the first.

    Attributes:
        by_position: from position 1 on.
        estimated: False where there was nothing to estimate from and ``1 / position`` stands in.
        apart: the positions that nothing links to the first.
        pairs, rounds: what the estimate is made of.
    """

    by_position: tuple[float, ...]
    estimated: bool
    pairs: int
    rounds: int
    apart: tuple[int, ...] = ()


def estimate_examination(pairs: Sequence[Sequence[Cell]], positions: int) -> Examination:
    """Estimate from query-document pairs, each seen at two positions or more.

    Where clicks are too few for any estimate, ``1 / position`` is taken.
    """
    clicks = sum(c for pair in pairs for _, _, c in pair)
    impressions = sum(n for pair in pairs for _, n, _ in pair)
    start = [1 / k for k in range(1, positions + 1)]
    if clicks < MIN_CLICKS or not impressions:
        return Examination(tuple(start), estimated=False, pairs=len(pairs), rounds=0)
    examination = start
    expected = sum(n * start[k - 1] for pair in pairs for k, n, _ in pair)
    prior = min(clicks / expected, CEILING)
    anchors = linked_to(pairs, positions)
    rounds, moved = 0, 1.0
    while moved >= TOLERANCE and rounds < MAX_ROUNDS:
        found = _round(pairs, examination, prior, anchors)
        moved = max(abs(a / b - 1) for a, b in zip(found, examination, strict=True))
        examination = found
        rounds += 1
    apart = tuple(k for k, anchor in enumerate(anchors, start=1) if anchor != 1)
    return Examination(tuple(examination), True, len(pairs), rounds, apart)


def linked_to(pairs: Sequence[Sequence[Cell]], positions: int) -> list[int]:
    """For each position the first one that documents link it to, by one step or several."""
    links: dict[tuple[int, int], float] = {}
    for cells in pairs:
        for (one, shown, _), (other, shown_there, _) in combinations(cells, 2):
            key = (min(one, other), max(one, other))
            links[key] = links.get(key, 0.0) + min(shown, shown_there)
    first = list(range(1, positions + 1))
    for (one, other), impressions in links.items():
        if impressions >= LINK:
            low, high = sorted((first[one - 1], first[other - 1]))
            first = [low if anchor == high else anchor for anchor in first]
    return first


def attraction(
    cells: Sequence[Cell], examination: Sequence[float], prior: float, rounds: int = INNER_ROUNDS
) -> float:
    """A pair's attraction while examination stands, drawn to ``prior`` by one impression."""
    found = prior
    for _ in range(rounds + 1):
        clicked, looked = PRIOR_STRENGTH * prior, PRIOR_STRENGTH
        for position, impressions, clicks in cells:
            seen = examination[position - 1]
            weight = 1 / (1 - min(seen * found, CEILING))
            clicked += weight * clicks
            looked += weight * impressions * seen
        found = min(clicked / looked, 1.0)
    return found


def _round(
    pairs: Sequence[Sequence[Cell]],
    examination: Sequence[float],
    prior: float,
    anchors: Sequence[int],
) -> list[float]:
    clicked = [0.0] * len(examination)
    attracted = [0.0] * len(examination)
    for cells in pairs:
        attractive = attraction(cells, examination, prior)
        for position, impressions, clicks in cells:
            weight = 1 / (1 - min(examination[position - 1] * attractive, CEILING))
            clicked[position - 1] += weight * clicks
            attracted[position - 1] += weight * impressions * attractive
    found = [
        c / a if a else before for c, a, before in zip(clicked, attracted, examination, strict=True)
    ]
    scaled = [
        value / (found[anchor - 1] or 1.0) / anchor
        for value, anchor in zip(found, anchors, strict=True)
    ]
    return [min(max(value, FLOOR), 1.0) for value in scaled]
