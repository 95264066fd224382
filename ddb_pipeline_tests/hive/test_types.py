"""Type strings read and printed as Hive 2.3.10 did on a JVM, errors included."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive.tokens import is_name_character
from ddb_pipeline.hive.types import (
    MAX_TYPE_LENGTH,
    ArrayType,
    CharType,
    DecimalType,
    HiveType,
    HiveTypeError,
    MapType,
    SetType,
    StructType,
    UnionType,
    VarcharType,
    children,
    depth,
    fold,
    parse_crawled_type,
    parse_type,
    parse_types,
    walk,
    with_children,
)

VECTORS = Path(__file__).parent.parent / "vectors"
TYPE_STRINGS = [
    json.loads(line) for line in (VECTORS / "typeinfo.jsonl").read_text("ascii").splitlines()
]
KINDS = {"bigint": "long", "smallint": "short", "tinyint": "byte"}


def tree(hive_type: HiveType) -> Any:
    """A type as the vectors write it."""

    def combine(kind: HiveType, inside: tuple[Any, ...]) -> Any:
        match kind:
            case ArrayType():
                return {"kind": "array", "element": inside[0]}
            case MapType():
                return {"kind": "map", "key": inside[0], "value": inside[1]}
            case StructType():
                names = [field.name for field in kind.fields]
                return {
                    "kind": "struct",
                    "fields": [list(f) for f in zip(names, inside, strict=True)],
                }
            case UnionType():
                return {"kind": "uniontype", "members": list(inside)}
            case DecimalType():
                return {"kind": "decimal", "precision": kind.precision, "scale": kind.scale}
            case CharType():
                return {"kind": "char", "length": kind.length}
            case VarcharType():
                return {"kind": "varchar", "length": kind.length}
            case _:
                return {"kind": KINDS.get(str(kind), str(kind))}

    return fold(hive_type, combine)


def answer(read: Callable[[str], Any], text: str) -> Any:
    """What reading gives, or the error's text."""
    try:
        return read(text)
    except HiveTypeError as error:
        return str(error)


@pytest.mark.parametrize("case", TYPE_STRINGS, ids=lambda case: case["id"])
def test_reads_a_type_as_hive_does(case: dict[str, Any]) -> None:
    expected = case["hive_2_3_10"]["one"]
    found = answer(parse_type, case["input"])
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


@pytest.mark.parametrize("levels", [1, 1_000, 20_000])
@pytest.mark.parametrize(
    "opening",
    ["array<", "struct<a:", "map<string,", "uniontype<", "struct<a:int,b:array<map<int,"],
)
def test_survives_deep_nesting(opening: str, levels: int) -> None:
    closing = ">" * opening.count("<")
    text = opening * levels + "int" + closing * levels
    kind, same = parse_type(text), parse_type(text)
    other = parse_type(opening * levels + "bigint" + closing * levels)
    assert str(kind) == text
    assert kind == same
    assert kind != other
    assert hash(kind) == hash(same)
    assert repr(kind).endswith(f"{text}>")
    assert depth(kind) == levels * len(closing) + 1
    assert fold(kind, with_children) == kind
    assert sum(1 for _ in walk(kind)) == sum(1 for _ in walk(same))


@pytest.mark.parametrize(
    "text",
    [
        "struct<" + ",".join(f"c{i}:string" for i in range(9_900)) + ">",
        "array<" * 18_700 + "int" + ">" * 18_700,
        "struct<" + ",".join(f"é{i}:struct<b:int>" for i in range(5_900)) + ">",
    ],
    ids=["wide", "deep", "not ASCII"],
)
def test_reads_the_longest_type_that_glue_holds_in_no_time(text: str) -> None:
    assert 110_000 < len(text) <= MAX_TYPE_LENGTH
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        kind = parse_type(text)
        seconds.append(time.perf_counter() - start)
    assert str(kind) == text
    # About 20 ms on one core; the margin is for a machine that does other things as well.
    assert min(seconds) < 0.2


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
    assert parse_type(one) != one


def test_sets_are_read_only_where_they_are_asked_for() -> None:
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
