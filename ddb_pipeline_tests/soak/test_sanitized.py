"""A fast version of ``soak.sanitized``, and that the sanitizers find what they are for."""

from pathlib import Path

import pytest

from ddb_pipeline.native import build
from ddb_pipeline_tests.soak.sanitized import NoSanitizersError, run

LINES = 4_000


def test_mutated_lines_are_clean() -> None:
    try:
        assert run(LINES, "tests") == ""
    except NoSanitizersError as error:
        pytest.skip(str(error))


def test_a_check_of_capacity_that_is_missing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in build.SOURCES:
        text = (build.FOLDER / name).read_text()
        check = "n->bytes + n->bytes_capacity - d >= size"
        assert name != "scalars.h" or check in text
        (tmp_path / name).write_text(text.replace(check, "1"))
    monkeypatch.setattr(
        "ddb_pipeline_tests.soak.sanitized.build",
        lambda path, flags: build.build(path, flags=flags, folder=tmp_path),
    )
    try:
        assert "AddressSanitizer" in run(LINES, "tests")
    except NoSanitizersError as error:
        pytest.skip(str(error))
