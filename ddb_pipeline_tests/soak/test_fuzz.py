"""A fast version of ``soak.fuzz``, and what the process that runs the inputs reports."""

import json
import os
import signal

import pytest

from ddb_pipeline.config.settings import parsed_settings
from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.embedded.services.firehose.prefix import validate_prefixes
from ddb_pipeline.embedded.services.glue.partition_expression import parse_expression
from ddb_pipeline.export.ion import ion_as_json
from ddb_pipeline.export.lines import Lines
from ddb_pipeline.export.rows.changes import ChangeReader
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.dialects import read_type
from ddb_pipeline_tests.soak import forked
from ddb_pipeline_tests.soak.forked import findings
from ddb_pipeline_tests.soak.parsers import (
    CHANGE,
    COLUMNS,
    CONFIGURATION,
    DECIDED_COLUMNS,
    DECISIONS,
    DOCUMENT,
    ERROR_PREFIX,
    EXPRESSION,
    FIREHOSE_COLUMNS,
    GOOD_LINE,
    ION_LINE,
    PARSERS,
    PREFIX,
    TYPES,
)

INPUTS = 3_000


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_ends_the_process_or_raises_an_untyped_error(name: str) -> None:
    parser = PARSERS[name]
    blocks = INPUTS // parser.inputs
    assert list(findings(lambda number: parser.check("tests", number), blocks)) == []


def test_what_is_mutated_is_valid() -> None:
    """A parser that refuses what the inputs are made of would see little of them."""
    assert not ExportReader(COLUMNS).rows(GOOD_LINE).rejected
    assert not ExportReader(DECIDED_COLUMNS, decisions=DECISIONS).rows(GOOD_LINE).rejected
    assert not ChangeReader(COLUMNS).rows(json.dumps(CHANGE).encode()).rejected_numbers
    assert not ion_as_json(Lines(ION_LINE)).rejected
    assert not convert([json.dumps(DOCUMENT).encode()], FIREHOSE_COLUMNS).failures
    assert parsed_settings(CONFIGURATION.decode(), "fuzz").pipelines[0].type_decisions
    matches = parse_expression(EXPRESSION, ["year", "month", "day", "name"])
    assert matches({"year": "2024", "month": "5", "day": "2", "name": "b"})
    validate_prefixes(PREFIX, ERROR_PREFIX)
    assert all(read_type(text) for text in TYPES)


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
