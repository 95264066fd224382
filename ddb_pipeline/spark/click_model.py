"""The position-based click model: estimates from clicks how likely users look at each position.

A user clicks a result after looking at its position if the document is attractive (Craswell et al.,
"An Experimental Comparison of Click Position-Bias Models", WSDM 2008; Chuklin et al., "Click Models
for Web Search", 2015, section 3.3):

    P(click) = examination[position] * attraction[query, document]

The first factor is the probability that a user looks at the position, the second the probability
that a user who looks clicks. Both can be estimated from logs alone, because a ranking that varies
shows the same document at several positions. The likelihood is that of Wang et al., "Position Bias
Estimation for Unbiased Learning to Rank in Personal Search", WSDM 2018. They maximise it by
expectation maximisation, which needs hundreds of rounds. This module alternates Fisher scoring
steps for one factor while the other is fixed, which needs tens of rounds. With
``w = 1 / (1 - examination * attraction)``, which is proportional to the inverse variance of a
cell's click rate, the steps are

    attraction[pair]      = sum(w * clicks) / sum(w * impressions * examination)  over positions
    examination[position] = sum(w * clicks) / sum(w * impressions * attraction)   over pairs

Only the product of the factors can be determined, so the first position's examination is set to 1.
Two positions are *linked* if documents that were shown at both have enough impressions there. For
positions that are not linked to the first, directly or over others, no method can estimate
examination relative to the first without an experiment. That happens, for example, if a campaign
always fills the top positions. The first of such a group is assumed to have ``1 / position``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

FLOOR = 0.01
"""Smallest examination; limits the weight of one click (Joachims et al., WSDM 2017, section 4)."""
CEILING = 0.99
"""Largest click probability, which keeps ``w`` finite."""
MAX_ROUNDS = 500
TOLERANCE = 1e-4
"""Iteration ends after a round that changes every examination by a smaller share."""
LINK = 50.0
"""Impressions at each of two positions, of documents shown at both, that link the positions."""
MIN_CLICKS = 20
"""Clicks without which examination is not estimated."""
PRIOR_STRENGTH = 1.0
"""Examined impressions that the prior of an attraction counts as."""
INNER_ROUNDS = 2
"""Steps for an attraction after its first, in each round."""

Cell = tuple[int, float, float]
"""A pair's counts at one position: the position, counted from 1, impressions and clicks."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The probability that a user looks at each position, relative to the first.

    Attributes:
        by_position: the probabilities, from position 1 on.
        estimated: False if there were too few clicks and ``1 / position`` is assumed.
        unlinked: the positions that are not linked to the first.
    """

    by_position: tuple[float, ...]
    estimated: bool
    unlinked: tuple[int, ...] = ()


def estimate_examination(pairs: Sequence[Sequence[Cell]], positions: int) -> Examination:
    """Estimate examination.

    Args:
        pairs: the cells of query-document pairs, each shown at two positions or more.
        positions: number of positions.
    """
    clicks = sum(c for pair in pairs for _, _, c in pair)
    impressions = sum(n for pair in pairs for _, n, _ in pair)
    start = [1 / k for k in range(1, positions + 1)]
    if clicks < MIN_CLICKS or not impressions:
        return Examination(tuple(start), estimated=False)
    examination = start
    expected = sum(n * start[k - 1] for pair in pairs for k, n, _ in pair)
    prior = min(clicks / expected, CEILING)
    anchors = link_positions(pairs, positions)
    for _ in range(MAX_ROUNDS):
        before = examination
        examination = _examination_step(pairs, before, prior, anchors)
        if max(abs(a / b - 1) for a, b in zip(examination, before, strict=True)) < TOLERANCE:
            break
    return Examination(
        by_position=tuple(examination),
        estimated=True,
        unlinked=tuple(k for k, anchor in enumerate(anchors, start=1) if anchor != 1),
    )


def link_positions(pairs: Sequence[Sequence[Cell]], positions: int) -> list[int]:
    """Return for each position the smallest one it is linked to, directly or over others."""
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


def attraction(cells: Sequence[Cell], examination: Sequence[float], prior: float) -> float:
    """Estimate a pair's attraction for a fixed examination.

    Args:
        cells: the pair's counts by position.
        examination: the probabilities by position.
        prior: the attraction assumed of a pair without impressions; it counts as
            ``PRIOR_STRENGTH`` impressions.
    """
    found = prior
    for _ in range(INNER_ROUNDS + 1):
        clicked, examined = PRIOR_STRENGTH * prior, PRIOR_STRENGTH
        for position, impressions, clicks in cells:
            chance = examination[position - 1]
            weight = 1 / (1 - min(chance * found, CEILING))
            clicked += weight * clicks
            examined += weight * impressions * chance
        found = min(clicked / examined, 1.0)
    return found


def _examination_step(
    pairs: Sequence[Sequence[Cell]],
    examination: Sequence[float],
    prior: float,
    anchors: Sequence[int],
) -> list[float]:
    """The next estimate of examination, scaled so that each anchor has ``1 / position``."""
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
