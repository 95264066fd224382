"""JSON values as Java objects of the OpenX SerDe, beyond the recorded cases."""

import pytest

from ddb_pipeline.conversion.serde.json_documents import JsonFraction, JsonInteger
from ddb_pipeline.conversion.serde.openx_json import hash_map_order, json_text, quote


def test_hash_map_order() -> None:
    # "Aa" and "BB" have the same hash code in Java, so they keep their order.
    assert hash_map_order(["b", "a"]) == ["a", "b"]
    assert hash_map_order(["BB", "Aa"]) == ["BB", "Aa"]
    many = [f"k{number}" for number in range(30)]
    assert sorted(hash_map_order(many)) == sorted(many)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("a/b</c>", '"a/b<\\/c>"'),
        ("\x00\x1f\x7f\x80\u2028", '"\\u0000\\u001f\x7f\\u0080\\u2028"'),
        ("é😀", '"é😀"'),
    ],
)
def test_quote(text: str, expected: str) -> None:
    assert quote(text) == expected


def test_json_text_of_every_kind_of_value() -> None:
    value = {"n": None, "t": True, "i": JsonInteger("1"), "f": JsonFraction("1.50"), "s": ["x", {}]}
    assert json_text([value]) == ('[{"s":["x",{}],"t":true,"f":1.50,"i":1,"n":"null"}]')
