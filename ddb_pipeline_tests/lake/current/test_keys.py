import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.lake.current.keys import (
    KeyAttribute,
    KeyColumnError,
    bucket_numbers,
    canonical_text,
    canonical_texts,
    hashes,
    have_own_columns,
    texts_of_columns,
)

MASK = 2**64 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NUMBER = st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=3)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"id":"a"}', '{"id":"a"}'),
        ('{"id":"1.0"}', '{"id":"1.0"}'),
        ('{"id":1.0}', '{"id":1}'),
        ('{"id":1E+2}', '{"id":100}'),
        ('{"id":-0}', '{"id":0}'),
        ('{"id":-0.50}', '{"id":-0.5}'),
        ('{"id":0.0}', '{"id":0}'),
        ('{"id":1e-7,"at":"x\\"y:1.0"}', '{"id":0.0000001,"at":"x\\"y:1.0"}'),
        ('{ "id": "a", "at": 5 }', '{"id":"a","at":5}'),
        ('{"id":"\\u00fc"}', '{"id":"ü"}'),
        (
            '{"id":12345678901234567890123456789012345678}',
            '{"id":12345678901234567890123456789012345678}',
        ),
        ('{"id":1E+125}', '{"id":1' + "0" * 125 + "}"),
    ],
)
def test_a_number_has_one_form(text: str, canonical: str) -> None:
    other = '{"id":"z"}'
    assert canonical_texts(pa.array([text, other])).to_pylist() == [canonical, other]


@pytest.mark.parametrize("text", ["", "[1]", '"a"', "{", '{"id":{"a":1}}', '{"id":NaN}'])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(KeyColumnError, match="ddb_keys"):
        canonical_texts(pa.array([text]))


@given(st.lists(st.one_of(TEXT, NUMBER), min_size=1, max_size=2))
def test_the_fast_path_leaves_only_what_is_canonical(values: list[Any]) -> None:
    def written(value: Any) -> str:
        return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)

    text = "{" + ",".join(f'"k{n}":{written(v)}' for n, v in enumerate(values)) + "}"
    [found] = canonical_texts(pa.array([text])).to_pylist()
    assert found == canonical_text(text)
    assert canonical_text(found) == found


def scalar_hash(data: bytes) -> int:
    """The definition, one word after the other."""

    def mixed(word: int) -> int:
        word ^= word >> 32
        word = word * 0xD6E8FEB86659FD93 & MASK
        return word ^ word >> 32

    found = mixed(len(data) * 0x9E3779B97F4A7C15 & MASK)
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8], "little")
        found = mixed((found ^ word) * 0x9E3779B97F4A7C15 & MASK)
    return found


@given(st.lists(TEXT, max_size=20), st.integers(0, 5))
def test_hashes_are_those_of_the_definition(texts: list[str], skipped: int) -> None:
    array = pa.array(texts, pa.string()).slice(skipped)
    expected = [scalar_hash(text.encode()) for text in texts[skipped:]]
    assert hashes(array).tolist() == expected


def test_hashes_never_change() -> None:
    texts = pa.array(["", '{"id":"a"}', '{"id":"order 000001","n":5}', '{"id":"ü"}'])
    assert bucket_numbers(texts, 4096).tolist() == [0, 914, 120, 718]


def test_keys_are_spread_evenly_and_twice_the_buckets_divide_each() -> None:
    texts = pa.array([f'{{"id":{number}}}' for number in range(64_000)])
    few, many = bucket_numbers(texts, 32), bucket_numbers(texts, 64)
    counts = np.bincount(few, minlength=32)
    assert counts.min() > 1_800
    assert counts.max() < 2_200
    assert (many % 32 == few).all()


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=5), st.data())
def test_texts_of_columns_are_those_of_the_stream(texts: list[str], data: st.DataObject) -> None:
    numbers = [data.draw(NUMBER) for _ in texts]
    table = pa.table(
        {
            "id": texts,
            "at": pa.array(numbers, pa.decimal128(38, 3)),
            "b": pa.array([text.encode() for text in texts], pa.binary()),
        }
    )
    key = [KeyAttribute("At", "N"), KeyAttribute("Id", "S"), KeyAttribute("b", "B")]
    found = texts_of_columns(table, key).to_pylist()
    for text, number, result in zip(texts, numbers, found, strict=True):
        keys: Any = {"At": {"N": str(number)}, "Id": {"S": text}, "b": {"B": text.encode()}}
        assert result == canonical_text(item_json(keys))


@pytest.mark.parametrize(
    "numbers",
    [
        pa.array([1, -5], pa.int64()),
        pa.array([1.0, -5.0], pa.float64()),
        pa.array(["1.0", "-5E0"]),
        pa.array([Decimal("1.00"), Decimal("-5.00")], pa.decimal128(9, 2)),
    ],
)
def test_a_number_is_the_same_key_in_a_column_of_any_type(numbers: pa.Array) -> None:
    table = pa.table({"id": numbers})
    assert texts_of_columns(table, [KeyAttribute("id", "N")]).to_pylist() == [
        '{"id":1}',
        '{"id":-5}',
    ]


def test_a_row_without_a_key_is_refused() -> None:
    for table in (pa.table({"id": ["a", None]}), pa.table({"other": ["a"]})):
        with pytest.raises(KeyColumnError, match="'id'"):
            texts_of_columns(table, [KeyAttribute("id", "S")])


def test_columns_that_attributes_share() -> None:
    key = [KeyAttribute("Id", "S")]
    assert have_own_columns(key, ["id", "id_x", "identity"])
    assert not have_own_columns(key, ["id", "id_559aead0"])
