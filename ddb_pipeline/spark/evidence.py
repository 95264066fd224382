"""The evidence about each pair: counts over all hours, corrected for position bias, and a prior.

Position bias is that users look less often at results further down, so that clicks alone favour
what was shown on top. ``click_model`` estimates the *examination* of each position, the probability
that a user looks at it. From it follows a pair's *exposure*: the number of impressions at an always
examined position that carry the same information about the pair as its real impressions do. The
*prior* is what is assumed of a pair before any exposure: a mean relevance, and a strength, which is
the exposure that the assumption counts as.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from ddb_pipeline.spark.click_model import CEILING, INNER_ROUNDS, PRIOR_STRENGTH, Cell

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MODEL_PAIRS = 4000
"""Pairs from which examination is estimated, the most shown ones: it has few parameters."""
MOST_ATTRACTIVE = 0.95
"""Largest attraction assumed of a pair: at 1, an always examined cell would have no variance."""
COUNTS = ("impressions", "clicks", "satisfied", "squares")
"""The counts of a cell: the last two are the sums of the click weights and of their squares."""
STRENGTHS = (0.5, 1000.0)
"""Smallest and largest strength of the prior, in units of exposure."""
EVIDENCE = (
    "query",
    "document",
    "impressions",
    "clicks",
    "exposure",
    "satisfied",
    "prior_mean",
    "prior_strength",
)
"""The columns that a scorer receives; ``scoring`` describes them."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The prior of all pairs: their mean relevance, and its strength in units of exposure."""

    mean: float
    strength: float


def combine_hours(pairs: "DataFrame", as_of_hour: int, half_life_days: float) -> "DataFrame":
    """Add up the hours' statistics, each hour's counts decayed by its age.

    Args:
        pairs: rows of ``hour_statistics.PAIRS``.
        as_of_hour: the hour since the epoch at whose beginning a search has the age 0.
        half_life_days: the age at which a search has the weight 1/2.

    Returns:
        ``query, document, cells, users``: one row a pair, ``users`` being the number of distinct
        users, exact up to the threshold of anonymity.
    """
    age = F.greatest(F.lit(as_of_hour) - 1 - F.col("counted_hour"), F.lit(0))
    decay = F.pow(F.lit(0.5), age / F.lit(24.0 * half_life_days))
    cells = (
        pairs.select("query", "document", decay.alias("decay"), F.explode("cells").alias("cell"))
        .groupBy("query", "document", F.col("cell.position").alias("position"))
        .agg(*(F.sum(F.col("decay") * F.col(f"cell.{name}")).alias(name) for name in COUNTS))
        .groupBy("query", "document")
        .agg(F.array_sort(F.collect_list(F.struct("position", *COUNTS))).alias("cells"))
    )
    users = pairs.groupBy("query", "document").agg(
        F.size(F.array_distinct(F.flatten(F.collect_list("users")))).alias("users")
    )
    return cells.join(users, ["query", "document"])


def most_shown_pairs(pairs: "DataFrame") -> list[list[Cell]]:
    """Collect the cells of the most shown pairs that were shown at two positions or more."""
    rows = (
        pairs.where(F.size("cells") > 1)
        .orderBy(F.desc(_total("impressions")), "query", "document")
        .limit(MODEL_PAIRS)
        .select("cells")
        .collect()
    )
    return [[(c["position"], c["impressions"], c["clicks"]) for c in row["cells"]] for row in rows]


def with_exposure(pairs: "DataFrame", examination: tuple[float, ...]) -> "DataFrame":
    """Add ``impressions``, ``clicks``, ``exposure``, ``satisfied`` and ``squares`` to each pair.

    An impression counts as ``examination * (1 - attraction) / (1 - examination * attraction)`` of
    exposure: the ratio of the Fisher information about the attraction in that impression and in
    one that is certainly examined. ``satisfied`` is the sum of the click weights, ``squares`` of
    their squares, both on the scale of exposure: ``satisfied / exposure`` is the maximum likelihood
    estimate of ``click_model``.
    """
    chances = F.array(*(F.lit(float(value)) for value in examination))
    overall = _overall_attraction(pairs, chances)
    found = pairs.withColumns(
        {"impressions": _total("impressions"), "clicks": _total("clicks")}
    ).withColumn("attraction", F.lit(overall))
    for _ in range(INNER_ROUNDS + 1):
        found = found.withColumn("attraction", _next_attraction(chances, overall))
    missed = F.lit(1.0) - F.col("attraction")
    return found.withColumns(
        {
            "exposure": missed * _weighted_examinations(chances),
            "satisfied": missed * _weighted_sum(chances, "satisfied"),
            "squares": missed * _weighted_sum(chances, "squares"),
        }
    )


