"""Crawled columns repaired: sets replaced, types that engines refuse replaced by others."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive.names import DELIVERY_NAMES, MAX_NAME_BYTES, column_names, reads_as_number
from ddb_pipeline.hive.normalize import (
    DEPTH_REASON,
    ColumnChange,
    normalize_columns,
    replace_sets,
)
from ddb_pipeline.hive.types import (
    MAX_COLUMN_DEPTH,
    MAX_TYPE_LENGTH,
    Column,
    DecimalType,
    HiveType,
    MapType,
    PrimitiveType,
    StructType,
    UnionType,
    children,
    parse_type,
    walk,
)
from ddb_pipeline_tests.support.growth import growth

VECTORS = Path(__file__).parent.parent / "vectors"
SET_REWRITES = [
    json.loads(line) for line in (VECTORS / "set_rewrite.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", SET_REWRITES, ids=lambda case: case["id"])
def test_sets_become_arrays_where_hive_would_refuse_them(case: dict[str, Any]) -> None:
    rewritten = replace_sets(case["input"])
    assert rewritten == case["rewritten"]
    assert rewritten.count("array<") - case["input"].count("array<") == case["replacements"]
    assert replace_sets(rewritten) == rewritten


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("", ""),
        ("set", "set"),
        ("asset<int>", "asset<int>"),
        ("struct<asset:set<int>,set:int,offset:array<set<string>>>", None),
        # Hive stops at the first type that it does not know.
        ("struct<a:set<int>,b:INT,c:set<int>>", "struct<a:array<int>,b:INT,c:set<int>>"),
        ("struct<a:decimal(39,0),b:set<int>>", "struct<a:decimal(39,0),b:set<int>>"),
        ("set<int>;set<int>", "array<int>;array<int>"),
        ("set<" * 5_000 + "int" + ">" * 5_000, "array<" * 5_000 + "int" + ">" * 5_000),
    ],
    ids=range(8),
)
def test_what_is_no_set_stays(text: str, rewritten: str | None) -> None:
    if rewritten is None:
        rewritten = "struct<asset:array<int>,set:int,offset:array<array<string>>>"
    assert replace_sets(text) == rewritten


@pytest.mark.parametrize(
    ("found", "repaired"),
    [
        ("set<string>", "array<string>"),
        ("set<binary>", "array<string>"),
        ("set<decimal(38,18)>", "array<string>"),
        ("struct<a:set<map<string,set<bigint>>>>", "struct<a:array<map<string,array<bigint>>>>"),
        ("binary", "string"),
        ("map<binary,array<binary>>", "map<string,array<string>>"),
        ("void", "string"),
        ("null", "string"),
        ("unknown", "string"),
        ("interval_day_time", "string"),
        ("struct<>", "string"),
        ("array<struct<>>", "array<string>"),
        ("struct<a:struct<>,b:int>", "struct<a:string,b:int>"),
        ("uniontype<int,string>", "string"),
        ("array<uniontype<int,set<binary>>>", "array<string>"),
        ("map<array<int>,int>", "map<string,int>"),
        ("map<struct<>,int>", "map<string,int>"),
        ("map<bigint,int>", "map<bigint,int>"),
        # As other programs spell them.
        ("INT", "int"),
        ("integer", "int"),
        ("Long", "bigint"),
        ("double precision", "double"),
        ("timestamp with time zone", "timestamp"),
        ("string(5)", "string"),
        ("decimal", "string"),
        ("DECIMAL(12)", "string"),
        ("numeric(12, 3)", "string"),
        ("decimal(39,2)", "string"),
        ("decimal(2,3)", "string"),
        ("char(7)", "char(7)"),
        ("char", "string"),
        ("char(256)", "string"),
        ("character varying(20)", "varchar(20)"),
        ("varchar(0)", "string"),
        ("geometry", "string"),
        (" STRUCT < a : INT , `b c` : Set < LONG > > ", "struct<a:int,b_c:array<bigint>>"),
        ("struct<a:int, b:int>", "struct<a:int,b:int>"),
        ("struct<a:int,>", "struct<a:int>"),
        ("list<row<a:int>>", "array<struct<a:int>>"),
        ("int;", "int"),
        ("int,string", "int"),
        # Names that Hive, Spark or Athena refuse.
        ("struct<a-b:int>", "struct<a_b:int>"),
        ("struct<a b:int>", "struct<a_b:int>"),
        ("struct<aB.c:int>", "struct<ab_c:int>"),
        ("struct<aws:cf:stack-name:string>", "struct<aws_cf_stack_name:string>"),
        ("struct<a,b:set<int>,c:int>", "struct<a_b:array<int>,c:int>"),
        ("struct<a:int,A:int>", "struct<a:int,a_559aead0:int>"),
        ("struct<a:int,a:string>", "struct<a:int,a_05a9c569:string>"),
        ("struct<:int>", "struct<_:int>"),
        ("struct<\U0001f600:int>", "struct<__f0443a34:int>"),
        ("struct<é:int>", "struct<e:int>"),
        ("struct<7d:int,30d:int>", "map<string,int>"),
        ("struct<7d:set<int>,n:array<struct<1:date>>>", "map<string,string>"),
        ("struct<ddb_keys:int>", "struct<item_ddb_keys:int>"),
        # No type.
        ("", "string"),
        ("array<", "string"),
        ("array<int,int>", "string"),
        ("map<int>", "string"),
        ("struct<a>", "string"),
        ("foo<int>", "string"),
        ("struct<a:int>>", "string"),
    ],
)  # fmt: skip
def test_types(found: str, repaired: str) -> None:
    columns, changes = normalize_columns([("c", found)])
    assert columns == (Column("c", repaired),)
    assert bool(changes) == (found != repaired)
    assert normalize_columns(columns) == (columns, ())


@pytest.mark.parametrize(
    ("found", "repaired"),
    [
        (["a", "b"], ["a", "b"]),
        (["Id", "ID"], ["id_12156e92", "id"]),
        (["Id", "id"], ["id_12156e92", "id"]),
        (["id", "id"], ["id", "id_b7fe48ac"]),
        (["ddb_keys"], ["item_ddb_keys"]),
        (["delivery_date", "delivery_hours"], ["item_delivery_date", "delivery_hours"]),
        (["ddb_keys", "item_ddb_keys"], ["item_ddb_keys_", "item_ddb_keys"]),
        (["", "x y"], ["_", "x_y"]),
        ([*DELIVERY_NAMES, "a"], [*DELIVERY_NAMES, "a"]),
        ([*DELIVERY_NAMES, "ddb_keys"], [*DELIVERY_NAMES, "item_ddb_keys"]),
        (["x" * 300], ["x" * 246]),
    ],
)
def test_column_names(found: list[str], repaired: list[str]) -> None:
    columns, changes = normalize_columns([(name, "int") for name in found])
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    for name, expected, before in zip(names, repaired, found, strict=True):
        assert name.startswith(expected), (before, name)
        assert len(name.encode()) <= MAX_NAME_BYTES
    assert bool(changes) == (names != found)
    assert normalize_columns(columns) == (columns, ())


def test_changes_say_where_what_and_why() -> None:
    _, changes = normalize_columns(
        [("Orders", "array<struct<my-key:set<binary>,n:map<string,void>>>"), ("ok", "bigint")]
    )
    assert [(c.column, c.path, c.before, c.after) for c in changes] == [
        ("Orders", "Orders", "Orders", "orders"),
        ("Orders", "Orders[].my-key", "my-key", "my_key"),
        ("Orders", "Orders[].my-key[]", "binary", "string"),
        ("Orders", "Orders[].my-key", "set<binary>", "array<string>"),
        ("Orders", "Orders[].n{}", "void", "string"),
    ]
    assert all(change.reason for change in changes)


def test_what_cannot_be_read_comes_with_hives_own_message() -> None:
    _, changes = normalize_columns([("c", "array<int")])
    assert changes == (
        ColumnChange(
            "c",
            "c",
            "array<int",
            "string",
            "cannot be read, so it holds JSON text (Error: > expected at the end of 'array<int')",
        ),
    )


@pytest.mark.parametrize("levels", [MAX_COLUMN_DEPTH, 5_000, 20_000])
@pytest.mark.parametrize("opening", ["array<", "ARRAY<", "struct<a:", "STRUCT<a:", "map<string,"])
def test_what_is_nested_too_deep_becomes_text(opening: str, levels: int) -> None:
    """Hive's own spelling and that of others, which has a reader of its own."""
    text = opening * levels + "int" + ">" * levels
    [column], changes = normalize_columns([("c", text)])
    last = MAX_COLUMN_DEPTH - 1
    assert column.type == opening.lower() * last + "string" + ">" * last
    step = {"array<": "[]", "struct<a:": ".a", "map<string,": "{}"}[opening.lower()]
    [change] = changes
    assert change == ColumnChange(
        "c",
        "c" + step * last,
        opening * (levels - last) + "int" + ">" * (levels - last),
        "string",
        DEPTH_REASON,
    )


