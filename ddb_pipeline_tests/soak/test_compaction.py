"""The soak of compactions that are killed while readers read, in short."""

from pathlib import Path

import pytest

from ddb_pipeline_tests.soak.compaction import soak

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]


def test_readers_find_each_row_once_while_compactions_are_killed(tmp_path: Path) -> None:
    result = soak(tmp_path, compactions=3, readers=1, seed=3)
    assert result.holds, result
    assert result.compactions >= 3
    assert result.reads > 0
