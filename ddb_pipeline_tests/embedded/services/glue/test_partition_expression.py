"""Expressions that select partitions."""

import pytest

from ddb_pipeline.embedded.services.glue.partition_expression import (
    MAX_LEVELS,
    ExpressionError,
    parse_expression,
)


@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("NOT ", ""), ("NOT (", ")")])
def test_an_expression_that_nests_without_end_is_refused(before: str, after: str) -> None:
    levels = MAX_LEVELS // len(before.split())
    matches = parse_expression(f"{before * levels}day = '1'{after * levels}", ["day"])
    assert matches({"day": "1"}) is True
    with pytest.raises(ExpressionError, match="parentheses"):
        parse_expression(f"{before * 100_000}day = '1'{after * 100_000}", ["day"])
