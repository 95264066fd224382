"""The relevance job, from logs to published scores."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.spark.arguments import RelevanceArguments, RelevanceError
from ddb_pipeline.spark.manifest import Manifest
from ddb_pipeline.spark.relevance import RelevanceJob
from ddb_pipeline_tests.support.planted_logs import (
    FIRST_HOUR,
    Planted,
    Row,
    write_hour,
    write_logs,
)
from ddb_pipeline_tests.support.recording_reporter import RecordingReporter

PLANTED = Planted(seed=5, queries=3, documents=12, shown=6, hours=2, users=100)
SEARCHES = 600
Scored = tuple[Path, RecordingReporter]


def run(session: Any, folder: Path, **changed: Any) -> tuple[Manifest, RecordingReporter]:
    reporter = RecordingReporter()
    arguments = RelevanceArguments(str(folder / "stream"), str(folder / "output"), **changed)
    return RelevanceJob(session, arguments, reporter).run(), reporter


def published(folder: Path) -> list[dict[str, Any]]:
    """Read the scores that the manifest names."""
    document = json.loads((folder / "output" / "manifest.json").read_text("utf-8"))
    found = pq.read_table(folder / "output" / "scores" / document["scores"]["version"])
    return list(found.to_pylist())


def search(user: str, query: str, documents: list[int], clicked: list[int]) -> Row:
    return {
        "log_id": f"{user} {query}",
        "user": user,
        "query": query,
        "results": [{"document": d, "position": p} for p, d in enumerate(documents, start=1)],
        "clicks": [{"document": d, "dwell_ms": 60_000} for d in clicked],
    }


@pytest.fixture(scope="module")
def scored(session: Any, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("relevance")
    write_logs(folder / "stream", PLANTED, SEARCHES)
    return folder, run(session, folder)[1]


def test_scores_order_documents_by_relevance(scored: Scored) -> None:
    rows = published(scored[0])
    found = {(row["query"], int(row["document"])): row["score"] for row in rows}
    right = total = 0
    for query in range(PLANTED.queries):
        for one in range(PLANTED.documents):
            for other in range(PLANTED.documents):
                keys = [
                    (PLANTED.query_text(query), PLANTED.document_id(query, d)) for d in (one, other)
                ]
                if PLANTED.truth[query, one] > PLANTED.truth[query, other] + 0.3:
                    if not all(key in found for key in keys):
                        continue
                    total += 1
                    right += found[keys[0]] > found[keys[1]]
    assert total > 50
    assert right / total > 0.9


def test_the_job_reports_metadata(scored: Scored) -> None:
    folder, reporter = scored
    rows = published(folder)
    assert reporter.metadata["dagster/row_count"] == len(rows)
    assert reporter.metadata["queries"] == PLANTED.queries
    assert reporter.metadata["logs/rows"] == reporter.metadata["logs/logs"] == SEARCHES
    assert "data:image/svg+xml" in reporter.metadata["score_distribution"]["raw_value"]
    assert "| 1.00 |" in reporter.metadata["position_bias"]["raw_value"]
    assert reporter.metadata["top_movers"]["raw_value"].count("new") == 10
    assert reporter.warnings == []
    assert len({row["as_of"] for row in rows}) == 1


def test_a_run_without_changes_publishes_nothing(session: Any, scored: Scored) -> None:
    folder, reporter = scored
    before = (folder / "output" / "manifest.json").read_text("utf-8")
    _, again = run(session, folder)
    assert (folder / "output" / "manifest.json").read_text("utf-8") == before
    assert again.version == reporter.version
    assert again.metadata["unchanged"] is True


def test_only_pairs_shown_to_enough_users_are_published(session: Any, tmp_path: Path) -> None:
    rows = [search(f"user {n}", "common", [1, 2], [1]) for n in range(5)]
    # Ten searches by four users.
    rows += [
        {**search(f"user {n % 4}", "rare", [1], [1]), "log_id": f"rare {n}"} for n in range(10)
    ]
    nobody = search("nobody", "common", [3], []) | {"user": None}
    rows += [nobody | {"log_id": f"nobody {n}"} for n in range(9)]
    write_hour(tmp_path / "stream", FIRST_HOUR, rows[:7])
    write_hour(tmp_path / "stream", FIRST_HOUR + 1, rows[7:])
    _, reporter = run(session, tmp_path)
    assert {(r["query"], r["document"]) for r in published(tmp_path)} == {
        ("common", "1"),
        ("common", "2"),
    }
    assert reporter.metadata["pairs_below_k"] == 2
    assert "rare" not in json.dumps([reporter.metadata, reporter.lines, reporter.warnings])
    assert any(line.startswith("9 log(s) without a user") for line in reporter.warnings)
    run(session, tmp_path, min_users=4)
    assert ("rare", "1") in {(r["query"], r["document"]) for r in published(tmp_path)}


def by_clicks(evidence: Any) -> Any:
    """Score by clicks, and add a pair that was not in the evidence."""
    scores = evidence.selectExpr("query", "document", "clicks AS score", "1.0 AS confidence")
    return scores.union(evidence.sparkSession.sql("SELECT 'secret', '1', 9.0, 1.0"))


def not_a_number(evidence: Any) -> Any:
    return evidence.selectExpr("query", "document", "double('NaN') AS score", "2.0 AS confidence")


def without_confidence(evidence: Any) -> Any:
    return evidence.selectExpr("query", "document", "1.0 AS score")


def broken(evidence: Any) -> Any:
    raise KeyError("weights")


def test_a_scorer_of_the_users_own_is_checked(session: Any, tmp_path: Path) -> None:
    rows = [search(f"user {n}", "common", [1, 2], [1, 2] if n < 2 else [1]) for n in range(5)]
    write_hour(tmp_path / "stream", FIRST_HOUR, rows)
    run(session, tmp_path, scorer=f"{__name__}:by_clicks")
    assert {r["document"]: r["score"] for r in published(tmp_path)} == {"1": 5.0, "2": 2.0}
    before = published(tmp_path)
    for name, message in {
        "not_a_number": r"2 score\(s\) that are not finite numbers, 2 confidence",
        "without_confidence": "returned no column 'confidence'",
        "broken": "failed: KeyError: 'weights'",
        "missing": "has no function 'missing'",
    }.items():
        with pytest.raises(RelevanceError, match=message):
            run(session, tmp_path, scorer=f"{__name__}:{name}")
    with pytest.raises(RelevanceError, match=r"'acme\.ranking' cannot be imported"):
        run(session, tmp_path, scorer="acme.ranking:score")
    assert published(tmp_path) == before


def test_the_pairs_whose_scores_changed_most_are_reported(session: Any, tmp_path: Path) -> None:
    rows = [search(f"user {n}", "common", [1, 2], [1]) for n in range(6)]
    write_hour(tmp_path / "stream", FIRST_HOUR, rows)
    run(session, tmp_path)
    later = [{**search(f"user {n}", "common", [1, 2], [2]), "log_id": f"l{n}"} for n in range(6)]
    write_hour(tmp_path / "stream", FIRST_HOUR + 1, later)
    _, reporter = run(session, tmp_path)
    assert reporter.lines == ["1 hour(s) changed and 0 removed, of 2."]
    table = reporter.metadata["top_movers"]["raw_value"].splitlines()
    assert len(table) == 4
    assert any("| common | 1 |" in line and "| -0." in line for line in table)


def test_without_logs_the_job_fails(session: Any, tmp_path: Path) -> None:
    with pytest.raises(RelevanceError, match=r"no Parquet under .*delivery_date="):
        run(session, tmp_path)
