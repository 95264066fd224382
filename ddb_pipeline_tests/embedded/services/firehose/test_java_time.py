"""DateTimeFormatter patterns, as Java SE 8 prints them under Locale.ROOT."""

from datetime import datetime, timedelta, timezone

import pytest

from ddb_pipeline.embedded.services.firehose.java_time import (
    TimestampPatternError,
    format_timestamp,
)

AT = datetime(2026, 7, 3, 14, 5, 9, 123456, tzinfo=timezone.utc)
IST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("pattern", "printed"),
    [
        ("yyyy/MM/dd/HH/", "2026/07/03/14/"),
        ("yy y yyyyy u", "26 2026 02026 2026"),
        ("M MM MMM MMMM MMMMM", "7 07 Jul July J"),
        ("d dd D DDD", "3 03 184 184"),
        ("E EEE EEEE EEEEE", "Fri Fri Friday F"),
        ("e ee eee c", "5 05 Fri 5"),
        ("H k K h hh a", "14 14 2 2 02 PM"),
        ("m mm s ss", "5 05 9 09"),
        ("S SSS SSSSSSSSS n", "1 123 123456000 123456000"),
        ("Q QQ QQQ QQQQ q", "3 03 Q3 3rd quarter 3"),
        ("YYYY-'W'ww W F", "2026-W27 1 1"),
        ("G GGGG GGGGG", "AD Anno Domini A"),
        ("A N", "50709123 50709123456000"),
        ("X XX XXX x xx xxx Z ZZZZ ZZZZZ O", "Z Z Z +00 +0000 +00:00 +0000 GMT Z GMT"),
        ("VV z", "Z UTC"),
        ("'T' '' 'it''s'", "T ' it's"),
        ("yyyy[-MM[-dd]]", "2026-07-03"),
        ("year=!", None),
    ],
)
def test_patterns(pattern: str, printed: str | None) -> None:
    if printed is None:
        with pytest.raises(TimestampPatternError):
            format_timestamp(pattern, AT)
    else:
        assert format_timestamp(pattern, AT) == printed


def test_offsets() -> None:
    local = AT.astimezone(IST)
    assert format_timestamp("HH:mm X XX XXX Z ZZZZ O OOOO", local) == (
        "19:35 +0530 +0530 +05:30 +0530 GMT+05:30 GMT+5:30 GMT+05:30"
    )


@pytest.mark.parametrize(
    ("hour", "printed"), [(0, "24 0 12 AM"), (11, "11 11 11 AM"), (12, "12 0 12 PM")]
)
def test_hours_of_the_clock(hour: int, printed: str) -> None:
    assert format_timestamp("k K h a", AT.replace(hour=hour)) == printed


@pytest.mark.parametrize(
    "pattern",
    [
        "yyyyyyyyyyyyyyyyyyyy",
        "ddd",
        "HHH",
        "aa",
        "EEEEEE",
        "cc",
        "V",
        "b",
        "{",
        "#",
        "]",
        "'x",
        "OO",
    ],
)
def test_refused_patterns(pattern: str) -> None:
    with pytest.raises(TimestampPatternError):
        format_timestamp(pattern, AT)
