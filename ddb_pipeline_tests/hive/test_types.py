"""Type strings read and printed as Hive 2.3.10 does on a JVM, errors included."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive.tokens import is_name_character
from ddb_pipeline.hive.types import (
    MAX_COLUMN_DEPTH,
    MAX_TYPE_DEPTH,
    MAX_TYPE_LENGTH,
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    PrimitiveType,
    SetType,
    StructType,
    UnionType,
    VarcharType,
    children,
    parse_crawled_type,
    parse_type,
    parse_types,
    walk,
    with_children,
)
from ddb_pipeline_tests.support.growth import growth

VECTORS = Path(__file__).parent.parent / "vectors"
TYPE_STRINGS = [
    json.loads(line) for line in (VECTORS / "typeinfo.jsonl").read_text("ascii").splitlines()
]
KINDS = {"bigint": "long", "smallint": "short", "tinyint": "byte"}

TOO_DEEP = {"T0900": 200, "T0901": 500, "T0902": 1000}
"""Recorded types that Hive reads and this project refuses: arrays so many levels deep.

Hive has no limit; here it is MAX_TYPE_DEPTH, since code that walks a type is recursive.
"""
DEPTH_MESSAGE = (
    "The type is nested deeper than 128 levels. Declare what lies deeper as string, which holds "
    "JSON text."
)


def tree(kind: HiveType) -> Any:
    """A type as the vectors write it."""
    match kind:
        case ArrayType(element):
            return {"kind": "array", "element": tree(element)}
        case MapType(key, value):
            return {"kind": "map", "key": tree(key), "value": tree(value)}
        case StructType(fields):
            return {"kind": "struct", "fields": [[name, tree(inside)] for name, inside in fields]}
        case UnionType(members):
            return {"kind": "uniontype", "members": list(map(tree, members))}
        case DecimalType(precision, scale):
            return {"kind": "decimal", "precision": precision, "scale": scale}
        case CharType(length):
            return {"kind": "char", "length": length}
        case VarcharType(length):
            return {"kind": "varchar", "length": length}
    return {"kind": KINDS.get(str(kind), str(kind))}


def answer(read: Callable[[str], Any], text: str) -> Any:
    """What reading returns, or the error's text."""
    try:
        return read(text)
    except HiveTypeError as error:
        return str(error)


@pytest.mark.parametrize("case", TYPE_STRINGS, ids=lambda case: case["id"])
def test_reads_a_type_as_hive_does(case: dict[str, Any]) -> None:
    expected = case["hive_2_3_10"]["one"]
    found = answer(parse_type, case["input"])
    if case["id"] in TOO_DEEP:
        assert expected["type_name"].count("array<") == TOO_DEEP[case["id"]]
        assert found == DEPTH_MESSAGE
        return
    if not expected["ok"]:
        assert found == expected["message"]
        return
    assert str(found) == expected["type_name"]
    if "tree" in expected:
        assert tree(found) == expected["tree"]


@pytest.mark.parametrize("case", TYPE_STRINGS, ids=lambda case: case["id"])
def test_reads_a_list_of_types_as_hive_does(case: dict[str, Any]) -> None:
    expected = case["hive_2_3_10"]["list"]
    found = answer(parse_types, case["input"])
    if case["id"] in TOO_DEEP:
        assert expected["ok"]
        assert found == DEPTH_MESSAGE
        return
    if not expected["ok"]:
        assert found == expected["message"]
        return
    assert [str(kind) for kind in found] == expected["type_names"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Index 0 out of bounds for length 0"),
        ("decimal(10,2,3)", "Type decimal only takes two parameter, but 3 is seen"),
        ("decimal(0,0)", "Decimal precision out of allowed range [1,38]"),
        ("decimal(1,2)", "Decimal scale must be less than or equal to precision"),
        ("decimal(99999999999,0)", 'For input string: "99999999999"'),
        ("varchar(2147483648)", 'For input string: "2147483648"'),
        ("char(2147483647)", "Char length 2147483647 out of allowed range [1, 255]"),
        ("varchar(1,2,3)", "Type varchar only takes one parameter, but 3 is seen"),
        ("array<unknown>", "Internal error parsing position 6 of 'array<unknown>'"),
        (
            "int\ud83d",
            "Error: ',', ':', or ';' expected at position 3 from 'int\ud83d' [0:int, 3:\ud83d]",
        ),
        (
            "int\ud83d\ude00\ud83d",
            "Error: ',', ':', or ';' expected at position 3 from 'int\U0001f600\ud83d' "
            "[0:int, 3:\ud83d, 4:\ude00, 5:\ud83d]",
        ),
    ],
)
def test_messages_beyond_the_vectors(text: str, message: str) -> None:
    with pytest.raises(HiveTypeError) as caught:
        parse_type(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("decimal(\u0966\u0966\u0967\u0966,\u0662)", "decimal(10,2)"),
        ("varchar(000000000000000000000000010)", "varchar(10)"),
        ("varchar(" + "\u0966" * 20 + "\u0967)", "varchar(1)"),
        ("char(" + "0" * 10_000 + "7)", "char(7)"),
        ("int;", "int"),
    ],
)
def test_reads_numbers_as_java_does(text: str, name: str) -> None:
    assert str(parse_type(text)) == name


