"""Images that columns keep whole, against the parsed documents' own answer."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.functions.covered_images import CoveredImages
from ddb_pipeline.hive.coverage import attributes_without_column, covered_fields
from ddb_pipeline.hive.types import Column

COLUMNS = (
    Column("a", "string"),
    Column("b", "struct<a:int,b:struct<a:string>>"),
    Column("c", "array<struct<a:string,b:array<string>>>"),
    Column("d", "map<string,struct<a:string>>"),
    Column("not_valid", "set<"),
)
NAMES = covered_fields(COLUMNS)
STRING = {"S": "x"}

KEPT = [
    {},
    {"a": STRING},
    {"A": {"SS": ["x"]}},
    {"a": {"M": {"whatever": STRING}}},
    {"b": {"M": {"a": STRING, "b": {"M": {"a": STRING}}}}},
    {"b": {"NULL": True}},
    {"b": STRING},
    {"b": {"L": [{"M": {"z": STRING}}]}},
    {"c": {"L": [{"M": {"a": STRING}}, STRING, {"M": {"b": {"L": [STRING]}}}]}},
    {"c": {"M": {"a": STRING}}},
    {"d": {"M": {"any key": {"M": {"a": STRING}}}}},
    {"d": {"L": [{"M": {"z": STRING}}]}},
    {"not valid": {"M": {"z": STRING}}},
]
NOT_KEPT = [
    {"z": STRING},
    {"a": STRING, "z": STRING},
    {"b": {"M": {"z": STRING}}},
    {"b": {"M": {"b": {"M": {"z": STRING}}}}},
    {"c": {"L": [{"M": {"a": STRING}}, {"M": {"z": STRING}}]}},
    {"c": {"M": {"z": STRING}}},
    {"d": {"M": {"key": {"M": {"z": STRING}}}}},
]


@pytest.mark.parametrize("image", KEPT)
def test_kept(image: Any) -> None:
    assert CoveredImages(NAMES).covers(image)
    assert attributes_without_column(json.loads(item_json(image)), NAMES) == ()


@pytest.mark.parametrize("image", NOT_KEPT)
def test_not_kept(image: Any) -> None:
    assert not CoveredImages(NAMES).covers(image)
    assert attributes_without_column(json.loads(item_json(image)), NAMES) != ()


def test_further_columns() -> None:
    assert CoveredImages(NAMES).covers({"a": STRING}, ("b", "c"))
    assert not CoveredImages(NAMES).covers({"a": STRING}, ("ddb_event_id",))


values = st.recursive(
    st.sampled_from([STRING, {"N": "1"}, {"NULL": True}, {"SS": ["x"]}]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda elements: {"L": elements}),
        st.dictionaries(st.sampled_from("abcdzA"), inner, max_size=3).map(lambda m: {"M": m}),
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abcdA"), values, max_size=4), max_size=5))
@settings(max_examples=200)
def test_what_is_kept_by_shape_is_kept_by_the_document(images: list[Any]) -> None:
    by_shape = CoveredImages(NAMES)
    for image in images:
        if by_shape.covers(image):
            assert attributes_without_column(json.loads(item_json(image)), NAMES) == ()