def _next_attraction(chances: "Column", overall: float) -> "Column":
    """One step of ``click_model.attraction`` from the column ``attraction``."""
    prior, strength = F.lit(overall), F.lit(PRIOR_STRENGTH)
    clicked = _weighted_sum(chances, "clicks") + strength * prior
    ratio = clicked / (_weighted_examinations(chances) + strength)
    return F.least(ratio, F.lit(MOST_ATTRACTIVE))


def _weighted_sum(chances: "Column", name: str) -> "Column":
    """The sum of a count over a pair's cells, by their weights."""
    return _sum(lambda cell: _cell_weight(cell, chances) * cell[name])


def _weighted_examinations(chances: "Column") -> "Column":
    """The sum of the expected examinations over a pair's cells, by their weights."""
    return _sum(
        lambda cell: _cell_weight(cell, chances) * cell["impressions"] * _chance(cell, chances)
    )


def _cell_weight(cell: "Column", chances: "Column") -> "Column":
    """The weight ``w`` of ``click_model``."""
    return F.lit(1.0) / (F.lit(1.0) - _chance(cell, chances) * F.col("attraction"))


def _chance(cell: "Column", chances: "Column") -> "Column":
    """The probability that a user looks at the cell's position."""
    return F.element_at(chances, cell["position"])


def _overall_attraction(pairs: "DataFrame", chances: "Column") -> float:
    """Clicks per expected examination over all pairs."""
    examined = _sum(lambda cell: cell["impressions"] * _chance(cell, chances))
    row = pairs.agg(
        F.sum(_total("clicks")).alias("clicks"), F.sum(examined).alias("examined")
    ).first()
    if row is None or not row["examined"]:
        return 0.0
    return float(min(row["clicks"] / row["examined"], MOST_ATTRACTIVE))


def estimate_prior(pairs: "DataFrame") -> Prior:
    """Estimate the prior from how much the pairs of a query differ.

    The strength is the variance within a pair, for one unit of exposure, divided by the variance
    between the pairs of a query; both are estimated by the method of moments (Bühlmann and Straub,
    "Glaubwürdigkeit für Schadensätze", 1970). The variance within a pair follows from the click
    weights and their squares.
    """
    sums = _sums_of_variances(pairs)
    if not sums.get("satisfied"):
        return Prior(0.0, STRENGTHS[1])
    exposure = sums["exposure"]
    # The variance about a query's mean: the variance within pairs and between them together.
    together = (sums["squares"] - sums["mean_squares"]) / exposure
    divisor = exposure - sums["share"] - sums["freedom"]
    between = (sums["spread"] - sums["freedom"] * together) / divisor if divisor > 0 else 0.0
    between = min(between, together)
    strength = together / between - 1 if between > 0 else STRENGTHS[1]
    return Prior(
        mean=min(sums["satisfied"] / exposure, CEILING),
        strength=min(max(strength, STRENGTHS[0]), STRENGTHS[1]),
    )


def _sums_of_variances(pairs: "DataFrame") -> dict[str, float]:
    """The sums over all exposed pairs that the estimate of the prior needs; empty for no pairs."""
    rate = F.col("satisfied") / F.col("exposure")
    query = Window.partitionBy("query")
    mean = F.sum("satisfied").over(query) / F.sum("exposure").over(query)
    row = (
        pairs.where(F.col("exposure") > 0)
        .select(
            "satisfied",
            "exposure",
            "squares",
            (F.col("exposure") * mean * mean).alias("mean_squares"),
            (F.col("exposure") * F.pow(rate - mean, F.lit(2))).alias("spread"),
            (F.pow("exposure", F.lit(2)) / F.sum("exposure").over(query)).alias("share"),
            (F.lit(1.0) - F.lit(1.0) / F.count(F.lit(1)).over(query)).alias("freedom"),
        )
        .groupBy()
        .sum()
        .first()
    )
    return {} if row is None else {k[4:-1]: v or 0.0 for k, v in row.asDict().items()}


def with_prior(pairs: "DataFrame", prior: Prior) -> "DataFrame":
    """Add ``prior_mean`` and ``prior_strength`` to each pair.

    The mean is the query's own rate of satisfied clicks, shrunk to the overall mean by the prior's
    strength.
    """
    query = Window.partitionBy("query")
    strength = F.lit(prior.strength)
    mean = (F.sum("satisfied").over(query) + strength * F.lit(prior.mean)) / (
        F.sum("exposure").over(query) + strength
    )
    return pairs.withColumns({"prior_mean": F.least(mean, F.lit(1.0)), "prior_strength": strength})


def _total(name: str) -> "Column":
    """The sum of a count over a pair's cells."""
    return _sum(lambda cell: cell[name])


def _sum(value: "Callable[[Column], Column]") -> "Column":
    """The sum of a value over a pair's cells."""
    return F.aggregate("cells", F.lit(0.0), lambda total, cell: total + value(cell))
