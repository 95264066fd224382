"""Cron expressions: what is accepted here is what Dagster accepts."""

from datetime import datetime, timezone
from itertools import takewhile

import dagster as dg
import pytest

from ddb_pipeline.config.cron import checked_cron, runs_a_day

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


@pytest.mark.parametrize(
    ("cron", "runs_a_year"),
    [
        ("0 * * * *", 24 * 365),
        ("*/15 * * * *", 96 * 365),
        ("5/20 * * * *", 3 * 24 * 365),
        ("0,30 */6 * * *", 8 * 365),
        ("0 8-17 * * mon-fri", 10 * 261),
        ("30 2 * * 0", 52),
        ("30 2 * * 7", 52),
        ("0 4 1 * *", 12),
        ("0 4 31 * *", 7),
        ("0 4 1 jan,jul *", 2),
        ("0 4 1 * mon", 12 + 52 - 1),
        ("@hourly", 24 * 365),
        ("@daily", 365),
        ("@Weekly", 52),
        ("@yearly", 1),
    ],
)
def test_how_often_a_schedule_is_due(cron: str, runs_a_year: int) -> None:
    assert runs_a_day(checked_cron(cron)) * 365 == pytest.approx(runs_a_year)


def test_it_is_due_as_often_as_dagster_says() -> None:
    from dagster._utils.schedules import cron_string_iterator

    year = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc)
    for cron in ("7 */5 * * 1,3", "0 0 29 2-4 *", "0 9 13 * fri", "@monthly"):
        moments = cron_string_iterator(year[0].timestamp(), cron, "UTC")
        due = sum(1 for _ in takewhile(lambda moment: moment < year[1], moments))
        assert runs_a_day(cron) * 365 == pytest.approx(due), cron
