"""Cron expressions: what is accepted here is what Dagster accepts."""

import dagster as dg
import pytest

from ddb_pipeline.config.cron import checked_cron

JOB = dg.define_asset_job("job")

VALID = [
    "0 * * * *",
    "*/5 0-6,12 1 * mon-fri",
    "0 3 * JAN,feb 7",
    "5 4 1-31/2 * 0",
    "@daily",
    "@Hourly",
    "0 0 31 * *",
]
INVALID = [
    "",
    "hourly",
    "0 * * *",
    "0 * * * * * *",
    "60 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 * 13 *",
    "0 0 * * 8",
    "0 0 * * sunday",
    "*/0 * * * *",
    "1,,2 * * * *",
    "a b c d e",
    "@never",
    "0 0 30 2 *",
    "-1 * * * *",
]


@pytest.mark.parametrize("text", VALID)
def test_accepted(text: str) -> None:
    assert checked_cron(f" {text} ") == text
    assert dg.ScheduleDefinition(job=JOB, cron_schedule=text).cron_schedule == text


@pytest.mark.parametrize("text", INVALID)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a cron expression|is never"):
        checked_cron(text)
    with pytest.raises(Exception):  # noqa: B017, PT011 (its class is not public)
        dg.ScheduleDefinition(job=JOB, cron_schedule=text)
