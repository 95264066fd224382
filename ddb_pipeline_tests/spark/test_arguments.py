"""The relevance job's command line: written, parsed, and its invalid values."""

from typing import Any

import pytest

from ddb_pipeline.spark.arguments import LogColumns, RelevanceArguments, RelevanceError, parse

URIS: dict[str, Any] = {"stream": "s3://lake/stream/", "output": "s3://lake/relevance/"}


@pytest.mark.parametrize(
    "arguments",
    [
        RelevanceArguments(**URIS),
        RelevanceArguments(
            **URIS,
            history="s3://lake/snapshot/",
            columns=LogColumns(
                key="tenant,id", user="visitor", result_document="", click_position=""
            ),
            half_life_days=3.5,
            min_users=20,
            as_of="2026-11-24T10:00:00+00:00",
            scorer="acme.ranking:score",
            drop_expired=True,
        ),
    ],
)
def test_parsing_a_command_line_restores_the_arguments(arguments: RelevanceArguments) -> None:
    assert parse(arguments.command_line()) == arguments


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"half_life_days": 0.0}, "--half-life-days"),
        ({"min_users": 0}, "--min-users"),
        ({"short_click_weight": 1.5}, "--short-click-weight"),
        ({"scorer": "acme.ranking"}, "--scorer"),
        ({"as_of": "yesterday"}, "--as-of 'yesterday'"),
        ({"stream": ""}, "--stream"),
    ],
)
def test_an_invalid_value_is_named(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(RelevanceError, match=named):
        RelevanceArguments(**{**URIS, **changed})


def test_a_mapping_without_a_required_column_is_an_error() -> None:
    with pytest.raises(RelevanceError, match="no query column"):
        LogColumns(query=" ")


def test_digests_of_statistics_and_scores_depend_on_their_arguments() -> None:
    plain = RelevanceArguments(**URIS)
    halved = RelevanceArguments(**URIS, half_life_days=7)
    renamed = RelevanceArguments(**URIS, columns=LogColumns(query="phrase"))
    assert plain.statistics_digest() == halved.statistics_digest()
    assert plain.statistics_digest() != renamed.statistics_digest()
    assert plain.scores_digest() != halved.scores_digest()


@pytest.mark.parametrize(
    ("as_of", "hour"),
    [
        ("", None),
        ("1970-01-01T01:00:00Z", 1),
        ("1970-01-01T01:00:01", 2),
        ("1970-01-01T02:00:00+01:00", 1),
    ],
)
def test_as_of_is_an_hour_rounded_up(as_of: str, hour: int | None) -> None:
    assert RelevanceArguments(**URIS, as_of=as_of).as_of_hour() == hour
