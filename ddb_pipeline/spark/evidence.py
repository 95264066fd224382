"""What all hours together say of each query and document, and how sure that is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from ddb_pipeline.spark.click_model import CEILING, INNER_ROUNDS, PRIOR_STRENGTH, Cell

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MODEL_PAIRS = 4000
"""Pairs that examination is estimated from, those shown most: it has few parameters."""
MOST_ATTRACTIVE = 0.95
"""Largest attraction that cells are weighed by: a click too many is not to undo a cell's weight."""
COUNTS = ("impressions", "clicks", "satisfied", "squares")
"""What a cell counts at its position."""
STRENGTHS = (0.5, 1000.0)
"""Bounds of the prior's strength, in looks."""
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


@dataclass(frozen=True, slots=True)
class Prior:
    """The prior of relevance over all pairs: its mean, its strength in looks."""

    mean: float
    strength: float


def combined(pairs: "DataFrame", as_of_hour: int, half_life_days: float) -> "DataFrame":
    """``query, document, cells, users`` over all hours, each hour's counts decayed by its age."""
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


def model_pairs(pairs: "DataFrame", limit: int = MODEL_PAIRS) -> list[list[Cell]]:
    """The cells of the most shown pairs that were seen at two positions or more."""
    rows = (
        pairs.where(F.size("cells") > 1)
        .orderBy(F.desc(_total("impressions")), "query", "document")
        .limit(limit)
        .select("cells")
        .collect()
    )
    return [[(c["position"], c["impressions"], c["clicks"]) for c in row["cells"]] for row in rows]


def weighed(pairs: "DataFrame", examination: tuple[float, ...]) -> "DataFrame":
    """Adds ``impressions``, ``clicks``, ``exposure``, ``satisfied`` and ``squares`` to each pair.

    ``exposure`` is how many certain looks its impressions are worth, ``satisfied`` the
    dwell-weighted clicks on that scale; their ratio is the maximum likelihood estimate of
    ``click_model``. A cell's impression is worth
    ``examination * (1 - attraction) / (1 - examination * attraction)`` looks, the ratio of what
    both tell of attraction (their Fisher information).
    """
    looks = F.array(*(F.lit(float(value)) for value in examination))

    def seen(cell: "Column") -> "Column":
        return F.element_at(looks, cell["position"])

    def weight(cell: "Column", attraction: "Column") -> "Column":
        return F.lit(1.0) / (F.lit(1.0) - seen(cell) * attraction)

    def clicked(attraction: "Column", name: str) -> "Column":
        return _sum(lambda cell: weight(cell, attraction) * cell[name])

    def looked(attraction: "Column") -> "Column":
        return _sum(lambda cell: weight(cell, attraction) * cell["impressions"] * seen(cell))

    overall = F.lit(_overall_attraction(pairs, looks))
    found = pairs.withColumns(
        {"impressions": _total("impressions"), "clicks": _total("clicks")}
    ).withColumn("attraction", overall)
    for _ in range(INNER_ROUNDS + 1):
        now = F.col("attraction")
        strength = F.lit(PRIOR_STRENGTH)
        ratio = (clicked(now, "clicks") + strength * overall) / (looked(now) + strength)
        found = found.withColumn("attraction", F.least(ratio, F.lit(MOST_ATTRACTIVE)))
    now = F.col("attraction")
    missed = F.lit(1.0) - now
    return found.withColumns(
        {
            "exposure": missed * looked(now),
            "satisfied": missed * clicked(now, "satisfied"),
            "squares": missed * clicked(now, "squares"),
        }
    )


def _overall_attraction(pairs: "DataFrame", looks: "Column") -> float:
    seen = _sum(lambda cell: cell["impressions"] * F.element_at(looks, cell["position"]))
    row = pairs.agg(F.sum(_total("clicks")).alias("clicks"), F.sum(seen).alias("seen")).first()
    if row is None or not row["seen"]:
        return 0.0
    return float(min(row["clicks"] / row["seen"], MOST_ATTRACTIVE))


def estimate_prior(pairs: "DataFrame") -> Prior:
    """The prior from how the pairs of a query differ beyond the noise of their looks.

    Its strength is the variance of one look over the variance between pairs, by the method of
    moments (Bühlmann and Straub, "Glaubwürdigkeit für Schadensätze", 1970). The variance of a look
    comes from the clicks' weights and their squares, as a click counts between 0 and 1.
    """
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
    sums = {} if row is None else {k[4:-1]: v or 0.0 for k, v in row.asDict().items()}
    if not sums.get("satisfied"):
        return Prior(0.0, STRENGTHS[1])
    looks = sums["exposure"]
    # All of the variance about a query's mean: that of a look, and that between pairs.
    together = (sums["squares"] - sums["mean_squares"]) / looks
    room = looks - sums["share"] - sums["freedom"]
    between = (sums["spread"] - sums["freedom"] * together) / room if room > 0 else 0.0
    between = min(between, together)
    strength = together / between - 1 if between > 0 else STRENGTHS[1]
    return Prior(
        min(sums["satisfied"] / looks, CEILING), min(max(strength, STRENGTHS[0]), STRENGTHS[1])
    )


def with_prior(pairs: "DataFrame", prior: Prior) -> "DataFrame":
    """Adds each pair's ``prior_mean``, its query's own rate drawn to the overall one."""
    query = Window.partitionBy("query")
    strength = F.lit(prior.strength)
    mean = (F.sum("satisfied").over(query) + strength * F.lit(prior.mean)) / (
        F.sum("exposure").over(query) + strength
    )
    return pairs.withColumns({"prior_mean": F.least(mean, F.lit(1.0)), "prior_strength": strength})


def _total(name: str) -> "Column":
    return _sum(lambda cell: cell[name])


def _sum(value: "object") -> "Column":
    return F.aggregate("cells", F.lit(0.0), lambda total, cell: total + value(cell))  # type: ignore[operator]
