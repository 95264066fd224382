"""Attributes with values of several types, and what each decision makes of them on every path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.hive.type_decisions import TypeDecisions, read_decisions

Value = dict[str, Any]
Row = dict[str, Any]
"""Values by the end of the column's name, without nulls."""

REFUSED = None


@dataclass(frozen=True)
class Case:
    """An attribute.

    Attributes:
        crawled: the type that a crawler may write for it.
        values: some values, in DynamoDB's typed form.
        expected: by decision the columns, by the end of their names, and a row for each value.
    """

    crawled: str
    values: tuple[Value, ...]
    expected: Mapping[str, tuple[Mapping[str, str], tuple[Row | None, ...]]]


N1, N2, TEXT = {"N": "1"}, {"N": "+2"}, {"S": "x"}
SET, LIST = {"SS": ["a", "b"]}, {"L": [{"S": "c"}]}
MAP, OTHER = {"M": {"A": {"N": "1"}}}, {"M": {"A": {"N": "2"}}}
LONG = "12345678901234567.25"

CASES: Mapping[str, Case] = {
    "number_text": Case(
        "bigint/string",
        (N1, N2, TEXT, {"NULL": True}),
        {
            "text": ({"": "string"}, ({"": "1"}, {"": "2"}, {"": "x"}, {})),
            "wider": ({"": "bigint"}, ({"": 1}, {"": 2}, REFUSED, {})),
            "split": (
                {"__n": "bigint", "__s": "string"},
                ({"__n": 1}, {"__n": 2}, {"__s": "x"}, {}),
            ),
            "refuse": ({"": "bigint"}, ({"": 1}, {"": 2}, REFUSED, {})),
        },
    ),
    "numbers": Case(
        "bigint/double/decimal(38,2)",
        ({"N": "7"}, {"N": "0.25"}, {"N": LONG}),
        {
            "text": ({"": "string"}, ({"": "7"}, {"": "0.25"}, {"": LONG})),
            "wider": ({"": "double"}, ({"": 7.0}, {"": 0.25}, REFUSED)),
            "split": (
                {"__n": "double", "__s": "string"},
                ({"__n": 7.0}, {"__n": 0.25}, {"__s": LONG}),
            ),
            "refuse": ({"": "double"}, ({"": 7.0}, {"": 0.25}, REFUSED)),
        },
    ),
    "set_text": Case(
        "set<string>/string",
        (SET, LIST, TEXT),
        {
            "text": ({"": "string"}, ({"": '["a","b"]'}, {"": '["c"]'}, {"": "x"})),
            "wider": ({"": "double"}, (REFUSED, REFUSED, REFUSED)),
            "split": ({"__s": "string"}, ({"__s": '["a","b"]'}, {"__s": '["c"]'}, {"__s": "x"})),
            "refuse": ({"": "array<string>"}, ({"": ["a", "b"]}, {"": ["c"]}, REFUSED)),
        },
    ),
    "map_text": Case(
        "struct<a:bigint>/string",
        (MAP, OTHER, TEXT),
        {
            "text": ({"": "string"}, ({"": '{"a":1}'}, {"": '{"a":2}'}, {"": "x"})),
            "wider": ({"": "double"}, (REFUSED, REFUSED, REFUSED)),
            "split": ({"__s": "string"}, ({"__s": '{"a":1}'}, {"__s": '{"a":2}'}, {"__s": "x"})),
            "refuse": ({"": "struct<a:bigint>"}, ({"": {"a": 1}}, {"": {"a": 2}}, REFUSED)),
        },
    ),
    "boolean_number": Case(
        "boolean/bigint",
        ({"BOOL": True}, {"BOOL": False}, N1),
        {
            "text": ({"": "string"}, ({"": "true"}, {"": "false"}, {"": "1"})),
            "wider": ({"": "bigint"}, (REFUSED, REFUSED, {"": 1})),
            "split": (
                {"__n": "bigint", "__s": "string"},
                ({"__s": "true"}, {"__s": "false"}, {"__n": 1}),
            ),
            "refuse": ({"": "boolean"}, ({"": True}, {"": False}, REFUSED)),
        },
    ),
    "null_number": Case(
        "bigint",
        ({"NULL": True}, N1),
        {
            "text": ({"": "string"}, ({}, {"": "1"})),
            "wider": ({"": "bigint"}, ({}, {"": 1})),
            "split": ({"__n": "bigint", "__s": "string"}, ({}, {"__n": 1})),
            "refuse": ({"": "bigint"}, ({}, {"": 1})),
        },
    ),
}

ATTRIBUTES = {
    f"{name}_{decision}": (case, decision)
    for name, case in CASES.items()
    for decision in case.expected
}
"""Each case with each decision is an attribute of one table."""


def decisions() -> TypeDecisions:
    """What is decided about all attributes."""
    return read_decisions({name: decision for name, (_, decision) in ATTRIBUTES.items()})


def crawled_columns() -> list[tuple[str, str]]:
    """The columns as a crawler may leave them."""
    return [("id", "string"), *((name, case.crawled) for name, (case, _) in ATTRIBUTES.items())]


def expected_columns() -> dict[str, str]:
    """The columns that the decisions lead to, without those of the delivery."""
    return {
        "id": "string",
        **{
            f"{name}{end}": kind
            for name, (case, decision) in ATTRIBUTES.items()
            for end, kind in case.expected[decision][0].items()
        },
    }


def items(prefix: str = "") -> Iterator[tuple[dict[str, Any], Row | None]]:
    """An item for each value under each decision, and its row; REFUSED where it has none."""
    for name, (case, decision) in ATTRIBUTES.items():
        rows = case.expected[decision][1]
        for number, (value, row) in enumerate(zip(case.values, rows, strict=True)):
            key = f"{prefix}{name}-{number}"
            expected = row
            if row is not None:
                expected = {"id": key, **{f"{name}{end}": found for end, found in row.items()}}
            yield {"id": {"S": key}, name: value}, expected


def without_nulls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without columns that are null or not the item's, ordered by key."""
    kept = [
        {
            name: value
            for name, value in row.items()
            if value is not None and not name.startswith(("ddb_", "delivery_", "key_bucket"))
        }
        for row in rows
    ]
    return sorted(kept, key=lambda row: str(row["id"]))
