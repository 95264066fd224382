"""Joda-Time patterns of HiveJsonSerDe, beyond the recorded cases."""

from datetime import datetime

import pytest

from ddb_pipeline.conversion.serde.java import JavaError
from ddb_pipeline.conversion.serde.joda_time import TimestampFormat, TimestampFormatError


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("millis", "-1", datetime(1969, 12, 31, 23, 59, 59, 999000)),
        (
            "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "2026-01-02T03:04:05.006+0100",
            datetime(2026, 1, 2, 2, 4, 5, 6000),
        ),
        (
            "EEE, dd MMM yyyy HH:mm:ss z",
            "Fri, 02 Jan 2026 03:04:05 GMT",
            datetime(2026, 1, 2, 3, 4, 5),
        ),
        ("yyyyDDD", "2026032", datetime(2026, 2, 1)),
        ("h a", "12 AM", datetime(1970, 1, 1, 0)),
        ("K a", "11 pm", datetime(1970, 1, 1, 23)),
        ("k", "24", datetime(1970, 1, 1)),
        ("d MMMM ''yy", "3 May '2026", datetime(2026, 5, 3)),
        ("yyyy-MM-dd", "2026-1-2", datetime(2026, 1, 2)),
    ],
)
def test_texts_of_the_format(pattern: str, text: str, expected: datetime) -> None:
    assert TimestampFormat(pattern).parse(text) == expected


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("millis", "x"), ("yyyy-MM-dd", "2026-01-02 "), ("HH:mm", "3"), ("yyyyMMdd", "202601")],
)
def test_texts_of_another_format(pattern: str, text: str) -> None:
    assert TimestampFormat(pattern).parse(text) is None


@pytest.mark.parametrize(
    ("pattern", "text"), [("yyyy-MM-dd", "2026-02-30"), ("HH", "24"), ("h a", "13 PM"), ("y", "0")]
)
def test_texts_of_the_format_that_are_not_dates(pattern: str, text: str) -> None:
    with pytest.raises(JavaError, match="Cannot parse"):
        TimestampFormat(pattern).parse(text)


@pytest.mark.parametrize("pattern", ["'open", "yyyy-WW", "qq", "ZZZ"])
def test_refused_patterns(pattern: str) -> None:
    with pytest.raises(TimestampFormatError):
        TimestampFormat(pattern)
