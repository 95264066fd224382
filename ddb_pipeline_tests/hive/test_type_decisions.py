import re
from typing import Any

import pytest

from ddb_pipeline.dynamodb.decided_items import DecidedItems, RefusedValueError
from ddb_pipeline.hive.decided_columns import decided_columns, known_types
from ddb_pipeline.hive.infer import InferenceOptions, infer_items, inferred_schema
from ddb_pipeline.hive.type_decisions import (
    Decision,
    TypeDecisionError,
    configuration_line,
    parse_decisions,
    read_decisions,
)
from ddb_pipeline.hive.types import Column


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("score", "score"),
        ("Score", "score"),
        ("Meta.Score", "meta.score"),
        ("a\\.b", "a_b"),
        ("lines[].price", "lines.price"),
        ("lines[][].price", "lines.price"),
        ("tags[]", "tags[]"),
        ("by_day{}", "by_day{}"),
        ("by_day{}.score", "by_day{}.score"),
    ],
)
def test_paths(path: str, read: str) -> None:
    decisions = read_decisions({path: "text"})
    assert decisions.text == f'{{"{read}":"text"}}'
    assert parse_decisions(decisions.text) == decisions


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"a": "string"}, "'string', which is none of text, wider, split, refuse"),
        ({"a": "text", "A": "split"}, "'a' has two decisions"),
        ({"a.b": "text", "a[].b": "split"}, "'a.b' has two decisions"),
        ({"a[]": "split"}, "cannot be split"),
        ({"a{}": "split"}, "cannot be split"),
        ({"a": "text", "a.b": "wider"}, "'a.b' is inside 'a'"),
        ({"a": "split", "a__n": "text"}, "'a__n' is a column that splitting 'a' makes"),
        ({"": "text"}, "not an attribute path"),
        ({"a..b": "text"}, "not an attribute path"),
        ({"[]": "text"}, "not a path"),
    ],
)
def test_decisions_that_cannot_be_carried_out(given: dict[str, str], named: str) -> None:
    with pytest.raises(TypeDecisionError, match=re.escape(named)):
        read_decisions(given)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "1"])
def test_texts_that_are_no_decisions(text: str) -> None:
    with pytest.raises(TypeDecisionError):
        parse_decisions(text)


def test_refuse_may_have_decisions_inside() -> None:
    decisions = read_decisions({"meta": "refuse", "meta.score": "text"})
    items = DecidedItems(decisions, [Column("meta", "struct<score:string>")])
    assert items.item({"Meta": {"M": {"score": {"N": "1"}}}}) == {
        "Meta": {"M": {"score": {"S": "1"}}}
    }
    with pytest.raises(RefusedValueError) as raised:
        items.item({"Meta": {"S": "x"}})
    assert raised.value.path == "Meta"


@pytest.mark.parametrize(
    ("path", "line"),
    [("score", 'score = "split"'), ("meta.score", '"meta.score" = "split"')],
)
def test_configuration_lines(path: str, line: str) -> None:
    assert configuration_line(path, Decision.SPLIT) == line


DEEP = ("meta.v", "lines.v")
FIELDS = {
    "text": "v:string",
    "wider": "v:bigint",
    "split": "v__n:bigint,v__s:string",
    "refuse": "v:bigint",
}


@pytest.mark.parametrize("decision", FIELDS)
def test_fields_of_structs(decision: str) -> None:
    values = [{"N": "1"}, {"N": "2"}, {"S": "x"}]
    items = [
        {
            "meta": {"M": {"v": value, "w": {"N": "1"}}},
            "lines": {"L": [{"M": {"v": value}}]},
        }
        for value in values
    ]
    decisions = read_decisions(dict.fromkeys(DEEP, decision))
    schema = inferred_schema(infer_items(items), InferenceOptions(decisions=decisions))
    assert dict(schema.columns) == {
        "lines": f"array<struct<{FIELDS[decision]}>>",
        "meta": f"struct<{FIELDS[decision]},w:bigint>",
    }


@pytest.mark.parametrize("decision", FIELDS)
def test_crawled_fields(decision: str) -> None:
    crawled = [("meta", "struct<v:bigint,w:int>"), ("lines", "array<struct<v:bigint>>")]
    columns, changes = decided_columns(crawled, read_decisions(dict.fromkeys(DEEP, decision)))
    assert dict(columns) == {
        "meta": f"struct<{FIELDS[decision]},w:int>",
        "lines": f"array<struct<{FIELDS[decision]}>>",
    }
    assert bool(changes) is (decision in ("text", "split"))


ELEMENTS: list[tuple[str, str, Any, Any]] = [
    ("text", "array<string>", {"L": [{"N": "1"}, {"S": "x"}]}, {"L": [{"S": "1"}, {"S": "x"}]}),
    ("text", "array<string>", {"NS": ["1"]}, {"L": [{"S": "1"}]}),
    ("wider", "array<double>", {"NS": ["1", "2"]}, {"L": [{"N": "1"}, {"N": "2"}]}),
    ("wider", "array<double>", {"L": [{"N": "1"}, {"S": "x"}]}, None),
    ("refuse", "array<bigint>", {"L": [{"N": "1"}, {"N": "1.5"}]}, None),
    ("refuse", "array<bigint>", {"SS": ["x"]}, None),
]


@pytest.mark.parametrize(("decision", "kind", "given", "expected"), ELEMENTS)
def test_elements(decision: str, kind: str, given: Any, expected: Any) -> None:
    items = DecidedItems(read_decisions({"tags[]": decision}), [("tags", kind)])
    if expected is None:
        with pytest.raises(RefusedValueError, match="decided"):
            items.item({"tags": given})
    else:
        assert items.item({"tags": given}) == {"tags": expected}


def test_values_of_maps() -> None:
    decisions = read_decisions({"days{}": "text"})
    items = DecidedItems(decisions, [("days", "map<string,string>")])
    found = items.item({"days": {"M": {"Mon-1": {"N": "1"}, "b": {"S": "x"}}}})
    assert found == {"days": {"M": {"Mon-1": {"S": "1"}, "b": {"S": "x"}}}}


def test_an_attribute_that_has_the_name_of_a_part() -> None:
    items = DecidedItems(read_decisions({"v": "split"}), [("v__n", "bigint"), ("v__s", "string")])
    assert items.item({"v": {"N": "1"}, "v__s": {"NULL": True}})["v__n"] == {"N": "1"}
    with pytest.raises(RefusedValueError, match="'v__s'"):
        items.item({"v": {"N": "1"}, "v__s": {"S": "x"}})


def test_types_that_columns_have_already() -> None:
    columns = [("v__n", "bigint"), ("m", "array<struct<r:string,t:bigint>>"), ("x", "int")]
    decisions = read_decisions({"v": "split", "m.r": "refuse", "m.t": "text", "y": "wider"})
    known = {path: str(kind) for path, kind in known_types(columns, decisions).items()}
    assert known == {"v__n": "bigint", "m[].r": "string"}
