"""Schemas inferred from items."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.hive import observation
from ddb_pipeline.hive.coverage import attributes_without_column, covered_fields
from ddb_pipeline.hive.infer import (
    Inference,
    InferenceOptions,
    Shape,
    TooManyAttributesError,
    infer_items,
    inferred_schema,
    merge,
    notes,
)
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.types import MAX_TYPE_DEPTH, Column, parse_type
from ddb_pipeline.hive.undecodable import UndecodableValueError


def columns_of(inference: Inference, options: InferenceOptions | None = None) -> tuple[Column, ...]:
    return inferred_schema(inference, options).columns


S, N, NULL = {"S": "x"}, {"N": "1"}, {"NULL": True}


def type_of(*values: Any, options: InferenceOptions | None = None) -> str | None:
    """The type of one attribute with these values."""
    columns = columns_of(infer_items({"a": value} for value in values), options)
    return columns[0].type if columns else None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([S], "string"),
        ([N], "bigint"),
        ([{"BOOL": False}], "boolean"),
        ([{"B": b"\0"}, {"B": "AA=="}], "binary"),
        ([{"SS": ["x"]}], "set<string>"),
        ([{"NS": ["1", "-2"]}], "set<bigint>"),
        ([{"NS": ["1", "2.5"]}], "set<double>"),
        ([{"NS": ["9223372036854775808"]}], "set<decimal(20,0)>"),
        ([{"BS": [b"\0"]}], "set<binary>"),
        ([N, {"N": "0.5"}], "double"),
        ([N, NULL], "bigint"),
        ([{"L": [S, S]}], "array<string>"),
        ([{"L": [N, {"N": "2.5"}]}], "array<double>"),
        ([{"L": [{"SS": ["x"]}]}], "array<set<string>>"),
        ([{"L": [{"L": [N]}, {"L": []}]}], "array<array<bigint>>"),
        ([{"L": [{"M": {"x": S}}, {"M": {"y": N}}]}], "array<struct<x:string,y:bigint>>"),
        ([{"M": {"X": S, "b c": {"NS": ["1"]}}}], "struct<b_c:set<bigint>,x:string>"),
        ([{"M": {"x": {"M": {"y": NULL}}, "z": N}}], "struct<z:bigint>"),
        # Several types.
        ([S, N], "string"),
        ([{"M": {"x": S}}, S], "string"),
        ([{"BOOL": True}, N], "string"),
        ([{"L": [S, N]}], "array<string>"),
        ([{"SS": ["x"]}, {"NS": ["1"]}], "set<string>"),
        ([{"SS": ["x"]}, {"L": [S]}], "array<string>"),
        ([{"L": []}, {"SS": ["x"]}], "array<string>"),
        ([{"M": {"x": S}}, {"L": [S]}], "string"),
        # Nothing known yet.
        ([NULL], None),
        ([{"L": []}], None),
        ([{"M": {}}], None),
        ([{"SS": []}], None),
        ([{"L": [{"M": {"x": NULL}}]}], None),
        ([NULL, {"L": []}, N], "string"),
    ],
)
def test_one_attribute(values: list[Any], kind: str | None) -> None:
    assert type_of(*values) == kind
    assert type_of(*reversed(values)) == kind
    assert type_of(*values, *values) == kind


def test_columns_are_sorted_with_the_keys_first() -> None:
    item = {"b": N, "SK": S, "pk": S, "a": S, "ddb_keys": S}
    options = InferenceOptions(keys=("pk", "SK"))
    columns = columns_of(infer_items([item]), options)
    assert [column.name for column in columns] == ["pk", "sk", "a", "b", "item_ddb_keys"]
    assert columns_of(Inference.empty(), options) == ()


def test_names_are_resolved_item_by_item_as_records_are() -> None:
    columns = columns_of(infer_items([{"a": N, "A": S}, {"A": {"BOOL": True}}]))
    assert columns == (("a", "string"), ("a_559aead0", "string"))


def test_conflicts_are_reported_with_counts_and_examples() -> None:
    items = [{"id": {"N": str(i)}, "m": {"L": [S if i % 3 else N]}} for i in range(9)]
    [conflict] = inferred_schema(infer_items(items, keys=("id",))).conflicts
    assert conflict.path == "m[]"
    assert conflict.counts == (("N", 3), ("S", 6))
    assert conflict.examples == (
        ("N", ('{"id":{"N":"0"}}', '{"id":{"N":"3"}}', '{"id":{"N":"6"}}')),
        ("S", ('{"id":{"N":"1"}}', '{"id":{"N":"2"}}', '{"id":{"N":"4"}}')),
    )
    assert str(conflict) == "m[]: 3 N, 6 S"
    assert inferred_schema(infer_items(items)).conflicts[0].examples == (("N", ()), ("S", ()))


def test_attributes_without_a_type_are_reported() -> None:
    schema = inferred_schema(
        infer_items([{"n": NULL, "l": {"L": []}, "m": {"M": {"x": NULL, "y": N}}}])
    )
    assert schema.columns == (("m", "struct<y:bigint>"),)
    assert schema.untyped == ("l", "m.x", "n")
    assert len(list(notes(schema))) == 3


WORDS = [f"n{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60)]


def map_with(*names: str) -> dict[str, Any]:
    return {"M": dict.fromkeys(names, N)}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        # Ids, dates, hashes.
        ([map_with(*map(str, range(10)))], "map<string,bigint>"),
        ([map_with(*(f"2026-11-{day:02}" for day in range(1, 9)))], "map<string,bigint>"),
        ([map_with(*(f"{i:08x}-0000-4000-8000-{i:012x}" for i in range(5)))], "map<string,bigint>"),
        ([map_with(*(f"user#{i}" for i in range(1000, 1009)))], "map<string,bigint>"),
        ([map_with("7d", "30d")], "map<string,bigint>"),
        # Too few to tell.
        ([map_with("2026-11-24", "2026-11-25")], "struct<2026_11_24:bigint,2026_11_25:bigint>"),
        # Names that hold a digit or two.
        ([map_with(*(f"line{i}" for i in range(8)))], None),
        # Many names, each map with a few of them.
        ([map_with(word) for word in WORDS], "map<string,bigint>"),
        # Many names, and each map has them all.
        ([map_with(*WORDS)], None),
    ],
)
def test_maps_whose_keys_are_data(values: list[Any], kind: str | None) -> None:
    found = type_of(*values)
    assert found is not None
    assert found == kind if kind else found.startswith("struct<")


def test_options_decide_the_shape() -> None:
    value = {"M": {"x": map_with("p", "q"), "y": map_with(*map(str, range(9)))}}
    assert type_of(value) == "struct<x:struct<p:bigint,q:bigint>,y:map<string,bigint>>"

    def shaped(**shapes: Shape) -> str | None:
        options = InferenceOptions(shapes={k.replace("_", "."): v for k, v in shapes.items()})
        return type_of(value, options=options)

    assert shaped(a=Shape.JSON) == "string"
    assert shaped(a_x=Shape.MAP, a_y=Shape.JSON) == "struct<x:map<string,bigint>,y:string>"
    assert shaped(a=Shape.MAP) == "map<string,map<string,bigint>>"
    y = ",".join(f"{i}:bigint" for i in range(9))
    assert shaped(a_y=Shape.STRUCT) == f"struct<x:struct<p:bigint,q:bigint>,y:struct<{y}>>"


def test_too_many_keys_are_observed_together() -> None:
    def values(start: int) -> Inference:
        return infer_items({"a": map_with(f"k{i}", f"{i}")} for i in range(start, start + 400))

    parts = [values(0), values(400), values(800)]
    schema = inferred_schema(merge(merge(parts[0], parts[1]), parts[2]))
    assert schema.columns == (("a", "map<string,bigint>"),)
    assert schema.data_key_paths == ("a",)
    assert merge(merge(parts[0], parts[1]), parts[2]) == merge(parts[2], merge(parts[1], parts[0]))
    fields = merge(parts[0], merge(parts[1], parts[2])).seen.fields or {}
    assert fields["a"].fields is None


def test_too_many_attributes_for_columns() -> None:
    inference = infer_items({f"k{i}": N} for i in range(observation.MAX_ATTRIBUTES + 1))
    with pytest.raises(TooManyAttributesError, match="type map"):
        columns_of(inference)


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"a": {"N": "x"}}, "'a'"),
        ({"a": {"N": 1}}, "'a'"),
        ({"a": {"L": [S, {"NS": ["y"]}]}}, r"'a\[\]'"),
        ({"a": {"M": {"b": {"L": [{}]}}}}, r"'a.b\[\]'"),
        ({"a": "x"}, "'a'"),
        ({"a": {"S": "x", "N": "1"}}, "'a'"),
        ({"a": {"X": "x"}}, "'a'"),
        ({"a": {"M": [S]}}, "'a'"),
        ({"a": {"L": "x"}}, "'a'"),
    ],
)
def test_what_dynamodb_does_not_write_is_refused_by_path(item: Any, path: str) -> None:
    with pytest.raises(UndecodableValueError, match=f"^Attribute {path}"):
        infer_items([item])


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = N
    for level in range(levels):
        value = {"L": [value]} if level % 2 else {"M": {"x": value}}
    return {"a": value}


def test_items_are_nested_as_deep_as_a_column_type_can_be() -> None:
    [column] = columns_of(infer_items([nested(32)]))
    assert column.type == "array<struct<x:" * 16 + "bigint" + ">" * 32
    [column] = columns_of(infer_items([nested(MAX_TYPE_DEPTH - 1)]))
    assert str(parse_type(column.type)) == column.type
    for levels in (MAX_TYPE_DEPTH, 5_000):
        with pytest.raises(UndecodableValueError, match="deeper than 128 levels"):
            infer_items([nested(levels)])


attributes = st.sampled_from(["a", "A", "b", "b-c", "b_c", "1", "ddb_x", "é", ""])
number_texts = st.sampled_from(["0", "-1", "1E+2", "2.5", "9223372036854775808", "1E-130"])
scalars = (
    st.just({"S": "x"})
    | number_texts.map(lambda text: {"N": text})
    | st.booleans().map(lambda flag: {"BOOL": flag})
    | st.binary(max_size=2).map(lambda data: {"B": b64encode(data).decode()})
    | st.just({"NULL": True})
    | st.just({"SS": ["x", "y"]})
    | st.lists(number_texts, min_size=1, max_size=2, unique=True).map(lambda texts: {"NS": texts})
    | st.just({"BS": [b"\0"]})
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"L": found})
        | st.dictionaries(attributes, inner, max_size=3).map(lambda found: {"M": found})
    ),
    max_leaves=8,
)
items = st.lists(st.dictionaries(attributes, values, max_size=4), max_size=4)


@given(items, items, items)
@settings(max_examples=60, deadline=None)
def test_merging_in_any_order_and_grouping(a: Any, b: Any, c: Any) -> None:
    one, two, three = infer_items(a, ("a",)), infer_items(b, ("a",)), infer_items(c, ("a",))
    together = infer_items([*a, *b, *c], ("a",))
    assert merge(merge(one, two), three) == together
    assert merge(one, merge(two, three)) == together
    assert merge(three, merge(two, one)) == together
    assert merge(one, Inference.empty()) == one
    twice = merge(together, together)
    assert inferred_schema(twice).columns == inferred_schema(together).columns


@given(items, items, items)
@settings(max_examples=60, deadline=None)
def test_too_many_names_merge_in_any_order_too(a: Any, b: Any, c: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation, "MAX_MAP_KEYS", 1)
        one, two, three = infer_items(a), infer_items(b), infer_items(c)
        together = infer_items([*c, *b, *a])
        assert merge(merge(one, two), three) == together
        assert merge(one, merge(two, three)) == together


@given(items)
@settings(max_examples=100, deadline=None)
def test_every_value_of_a_record_has_a_place_in_the_schema(found: Any) -> None:
    columns = columns_of(infer_items(found))
    normalized, _ = normalize_columns(columns)
    assert [column.name for column in normalized] == [column.name for column in columns]
    names = covered_fields(normalized)
    for item in found:
        assert attributes_without_column(json.loads(item_json(item)), names) == ()


def test_an_inference_is_the_same_after_a_journey_as_json() -> None:
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(100):
        deep = {"L": [deep, {"NULL": True}]}
    items = [
        {"id": {"S": "k"}, "n": {"N": "1.50"}, "m": {"M": {str(n): {"NS": ["1"]}}}, "deep": deep}
        for n in range(observation.MAX_MAP_KEYS + 2)
    ]
    inference = infer_items(items, ("id",))
    assert Inference.from_json(inference.to_json()) == inference
    assert Inference.from_json(Inference.empty().to_json()) == Inference.empty()