def test_names_are_made_of_the_characters_that_hive_takes() -> None:
    ranges = json.loads((VECTORS / "typechars.json").read_text("ascii"))["hive_2_3_10"]
    taken = {point for first, last in ranges for point in range(first, last + 1)}
    assert {point for point in range(0x10000) if is_name_character(chr(point))} == taken
    assert not is_name_character("\U00010400"), "a letter beyond the BMP is two surrogates"


OPENINGS = ["array<", "struct<a:", "map<string,", "uniontype<", "struct<a:int,b:"]


def nested(opening: str, levels: int, leaf: str = "int") -> str:
    """A type of so many levels, the leaf included."""
    return opening * (levels - 1) + leaf + ">" * (levels - 1)


@pytest.mark.parametrize("levels", [2, 100, MAX_TYPE_DEPTH])
@pytest.mark.parametrize("opening", OPENINGS)
def test_types_are_nested_up_to_the_limit(opening: str, levels: int) -> None:
    text = nested(opening, levels)
    kind, same = parse_type(text), parse_type(text)
    assert str(kind) == text
    assert kind == same
    assert kind != parse_type(nested(opening, levels, "bigint"))
    assert hash(kind) == hash(same)
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert sum(part == PrimitiveType("int") for part in walk(kind)) >= 1


@pytest.mark.parametrize("levels", [MAX_TYPE_DEPTH + 1, 1_000, 20_000])
@pytest.mark.parametrize("opening", OPENINGS)
def test_deeper_types_are_refused(opening: str, levels: int) -> None:
    with pytest.raises(HiveTypeError) as caught:
        parse_type(nested(opening, levels))
    assert str(caught.value) == DEPTH_MESSAGE


@pytest.mark.parametrize("levels", [MAX_COLUMN_DEPTH + 1, 20_000])
def test_of_a_crawled_type_only_the_containers_too_deep_are_left_as_text(levels: int) -> None:
    kind = parse_crawled_type(f"struct<a:{nested('set<', levels)},b:int>")
    *_, deepest, last = walk(kind)
    assert deepest == PrimitiveType(nested("set<", levels - MAX_COLUMN_DEPTH + 2))
    assert last == PrimitiveType("int")
    assert str(kind) == f"struct<a:{nested('set<', levels)},b:int>"


def wide(fields: int) -> str:
    return "struct<" + ",".join(f"c{i}:string" for i in range(fields)) + ">"


@pytest.mark.parametrize(
    "text",
    [wide, lambda fields: wide(fields).replace("c", "é"), lambda n: nested("array<", n)],
    ids=["wide", "not ASCII", "deep"],
)
def test_reading_takes_linear_time(text: Callable[[int], str]) -> None:
    texts = {size: text(size) for size in (10_000, 40_000)}
    assert len(texts[40_000]) > MAX_TYPE_LENGTH
    assert growth(lambda size: answer(parse_crawled_type, texts[size]), 10_000) < 8


def test_parts_of_a_type() -> None:
    text = "struct<a:map<string,array<int>>,b:uniontype<int,decimal(3,1)>>"
    kind = parse_type(text)
    assert [str(part) for part in children(kind)] == [
        "map<string,array<int>>",
        "uniontype<int,decimal(3,1)>",
    ]
    assert [str(part) for part in walk(kind)] == [
        text,
        "map<string,array<int>>",
        "string",
        "array<int>",
        "int",
        "uniontype<int,decimal(3,1)>",
        "int",
        "decimal(3,1)",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("int", "bigint"),
        ("decimal(3,1)", "decimal(3,2)"),
        ("char(3)", "varchar(3)"),
        ("struct<a:int>", "struct<b:int>"),
        ("struct<a:int>", "struct<a:int,b:int>"),
        ("array<int>", "array<string>"),
        ("map<int,string>", "map<string,int>"),
        ("uniontype<int>", "uniontype<int,int>"),
    ],
)
def test_different_types_are_not_equal(one: str, other: str) -> None:
    assert parse_type(one) != parse_type(other)
    text: object = one
    assert parse_type(one) != text


def test_with_children_puts_a_type_together_again() -> None:
    kind = parse_crawled_type(
        "struct<a:map<string,int>,b:uniontype<int,array<int>>,c:set<int>,d:char(3)>"
    )
    for part in walk(kind):
        assert with_children(part, children(part)) == part


def test_sets_are_types_only_to_a_crawler() -> None:
    text = "struct<set:set<set<int>>,b:array<set<string>>>"
    kind = parse_crawled_type(text)
    assert str(kind) == text
    assert sum(isinstance(part, SetType) for part in walk(kind)) == 3
    with pytest.raises(HiveTypeError, match="type expected at the position 11 of"):
        parse_type(text)
    with pytest.raises(HiveTypeError, match="but 'set' is found"):
        parse_crawled_type("array<set>")


@given(st.text(st.sampled_from("abint<>,:;()array setuc10_ \U0001f600\ud83dé-"), max_size=40))
@settings(deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        kind = parse_type(text)
    except HiveTypeError:
        return
    assert parse_type(str(kind)) == kind
