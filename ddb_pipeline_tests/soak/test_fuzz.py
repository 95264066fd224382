"""A fast version of ``soak.fuzz``, and what the process that runs the inputs reports."""

import os
import signal

import pytest

from ddb_pipeline_tests.soak import forked
from ddb_pipeline_tests.soak.forked import findings
from ddb_pipeline_tests.soak.parsers import PARSERS

INPUTS = 3_000


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_ends_the_process_or_raises_an_untyped_error(name: str) -> None:
    parser = PARSERS[name]
    blocks = INPUTS // parser.inputs
    assert list(findings(lambda number: parser.check("tests", number), blocks)) == []


def test_what_a_child_process_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "HANG_SECONDS", 3.0)

    def run(number: int) -> None:
        if number == 2:
            raise KeyError("a")
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        if number == 6:
            while True:
                pass
        if number == 8:
            os._exit(3)

    found = {finding.number: finding.kind for finding in findings(run, 10)}
    assert found.pop(2).startswith("KeyError at ")
    assert found == {4: "signal 15", 6: "hang", 8: "exit status 3"}
