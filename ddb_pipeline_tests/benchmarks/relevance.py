"""Measures the relevance scores against relevance that is known because the logs are simulated.

    python -m ddb_pipeline_tests.benchmarks.relevance [--searches 30000] [--seeds 1 2 3]

The job computes scores from simulated logs with a stated position bias, click noise and ranker.
Printed is the NDCG@10 of four rankings of each query's documents, averaged over queries (grades 0
to 4 by true relevance, gain ``2 ** grade - 1``, as in Chapelle and Chang, "Yahoo! Learning to Rank
Challenge Overview", 2011):

shown    by mean position: the ranker that is in the logs
ctr      by clicks / impressions, the usual click-through rate
ours     by the job's scores; pairs below the threshold of anonymity come last
oracle   as ours, with the true examination of each position
"""

import argparse
import math
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddb_pipeline.spark import evidence, relevance, scoring
from ddb_pipeline.spark.arguments import RelevanceArguments
from ddb_pipeline.spark.increment import Increment
from ddb_pipeline.spark.java import find_java
from ddb_pipeline.spark.manifest import Manifest
from ddb_pipeline.spark.relevance import RelevanceJob
from ddb_pipeline.spark.reporting import StandardErrorReporter
from ddb_pipeline.spark.session import open_session
from ddb_pipeline.spark.submission import LocalSpark, SparkJob, local_environment
from ddb_pipeline_tests.support.planted_logs import FIRST_DOCUMENT, Planted, write_logs

DEPTH = 10
GRADES = 4
Pair = tuple[int, int]
Scores = Mapping[Pair, float]


class QuietReporter(StandardErrorReporter):
    """Prints nothing."""

    def log(self, message: str) -> None:
        pass


def ndcg(truth: Scores, scores: Scores) -> float:
    """Return the mean NDCG@10 over queries; pairs without a score come last."""
    queries: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for pair, true in truth.items():
        queries[pair[0]].append((scores.get(pair, -math.inf), round(GRADES * true)))
    found = []
    for entries in queries.values():
        ranked = [grade for _, grade in sorted(entries, key=lambda entry: -entry[0])]
        best = gain(sorted(ranked, reverse=True))
        if best:
            found.append(gain(ranked) / best)
    return statistics.mean(found)


def gain(grades: list[int]) -> float:
    return math.fsum((2**g - 1) / math.log2(rank + 2) for rank, g in enumerate(grades[:DEPTH]))


def counted(planted: Planted, searches: int) -> tuple[dict[Pair, float], dict[Pair, float]]:
    """Compute each pair's click-through rate and its negative mean position."""
    shown: dict[Pair, list[int]] = defaultdict(list)
    clicks: dict[Pair, int] = defaultdict(int)
    for _, row in planted.rows(searches):
        query = int(row["query"].split()[1])
        clicked = {click["document"] for click in row["clicks"]}
        for result in row["results"]:
            pair = pair_of(query, result["document"])
            shown[pair].append(result["position"])
            clicks[pair] += result["document"] in clicked
    rates = {pair: clicks[pair] / len(positions) for pair, positions in shown.items()}
    return rates, {pair: -statistics.mean(positions) for pair, positions in shown.items()}


def pair_of(query: int, document: int) -> Pair:
    return query, (document - FIRST_DOCUMENT) % 1000


def by_pair(rows: list[Any]) -> dict[Pair, float]:
    return {pair_of(int(r["query"].split()[1]), int(r["document"])): r["score"] for r in rows}


def oracle(spark: Any, arguments: RelevanceArguments, after: Manifest, planted: Planted) -> Scores:
    """Compute scores as the job does, but with the true examination."""
    statistics_ = Increment(spark, arguments, "", lambda _: None).pairs(after)
    as_of = RelevanceJob(spark, arguments, QuietReporter()).as_of(after)
    pairs = evidence.combine_hours(statistics_, as_of, arguments.half_life_days)
    true = tuple(planted.examination(k) for k in range(1, planted.shown + 1))
    exposed = evidence.with_exposure(pairs, true).persist()
    known = evidence.with_prior(exposed, evidence.estimate_prior(exposed))
    known = scoring.anonymous(known, arguments.min_users)
    return by_pair(scoring.with_scores(known, arguments.scorer).collect())


def measured(spark: Any, planted: Planted, searches: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        stream, output = Path(folder) / "stream", Path(folder) / "relevance"
        write_logs(stream, planted, searches)
        arguments = RelevanceArguments(str(stream), str(output))
        after = RelevanceJob(spark, arguments, QuietReporter()).run()
        assert after.scores is not None
        rows = spark.read.parquet(f"{output}/scores/{after.scores.version}").collect()
        rates, shown = counted(planted, searches)
        truth = {pair: planted.truth[pair] for pair in rates}
        return {
            "pairs": len(truth),
            "scored": len(rows),
            "shown": ndcg(truth, shown),
            "ctr": ndcg(truth, rates),
            "ours": ndcg(truth, by_pair(rows)),
            "oracle": ndcg(truth, oracle(spark, arguments, after, planted)),
        }


@contextmanager
def session() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        java = find_java(os.environ, Path(folder))
        job = SparkJob("benchmark", relevance.__name__, ())
        os.environ.update(local_environment(job, LocalSpark(), java))
        spark = open_session("benchmark")
        yield spark
        spark.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=30_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--bias", type=float, default=1.2)
    parser.add_argument("--noise", type=float, default=0.05)
    options = parser.parse_args()
    found: list[dict[str, float]] = []
    with session() as spark:
        for seed in options.seeds:
            planted = Planted(seed, bias=options.bias, noise=options.noise)
            if not found:
                print(f"{planted}, {options.searches:,} searches")  # noqa: T201
                print("seed   pairs  scored   shown     ctr    ours  oracle")  # noqa: T201
            result = measured(spark, planted, options.searches)
            found.append(result)
            print(line(str(seed), result), flush=True)  # noqa: T201
    mean = {name: statistics.mean(result[name] for result in found) for name in found[0]}
    print(line("mean", mean))  # noqa: T201
    print(  # noqa: T201
        f"ours - ctr = {mean['ours'] - mean['ctr']:+.3f}, "
        f"oracle - ours = {mean['oracle'] - mean['ours']:+.3f}"
    )


def line(head: str, result: Mapping[str, float]) -> str:
    values = "".join(f"{result[name]:8.3f}" for name in ("shown", "ctr", "ours", "oracle"))
    return f"{head:<4}{result['pairs']:8.0f}{result['scored']:8.0f}{values}"


if __name__ == "__main__":
    main()
