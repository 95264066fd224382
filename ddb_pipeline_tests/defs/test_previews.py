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
    """The preview of a file whose columns user, ddb_keys and query hold the mark."""
    names = ("user", "ddb_keys", "query")
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
        ({"assets": {"hidden_attributes": ("user",)}}, {"user", "ddb_keys"}),
        ({"assets": {"hidden_attributes": ("User",)}}, {"user", "ddb_keys"}),
        (
            {"function_settings": {"DROP_ATTRIBUTES": "user.name, query"}},
            {"user", "query", "ddb_keys"},
        ),
    ],
)
def test_hidden_attributes(tmp_path: Path, settings: dict[str, object], hidden: set[str]) -> None:
    text = shown(tmp_path, **settings)
    for name in ("user", "ddb_keys", "query"):
        assert (f"{MARK} {name}" in text) is (name not in hidden)


def test_rows_as_configured(tmp_path: Path) -> None:
    assert shown(tmp_path).count(f"{MARK} query") == 10
    assert shown(tmp_path, assets={"preview_rows": 3}).count(f"{MARK} query") == 3
    assert shown(tmp_path, assets={"preview_rows": 0}) == ""
