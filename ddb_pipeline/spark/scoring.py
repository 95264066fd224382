"""Computes scores from evidence, by the default formula or by a scorer of the user's own.

A scorer is a function, named as ``module:function``. It receives one DataFrame with a row for each
pair of query and document, and returns ``query``, ``document``, ``score`` and ``confidence``. The
columns it receives are, besides ``query`` and ``document``:

``impressions``, ``clicks``
    decayed counts;
``exposure``
    the number of impressions at an always examined position that carry the same information;
``satisfied``
    the sum of the click weights, on the scale of ``exposure``;
``prior_mean``, ``prior_strength``
    the relevance assumed of any document of the query, and the exposure that it counts as.

A scorer receives no pair below the threshold of anonymity; its scores of other pairs are dropped.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from ddb_pipeline.spark.arguments import RelevanceError
from ddb_pipeline.spark.evidence import EVIDENCE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Scorer = Callable[["DataFrame"], "DataFrame"]

SCORER_COLUMNS = ("query", "document", "score", "confidence")


def smoothed_relevance(evidence: "DataFrame") -> "DataFrame":
    """The default scorer: the expected click weight of an examined impression, from 0 to 1.

    ``score = (satisfied + prior_strength * prior_mean) / (exposure + prior_strength)``: clicks over
    expected clicks (Zhang and Jones, "Comparing Click Logs and Editorial Labels for Training Query
    Rewriting", WWW 2007), shrunk to the prior. For clicks of weight 1 it is the posterior mean
    under a Beta prior (Wang et al., "Click-Through Rate Estimation for Rare Events in Online
    Advertising", 2011).

    ``confidence = exposure / (exposure + prior_strength)``: the share of the score that is based on
    the pair's own exposure (Bühlmann's credibility). At 0 the score is the prior's mean.
    """
    exposure = F.col("exposure") + F.col("prior_strength")
    weight = F.col("satisfied") + F.col("prior_strength") * F.col("prior_mean")
    return evidence.select(
        "query",
        "document",
        F.least(weight / exposure, F.lit(1.0)).alias("score"),
        (F.col("exposure") / exposure).alias("confidence"),
    )


def load_scorer(name: str) -> "Scorer":
    """Import ``module:function``.

    Raises:
        RelevanceError: the module or the function does not exist.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise RelevanceError(
            f"Scorer {name!r}: module {module!r} cannot be imported ({error}). Install it where "
            "the job runs, or add it to the job's --py-files."
        ) from error
    except AttributeError:
        raise RelevanceError(f"Scorer {name!r}: {module!r} has no function {function!r}.") from None
    if not callable(found):
        raise RelevanceError(f"Scorer {name!r} is not a function.")
    return found  # type: ignore[no-any-return]


def anonymous(pairs: "DataFrame", min_users: int) -> "DataFrame":
    """Select the pairs that were shown to ``min_users`` distinct users or more."""
    return pairs.where(F.col("users") >= min_users)


def with_scores(evidence: "DataFrame", name: str) -> "DataFrame":
    """Add ``score`` and ``confidence``, computed by the scorer with this name, to the evidence.

    Raises:
        RelevanceError: the scorer failed, or its DataFrame lacks a column.
    """
    scorer = load_scorer(name)
    evidence = evidence.select(*EVIDENCE)
    try:
        found = scorer(evidence)
        missing = [column for column in SCORER_COLUMNS if column not in found.columns]
    except Exception as error:
        raise RelevanceError(f"Scorer {name!r} failed: {type(error).__name__}: {error}") from error
    if missing:
        raise RelevanceError(f"Scorer {name!r} returned no column {missing[0]!r}.")
    scores = found.select(
        "query",
        "document",
        F.col("score").cast("double").alias("score"),
        F.col("confidence").cast("double").alias("confidence"),
    )
    return evidence.join(scores, ["query", "document"])


def check_scores(scores: "DataFrame", name: str) -> None:
    """Check a scorer's result before it is published.

    Raises:
        RelevanceError: a score is not a finite number, a confidence is not between 0 and 1, or a
            pair has two scores.
    """
    score, confidence = F.col("score"), F.col("confidence")
    bad_score = score.isNull() | F.isnan(score) | (F.abs(score) == float("inf"))
    bad_confidence = ~F.coalesce(confidence.between(0, 1), F.lit(False))
    row = scores.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_distinct("query", "document").alias("pairs"),
        F.count(F.when(bad_score, 1)).alias("scores"),
        F.count(F.when(bad_confidence, 1)).alias("confidences"),
    ).first()
    assert row is not None
    problems = {
        "score(s) that are not finite numbers": row["scores"],
        "confidence(s) not between 0 and 1": row["confidences"],
        "row(s) for a pair that has another": row["rows"] - row["pairs"],
    }
    found = [f"{count} {what}" for what, count in problems.items() if count]
    if found:
        raise RelevanceError(
            f"Scorer {name!r} returned {', '.join(found)}. No score was published."
        )