def too_deep(size: int) -> str:
    return "struct<a-b:set<" * size + "int" + ">>" * size


def too_wide(size: int) -> str:
    fields = ",".join(f"field{i}:set<string>" for i in range(size))
    return "array<" * 100 + f"struct<{fields}>" + ">" * 100


@pytest.mark.parametrize("text", [too_deep, too_wide])
@pytest.mark.parametrize("run", [replace_sets, lambda text: normalize_columns([("c", text)])])
def test_normalizing_takes_linear_time(
    text: Callable[[int], str], run: Callable[[str], object]
) -> None:
    texts = {size: text(size) for size in (10_000, 40_000)}
    assert len(texts[40_000]) > 600_000
    assert growth(lambda size: run(texts[size]), 10_000) < 8


def test_what_is_too_long_becomes_text_as_far_inside_as_possible() -> None:
    wide = "struct<z:set<int>," + ",".join(f"field{i}:string" for i in range(8_000)) + ">"
    text = f"struct<a:int,b:array<struct<c:{wide},d:map<string,int>>>>"
    assert len(text) > MAX_TYPE_LENGTH
    [column], changes = normalize_columns([("c", text)])
    assert column.type == "struct<a:int,b:array<struct<c:string,d:map<string,int>>>>"
    assert [change.path for change in changes] == ["c.b[].c"]
    [column], changes = normalize_columns([("c", wide.replace("field", "longer_field"))])
    assert column.type == "string"


