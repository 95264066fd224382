"""The overview of all pipelines: what it shows of each, and that one failure hides no other."""

import pytest

from ddb_pipeline.defs.overview import MAX_COUNTED, PipelineState, overview_table

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("state", "cells"),
    [
        (PipelineState("a"), ["nothing has landed yet", "", "", "?", "?", "?", ""]),
        (
            PipelineState("a", NOW - 60, 12.4, 0, 0, 0, NOW - 3 * 3600),
            ["OK", "1 min ago", "12 s", "0", "0", "0", "3 h ago"],
        ),
        (
            PipelineState("a", NOW, None, MAX_COUNTED, 2, 1),
            [
                "changes are lost; dead letters; records wait",
                "0 min ago",
                "",
                "1000+",
                "2",
                "1",
                "",
            ],
        ),
        (PipelineState("a", error="No access."), ["No access.", "", "", "?", "?", "?", ""]),
    ],
)
def test_row(state: PipelineState, cells: list[str]) -> None:
    row = overview_table([state], NOW).splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["a", *cells]


def test_pipelines_with_problems_come_first() -> None:
    states = [PipelineState("a", NOW), PipelineState("b", gaps=1), PipelineState("c", NOW)]
    lines = overview_table(states, NOW).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == ["b", "a", "c"]
