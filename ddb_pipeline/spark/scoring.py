"""From evidence to scores: the default formula, a company's own, and who may be in the outcome.

A scorer is a function ``module:function`` of one DataFrame, a row a query and document, that
answers with ``query``, ``document``, ``score`` and ``confidence``. It gets:

``impressions``, ``clicks``
    decayed counts;
``exposure``
    how many certain looks its impressions are worth, position bias taken out;
``satisfied``
    dwell-weighted clicks on the scale of ``exposure``;
``prior_mean``, ``prior_strength``
    what is known of any document of the query, in looks' worth of evidence.

It never sees pairs below the anonymity threshold, and what it answers of others is dropped.
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

ANSWER = ("query", "document", "score", "confidence")


def smoothed_relevance(evidence: "DataFrame") -> "DataFrame":
    """Expected relevance of a look, between 0 and 1.

    ``score = (satisfied + prior_strength * prior_mean) / (exposure + prior_strength)``: clicks over
    expected clicks (Zhang and Jones, "Comparing Click Logs and Editorial Labels for Training Query
    Rewriting", WWW 2007), drawn to the prior by its credibility. For plain clicks that is the
    posterior mean under a Beta prior (Wang et al., "Click-Through Rate Estimation for Rare Events
    in Online Advertising", 2011).

    ``confidence = exposure / (exposure + prior_strength)``, the share of the score that the data
    has (Bühlmann's credibility): 0 is the prior alone.
    """
    looks = F.col("exposure") + F.col("prior_strength")
    known = F.col("satisfied") + F.col("prior_strength") * F.col("prior_mean")
    return evidence.select(
        "query",
        "document",
        F.least(known / looks, F.lit(1.0)).alias("score"),
        (F.col("exposure") / looks).alias("confidence"),
    )


def load_scorer(name: str) -> "Scorer":
    """Import ``module:function``.

    Raises:
        RelevanceError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise RelevanceError(
            f"Scorer {name!r}: module {module!r} cannot be imported ({error}). It must be "
            "installed beside the job, or be among its --py-files."
        ) from error
    except AttributeError:
        raise RelevanceError(f"Scorer {name!r}: {module!r} has no {function!r}.") from None
    if not callable(found):
        raise RelevanceError(f"Scorer {name!r} is not a function.")
    return found  # type: ignore[no-any-return]


def anonymous(pairs: "DataFrame", min_users: int) -> "DataFrame":
    """The pairs that were shown to ``min_users`` distinct users or more."""
    return pairs.where(F.col("users") >= min_users)


def scored(evidence: "DataFrame", name: str) -> "DataFrame":
    """Scores of the evidence's pairs by the scorer of that name, beside the evidence.

    Raises:
        RelevanceError: the scorer failed, lacks a column, names a pair twice, or answers with
            scores that are no finite numbers or confidences not between 0 and 1.
    """
    scorer = load_scorer(name)
    evidence = evidence.select(*EVIDENCE)
    try:
        answer = scorer(evidence)
        missing = [column for column in ANSWER if column not in answer.columns]
    except Exception as error:
        raise RelevanceError(f"Scorer {name!r} failed: {type(error).__name__}: {error}") from error
    if missing:
        raise RelevanceError(f"Scorer {name!r} answers without the column {missing[0]!r}.")
    answer = answer.select(
        "query",
        "document",
        F.col("score").cast("double").alias("score"),
        F.col("confidence").cast("double").alias("confidence"),
    )
    return evidence.join(answer, ["query", "document"])


def check_scores(scores: "DataFrame", name: str) -> None:
    """Look at scores before they are published.

    Raises:
        RelevanceError: see ``scored``.
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
        "score(s) that are no finite number": row["scores"],
        "confidence(s) not between 0 and 1": row["confidences"],
        "row(s) for a pair that has one": row["rows"] - row["pairs"],
    }
    found = [f"{count} {what}" for what, count in problems.items() if count]
    if found:
        raise RelevanceError(
            f"Scorer {name!r} answers with {', '.join(found)}; none was published."
        )