NAMES = (
    *("a", "b", "id", "Id", "ID", "set", "asset", "a b", "a-b", "a.b", "a:b", "a,b", "é", "ß", "İ"),
    *("ddb_x", "delivery_date", "", "_", "x" * 300, "\U0001f600", "1", "a$b", "from", "a<b", "a>b"),
)
LEAVES = (
    *("string", "bigint", "double", "boolean", "binary", "void", "date", "timestamp", "int"),
    *("decimal(38,18)", "decimal", "char(3)", "varchar(10)", "interval_day_time", "unknown"),
    *("integer", "LONG", "double precision", "decimal(5,9)", "struct<>", "foo", "", "set"),
)


def random_type(rng: random.Random, levels: int) -> str:
    kind = rng.choice(["leaf", "leaf", "array", "set", "map", "struct", "uniontype"])
    if levels == 0 or kind == "leaf":
        return rng.choice(LEAVES)
    inside = [random_type(rng, levels - 1) for _ in range(rng.randint(1, 4))]
    space = rng.choice(["", "", "", " "])
    if kind == "map":
        return f"map<{rng.choice(['string', 'string', inside[-1]])},{space}{inside[0]}>"
    if kind == "struct":
        fields = [f"{rng.choice(NAMES)}:{space}{one}" for one in inside]
        return f"struct<{','.join(fields)}>"
    if kind == "uniontype":
        return f"uniontype<{','.join(inside)}>"
    text = f"{kind}<{space}{inside[0]}>"
    return text.upper() if rng.random() < 0.05 else text


def random_column(rng: random.Random) -> tuple[str, str]:
    text = random_type(rng, rng.randint(0, 7))
    if rng.random() < 0.1 and text:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["", "<", ">", ",", ":", "x", " "]) + text[at + 1 :]
    return rng.choice(NAMES), text


def depth(kind: HiveType) -> int:
    return 1 + max(map(depth, children(kind)), default=0)


def assert_taken_by_every_engine(columns: tuple[Column, ...]) -> None:
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    assert column_names(names) == dict(zip(names, names, strict=True))
    for column in columns:
        kind = parse_type(column.type)
        assert str(kind) == column.type
        assert len(column.type) <= MAX_TYPE_LENGTH
        assert depth(kind) <= MAX_COLUMN_DEPTH
        for part in walk(kind):
            assert not isinstance(part, UnionType)
            if isinstance(part, PrimitiveType):
                assert part.name not in ("binary", "void", "interval_year_month")
            assert not isinstance(part, DecimalType)
            if isinstance(part, MapType):
                assert not children(part.key)
            if isinstance(part, StructType):
                inside = [field.name for field in part.fields]
                assert inside
                assert len(set(inside)) == len(inside)
                assert column_names(inside) == dict(zip(inside, inside, strict=True))
                assert not any(map(reads_as_number, inside))


def test_ten_thousand_random_columns() -> None:
    rng = random.Random(20261124)
    for _ in range(1_000):
        columns = [random_column(rng) for _ in range(10)]
        normalized, changes = normalize_columns(columns)
        assert len(normalized) == len(columns)
        assert_taken_by_every_engine(normalized)
        assert bool(changes) == (list(normalized) != columns)
        assert normalize_columns(normalized) == (normalized, ())


@given(
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.text(st.sampled_from("abint<>,:;()arysetuc10_ \U0001f600\ud83dé-`\n"), max_size=40),
        ),
        max_size=5,
    )
)
@settings(deadline=None)
def test_any_columns(columns: list[tuple[str, str]]) -> None:
    normalized, changes = normalize_columns(columns)
    assert len(normalized) == len(columns)
    assert_taken_by_every_engine(normalized)
    assert bool(changes) == (list(normalized) != columns)
    assert normalize_columns(normalized) == (normalized, ())
