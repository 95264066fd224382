"""Attributes: paths, filters, dropping, pseudonyms."""

import hashlib
import hmac
from base64 import b64encode
from typing import Any

import pytest

from ddb_pipeline.functions.attributes import (
    Redaction,
    attribute_at,
    matches,
    pseudonym,
    scalar_at,
)
from ddb_pipeline.hive.attribute_paths import parse_path
from ddb_pipeline.hive.undecodable import UndecodableValueError

ITEM: dict[str, Any] = {
    "id": {"S": "k"},
    "n": {"N": "1.0"},
    "flag": {"BOOL": False},
    "a.b": {"S": "dotted"},
    "user": {"M": {"name": {"S": "Ann"}, "home": {"M": {"city": {"S": "Ulm"}}}}},
    "orders": {"L": [{"M": {"email": {"S": "a@b"}, "n": {"N": "1"}}}, {"S": "x"}]},
    "tags": {"SS": ["a"]},
}
KEY = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", ("a",)), ("a.b.c", ("a", "b", "c")), (r"a\.b.c", ("a.b", "c")), ("ä ö", ("ä ö",))],
)
def test_parse_path(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b"])
def test_parse_path_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not an attribute path"):
        parse_path(text)


@pytest.mark.parametrize(
    ("path", "scalar"),
    [
        ("id", "k"),
        ("n", "1.0"),
        ("flag", "false"),
        (r"a\.b", "dotted"),
        ("user.home.city", "Ulm"),
        ("user.home", None),
        ("user.none.city", None),
        ("id.x", None),
        ("tags", None),
        ("missing", None),
    ],
)
def test_scalar_at(path: str, scalar: str | None) -> None:
    assert scalar_at(ITEM, parse_path(path)) == scalar


def test_attribute_at_malformed_values() -> None:
    assert attribute_at({"a": "x"}, ("a",)) is None  # type: ignore[dict-item]
    assert attribute_at({"a": {"M": ["x"]}}, ("a", "b")) is None


def test_every_path_of_a_filter_has_to_match() -> None:
    kind = (("id",), frozenset({"k", "l"}))
    city = (("user", "home", "city"), frozenset({"Ulm"}))
    other = (("n",), frozenset({"1"}))
    assert matches(ITEM, [])
    assert matches(ITEM, [kind, city])
    assert not matches(ITEM, [kind, other])


def test_drop() -> None:
    redaction = Redaction(
        dropped=(("tags",), ("user", "name"), ("orders", "email"), ("missing",), ("id", "x"))
    )
    found = redaction.image(ITEM)
    assert "tags" not in found
    assert found["user"] == {"M": {"home": {"M": {"city": {"S": "Ulm"}}}}}
    assert found["orders"] == {"L": [{"M": {"n": {"N": "1"}}}, {"S": "x"}]}
    assert found["id"] == ITEM["id"]
    assert "tags" in ITEM, "the record itself stays as it is"
    assert "email" in ITEM["orders"]["L"][0]["M"]


def test_pseudonym_is_the_hmac() -> None:
    expected = hmac.new(KEY, b"Ann", hashlib.sha256).hexdigest()
    found = Redaction(pseudonymised=(("user", "name"),), key=KEY).image(ITEM)
    assert found["user"]["M"]["name"] == {"S": expected}


def digest(data: bytes) -> bytes:
    return hmac.digest(KEY, data, "sha256")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"S": ""}, {"S": digest(b"").hex()}),
        ({"N": "12"}, {"N": str(int.from_bytes(digest(b"12")[:8], "big") >> 1)}),
        ({"B": b"\x00"}, {"B": b64encode(digest(b"\x00")).decode()}),
        ({"B": "AA=="}, {"B": b64encode(digest(b"\x00")).decode()}),
        ({"SS": ["a"]}, {"SS": [digest(b"a").hex()]}),
        ({"BOOL": True}, {"NULL": True}),
        ({"NULL": True}, {"NULL": True}),
        ({"L": [{"S": "a"}]}, {"L": [{"S": digest(b"a").hex()}]}),
        ({"M": {"x": {"S": "a"}}}, {"M": {"x": {"S": digest(b"a").hex()}}}),
    ],
)
def test_pseudonym_keeps_the_type(value: Any, expected: Any) -> None:
    assert pseudonym(value, KEY) == expected


def test_pseudonym_of_a_number_is_a_bigint() -> None:
    for number in range(200):
        assert 0 <= int(pseudonym({"N": str(number)}, KEY)["N"]) < 2**63


def test_pseudonyms_differ_by_key() -> None:
    assert pseudonym({"S": "a"}, KEY) != pseudonym({"S": "a"}, b"another key......")


@pytest.mark.parametrize(
    "value", [{}, {"Q": 1}, {"S": 1}, {"N": "é"}, {"B": "***"}, {"S": "a", "N": "1"}, "x", {"L": 3}]
)
def test_pseudonym_of_an_undecodable_value(value: Any) -> None:
    with pytest.raises(UndecodableValueError, match="cannot be pseudonymised"):
        pseudonym(value, KEY)
