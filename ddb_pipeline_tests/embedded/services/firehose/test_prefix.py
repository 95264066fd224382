"""Prefix expressions and object keys."""

import re
from datetime import datetime, timedelta, timezone

import pytest

from ddb_pipeline.embedded.services.firehose.prefix import (
    PrefixError,
    evaluate_error_output_prefix,
    evaluate_prefix,
    object_key,
    resolve_time_zone,
    validate_prefixes,
)
from ddb_pipeline_tests.support.recordings import document

VECTOR = document("firehose_prefix.json")
AT = datetime.fromisoformat(VECTOR["at"].replace("Z", "+00:00"))


@pytest.mark.parametrize("case", VECTOR["cases"], ids=lambda case: repr(case["prefix"]))
def test_probed_prefixes(case: dict[str, str | None]) -> None:
    assert evaluate_prefix(case["prefix"], AT) == case["evaluated"]


@pytest.mark.parametrize(
    ("prefix", "evaluated"),
    [
        (
            "lake/delivery_date=!{timestamp:yyyy-MM-dd}/delivery_hour=!{timestamp:HH}/",
            "lake/delivery_date=2026-07-13/delivery_hour=10/",
        ),
        ("a!{timestamp:yyyy'/'MM'-'dd}b", "a2026/07-13b"),
        ("plain!text", "plain!text2026/07/13/10/"),
    ],
)
def test_prefixes(prefix: str, evaluated: str) -> None:
    assert evaluate_prefix(prefix, AT) == evaluated


def test_all_timestamps_are_of_one_moment_in_the_streams_time_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    late = datetime(2026, 12, 31, 20, 0, tzinfo=timezone.utc)
    assert evaluate_prefix("!{timestamp:yyyy}/!{timestamp:HH}/", late, time_zone=tokyo) == (
        "2027/05/"
    )
    assert resolve_time_zone(None) is timezone.utc
    assert str(resolve_time_zone("Asia/Tokyo")) == "Asia/Tokyo"


def test_each_random_string_is_different() -> None:
    evaluated = evaluate_prefix("!{firehose:random-string}/!{firehose:random-string}/", AT)
    first, second, _ = evaluated.split("/")
    assert re.fullmatch(r"[A-Za-z0-9]{11}", first)
    assert first != second


@pytest.mark.parametrize(
    ("prefix", "error_output_prefix", "evaluated"),
    [
        (None, "errors/!{firehose:error-output-type}/", "errors/format-conversion-failed/"),
        (
            "in/",
            "e/!{firehose:error-output-type}/!{timestamp:yyyy}/",
            "e/format-conversion-failed/2026/",
        ),
        ("in/", None, "in/format-conversion-failed/2026/07/13/10/"),
        (None, "errors/", "errors/2026/07/13/10/"),
    ],
)
def test_error_output_prefixes(
    prefix: str | None, error_output_prefix: str | None, evaluated: str
) -> None:
    assert evaluate_error_output_prefix(prefix, error_output_prefix, AT) == evaluated


@pytest.mark.parametrize(
    ("prefix", "error_output_prefix", "message"),
    [
        ("!{timestamp:yyyy}/", None, "ErrorOutputPrefix cannot be null or empty"),
        ("!{timestamp:yyyy}/", "errors/", "must contain !{firehose:error-output-type}"),
        ("a/", "e/!{timestamp:yyyy}/", "must contain !{firehose:error-output-type}"),
        ("!{firehose:error-output-type}/", "e/!{firehose:error-output-type}", "Prefix cannot"),
        ("!{timestamp:bb}", "e/!{firehose:error-output-type}", "Unknown pattern letter: b"),
        ("!{timestamp:'open}", "e/!{firehose:error-output-type}", "incomplete string literal"),
        ("!{firehose:nonsense}", "e/!{firehose:error-output-type}", "firehose:nonsense"),
        ("!{secret:x}", "e/!{firehose:error-output-type}", "unknown namespace"),
        ("!{timestamp}", "e/!{firehose:error-output-type}", "has no value"),
        ("a!{", "e/!{firehose:error-output-type}", "may appear only in"),
        ("t=!{partitionKeyFromQuery:tenant}/", "e/", "needs dynamic partitioning"),
    ],
)
def test_refused_prefixes(prefix: str, error_output_prefix: str | None, message: str) -> None:
    with pytest.raises(PrefixError, match=re.escape(message)):
        validate_prefixes(prefix, error_output_prefix)


@pytest.mark.parametrize(
    ("prefix", "error_output_prefix"),
    [
        (None, None),
        ("plain/", None),
        ("plain/", "errors/"),
        ("!{timestamp:yyyy}/", "e/!{firehose:error-output-type}/"),
    ],
)
def test_accepted_prefixes(prefix: str | None, error_output_prefix: str | None) -> None:
    validate_prefixes(prefix, error_output_prefix)


def test_object_keys() -> None:
    pattern = r"lake/orders-1-2026-07-13-10-00-00-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(pattern, object_key("lake/", "orders", "1", AT))


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(PrefixError, match="Mars/Olympus"):
        resolve_time_zone("Mars/Olympus")
