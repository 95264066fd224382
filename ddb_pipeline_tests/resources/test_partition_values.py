"""Partition keys as values of partition columns, and as folders."""

from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.resources.partition_values import (
    PartitionValuesError,
    folder_name,
    partition_folder,
    partition_values,
)

HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")
BERLIN = dg.DailyPartitionsDefinition("2026-01-01", timezone="Europe/Berlin")
LETTERS = dg.StaticPartitionsDefinition(["a", "b"])
BOTH = dg.MultiPartitionsDefinition({"letter": LETTERS, "day": BERLIN})
TWO = {"delivery_date": "%Y-%m-%d", "delivery_hour": "%H"}


@pytest.mark.parametrize(
    ("key", "definition", "expression", "expected"),
    [
        ("a", LETTERS, None, {"partition_key": "a"}),
        ("a", LETTERS, "letter", {"letter": "a"}),
        ("a", dg.DynamicPartitionsDefinition(name="x"), None, {"partition_key": "a"}),
        ("2026-01-02-09:00", HOURS, "hour", {"hour": "2026-01-02-09:00"}),
        ("2026-01-02-09:00", HOURS, TWO, {"delivery_date": "2026-01-02", "delivery_hour": "09"}),
        ("2026-07-02", BERLIN, {"day": "%d.%m.%Y"}, {"day": "02.07.2026"}),
        ("2026-07-02|a", BOTH, None, {"day": "2026-07-02", "letter": "a"}),
        ("2026-07-02|a", BOTH, {"letter": "l"}, {"day": "2026-07-02", "l": "a"}),
    ],
)
def test_partition_values(
    key: str, definition: Any, expression: Any, expected: dict[str, str]
) -> None:
    found = partition_values(key, definition, expression)
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("definition", "expression", "message"),
    [
        (BOTH, "day", "dimensions day, letter. Give a mapping"),
        (LETTERS, {"day": "%Y"}, "no time windows"),
    ],
)
def test_expressions_that_do_not_fit(definition: Any, expression: Any, message: str) -> None:
    with pytest.raises(PartitionValuesError, match=message):
        partition_values("2026-07-02|a", definition, expression)


def test_folders_have_the_names_of_hive() -> None:
    values = {"day": "2026-01-02", "key": "a/b=c ä"}
    assert partition_folder(values) == "day=2026-01-02/key=a%2Fb%3Dc%20%C3%A4"


@pytest.mark.parametrize(("text", "name"), [("a.b", "a.b"), ("..", "%2E%2E"), ("/etc", "%2Fetc")])
def test_names_lead_nowhere_else(text: str, name: str) -> None:
    assert folder_name(text) == name
