"""Previews: the first rows of a dataset, without the values that no page shows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.previews import preview_metadata

MARK = "marked value"


def shown(tmp_path: Path, **settings: object) -> str:
    """The preview of a file whose columns hold the mark and their name."""
    names = ("user", "user_b512d97e", "user_name", "ddb_keys", "query")
    rows = pa.table({name: [f"{MARK} {name}"] * 20 for name in names})
    pq.write_table(rows, tmp_path / "file.parquet")
    pipeline = PipelineConfig(name="logs", bucket="logs-lake", **settings)  # type: ignore[arg-type]
    path = str(tmp_path / "file.parquet")
    found = preview_metadata(pipeline, pyarrow.fs.LocalFileSystem(), path)
    return str(found["preview"].value) if found else ""


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({}, set()),
        ({"assets": {"hidden_attributes": ("user",)}}, {"user", "user_b512d97e", "ddb_keys"}),
        ({"assets": {"hidden_attributes": ("User",)}}, {"user", "user_b512d97e", "ddb_keys"}),
        ({"assets": {"hidden_attributes": ("user.name",)}}, {"user_name", "ddb_keys"}),
        (
            {"function_settings": {"DROP_ATTRIBUTES": "user.name, query"}},
            {"user", "user_b512d97e", "query", "ddb_keys"},
        ),
        (
            {"function_settings": {"DROP_ATTRIBUTES": "user\\.name"}},
            {"user_name", "ddb_keys"},
        ),
    ],
)
def test_hidden_attributes(tmp_path: Path, settings: dict[str, object], hidden: set[str]) -> None:
    text = shown(tmp_path, **settings)
    for name in ("user", "user_b512d97e", "user_name", "ddb_keys", "query"):
        assert (f"{MARK} {name}`" in text) is (name not in hidden)


def test_rows_as_configured(tmp_path: Path) -> None:
    assert shown(tmp_path).count(f"{MARK} query") == 10
    assert shown(tmp_path, assets={"preview_rows": 3}).count(f"{MARK} query") == 3
    assert shown(tmp_path, assets={"preview_rows": 0}) == ""
