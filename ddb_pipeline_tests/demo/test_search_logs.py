"""The demo's items: their shapes, their anonymity, and that a seed determines them."""

import json
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from ddb_pipeline.demo.search_logs import (
    DOCUMENTS_PER_QUERY,
    FIRST_DOCUMENT_ID,
    PSEUDONYM_KEY_FILE,
    QUERIES,
    SearchLogs,
    Visitor,
    demo_pseudonym_key,
    document_id,
    pseudonym,
    relevance,
)
from ddb_pipeline.dynamodb.values import Item, item_json
from ddb_pipeline.errors import DdbPipelineError

KEY = b"k" * 32
NOW = 1_790_000_000.0
COMMON = {"log_id", "user", "session", "searched_at", "total_hits", "latency_ms", "kind", "query"}


def generated(seed: int = 1, *, key: bytes = KEY, with_refinements: bool = False) -> list[Item]:
    return list(SearchLogs(seed, key, with_refinements=with_refinements).items(400, NOW))


def test_a_seed_determines_the_items() -> None:
    assert generated() == generated()
    assert generated() != generated(seed=2)
    assert len({item["log_id"]["S"] for item in generated()}) == 400


def test_every_item_is_a_search_or_a_suggestion() -> None:
    for item in generated():
        json.loads(item_json(item))
        if item["kind"]["S"] == "suggestion":
            assert set(item) == COMMON | {"suggested"}
            assert any(query.startswith(item["query"]["S"]) for query in item["suggested"]["SS"])
        else:
            assert item["kind"]["S"] == "search"
            assert set(item) > COMMON | {"results", "clicks", "device", "network"}
            assert item["query"]["S"] in QUERIES


def test_results_have_consecutive_positions_and_clicks_are_on_results() -> None:
    for item in generated():
        results = [result["M"] for result in item.get("results", {"L": []})["L"]]
        shown = {(result["document"]["N"], result["position"]["N"]) for result in results}
        positions = [int(result["position"]["N"]) for result in results]
        assert all(after == before + 1 for before, after in pairwise([0, *positions]))
        assert all(int(result["document"]["N"]) >= FIRST_DOCUMENT_ID for result in results)
        clicks = [click["M"] for click in item.get("clicks", {"L": []})["L"]]
        assert {(c["document"]["N"], c["position"]["N"]) for c in clicks} <= shown


def test_sets_are_never_empty_and_have_distinct_elements() -> None:
    """DynamoDB refuses empty sets and repeated elements."""
    sets = [
        value[tag]
        for item in generated(with_refinements=True)
        for value in (*item.values(), *item.get("device", {"M": {}})["M"].values())
        for tag in ("SS", "NS")
        if tag in value
    ]
    assert all(elements and len(set(elements)) == len(elements) for elements in sets)


def test_refinements_are_written_only_where_asked_for() -> None:
    assert not any("refinements" in item for item in generated())
    assert all("refinements" in item for item in generated(with_refinements=True))


def test_items_contain_no_identifier_of_a_visitor() -> None:
    text = json.dumps([item_json(item) for item in generated()])
    assert "@" not in text
    assert "198.51.100." not in text


def test_a_pseudonym_depends_on_identifier_kind_and_key() -> None:
    visitor = Visitor("customer-1@example.com", "198.51.100.1")
    variants = {
        pseudonym(KEY, "user", visitor.account),
        pseudonym(KEY, "session", visitor.account),
        pseudonym(KEY, "user", visitor.address),
        pseudonym(b"another", "user", visitor.account),
    }
    assert len(variants) == 4
    users = [{item["user"]["S"] for item in generated(key=key)} for key in (KEY, b"another")]
    assert len(users[0]) == len(users[1]) > 1
    assert not users[0] & users[1]


def test_the_key_is_created_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "new"
    key = demo_pseudonym_key(home)
    assert len(key) == 32
    assert demo_pseudonym_key(home) == key
    (file,) = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    file.chmod(0o644)
    assert demo_pseudonym_key(home) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"k" * 31])
def test_an_empty_or_short_file_is_not_a_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PSEUDONYM_KEY_FILE).write_bytes(content)
    key = demo_pseudonym_key(tmp_path)
    assert len(key) == 32
    assert demo_pseudonym_key(tmp_path) == key
    assert [file.name for file in tmp_path.iterdir()] == [PSEUDONYM_KEY_FILE]


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DdbPipelineError, match="DDB_PIPELINE_HOME"):
        demo_pseudonym_key(tmp_path / "file" / "home")


@pytest.mark.parametrize("query", [0, len(QUERIES) - 1])
def test_documents_of_a_query_differ_in_relevance(query: int) -> None:
    values = [relevance(query, document) for document in range(DOCUMENTS_PER_QUERY)]
    assert all(0 <= value < 1 for value in values)
    assert len(set(values)) == DOCUMENTS_PER_QUERY
    assert document_id(query, 0) != document_id(query + 1, 0)
