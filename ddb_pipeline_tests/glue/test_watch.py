"""When a table's schema is due for mending, by its state, what was asked for, and what became."""

import dataclasses

import pytest

from ddb_pipeline.glue.catalog import CatalogTable, TableReference
from ddb_pipeline.glue.watch import (
    LONGEST_RETRY_SECONDS,
    RunState,
    Seen,
    TableState,
    next_request,
    retry_delay,
    table_state,
)

NOW = 1_000_000.0


def state(version: str, type_text: str, created_at: int = 7) -> TableState:
    table = CatalogTable(
        TableReference("logs", "events"),
        version,
        {"StorageDescriptor": {"Columns": [{"Name": "tags", "Type": type_text}]}},
    )
    return table_state(table, created_at)


BROKEN = state("3", "set<string>")
FIXED = state("4", "array<string>")
OTHER = state("5", "array<bigint>")


def asked(of: TableState, attempt: int = 0, ago: float = 0.0) -> Seen:
    return Seen(of.version_key, of.mended_fingerprint, attempt, NOW - ago)


@pytest.mark.parametrize(
    ("case", "found", "seen", "run", "expected_key"),
    [
        ("no table yet", None, None, RunState.SUCCEEDED, None),
        ("first sight of a broken table", BROKEN, None, RunState.SUCCEEDED, "7.3:0"),
        (
            "first sight of a valid table: the lake needs it",
            FIXED,
            None,
            RunState.SUCCEEDED,
            "7.4:0",
        ),
        ("the fix is running", BROKEN, asked(BROKEN), RunState.IN_PROGRESS, None),
        ("the fix is done, its own version found", FIXED, asked(BROKEN), RunState.SUCCEEDED, None),
        ("mended by somebody else to the same", FIXED, asked(BROKEN), RunState.SUCCEEDED, None),
        ("another schema, valid already", OTHER, asked(BROKEN), RunState.SUCCEEDED, "7.5:0"),
        ("another schema while a run is on", OTHER, asked(BROKEN), RunState.IN_PROGRESS, None),
        (
            "a recrawl put the same sets back",
            dataclasses.replace(BROKEN, table=dataclasses.replace(BROKEN.table, version_id="9")),
            asked(BROKEN),
            RunState.SUCCEEDED,
            "7.9:0",
        ),
        ("a run failed a moment ago", BROKEN, asked(BROKEN, ago=1), RunState.FAILED, None),
        ("a run failed long enough ago", BROKEN, asked(BROKEN, ago=11), RunState.FAILED, "7.3:1"),
        ("it failed twice", BROKEN, asked(BROKEN, 1, ago=15), RunState.FAILED, None),
        ("and is tried again later", BROKEN, asked(BROKEN, 1, ago=21), RunState.FAILED, "7.3:2"),
        (
            "fix written, then the run failed in the lake table",
            FIXED,
            asked(BROKEN, ago=11),
            RunState.FAILED,
            "7.4:0",
        ),
        ("the run was never stored", BROKEN, asked(BROKEN, ago=11), RunState.UNKNOWN, "7.3:1"),
        (
            "dropped and made anew at the same version",
            state("3", "set<string>", created_at=8),
            asked(BROKEN),
            RunState.SUCCEEDED,
            "8.3:0",
        ),
    ],
)
def test_next_request(
    case: str, found: TableState | None, seen: Seen | None, run: RunState, expected_key: str | None
) -> None:
    request = next_request(found, seen, run, NOW)
    assert (request.run_key if request else None) == expected_key, case


def test_retry_delays_double_up_to_half_an_hour() -> None:
    delays = [retry_delay(attempt) for attempt in range(12)]
    assert delays[:4] == [10, 20, 40, 80]
    assert delays[-1] == retry_delay(10_000) == LONGEST_RETRY_SECONDS
