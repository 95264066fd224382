"""The configuration of the assets' pages: what is accepted, and what the error names."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from ddb_pipeline.config.assets import AssetsConfig
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.asset_keys import LAKE_TABLE, PARQUET_STREAM, asset_key


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"owners": ["nobody"]}, "'nobody'"),
        ({"owners": ["team:a b"]}, "'team:a b'"),
        ({"tags": {"a b": "c"}}, "'a b'"),
        ({"tags": {"a": "x" * 64}}, "x" * 64),
        ({"fresh_within": "2 hours"}, "fresh_within"),
        ({"fresh_within": "5s"}, "a minute at least"),
        ({"preview_rows": 101}, "preview_rows"),
    ],
)
def test_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AssetsConfig(**values)
    assert named in str(raised.value)


def test_definitions_have_owners_tags_and_freshness(tmp_path: Any) -> None:
    assets: dict[str, Any] = {
        "owners": ("team:search", "ada@example.com"),
        "tags": {"domain": "search"},
        "fresh_within": "2h",
    }
    pipelines = tuple(
        PipelineConfig(name=name, assets=AssetsConfig(**(assets if name == "logs" else {})))
        for name in ("others", "logs")
    )
    graph = build_defs(Settings(home=tmp_path, pipelines=pipelines)).resolve_asset_graph()
    for pipeline, owned in zip(pipelines, (False, True), strict=True):
        stream = graph.get(asset_key(pipeline, PARQUET_STREAM))
        assert list(stream.owners) == (["team:search", "ada@example.com"] if owned else [])
        assert stream.tags.get("domain") == ("search" if owned else None)
        expected = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=2))
        assert stream.freshness_policy == (expected if owned else None)
        assert graph.get(asset_key(pipeline, LAKE_TABLE)).freshness_policy is None
