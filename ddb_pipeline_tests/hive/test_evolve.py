"""Merged schemas: they only widen, and every difference is reported."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.hive.evolve import (
    Difference,
    SchemaDiff,
    merge_columns,
    narrowings,
    render_markdown,
)
from ddb_pipeline.hive.types import (
    MAX_TYPE_DEPTH,
    Column,
    HiveType,
    StructField,
    StructType,
    children,
    parse_type,
    with_children,
)


def merged(current: str, incoming: str) -> str:
    return merge_columns([Column("c", current)], [Column("c", incoming)]).columns[0].type


def diff(current: str, incoming: str) -> SchemaDiff:
    return merge_columns([Column("c", current)], [Column("c", incoming)]).diff


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("tinyint", "smallint"),
        ("smallint", "int"),
        ("int", "bigint"),
        ("tinyint", "bigint"),
        ("tinyint", "decimal(10,0)"),
        ("bigint", "decimal(20,0)"),
        ("bigint", "decimal(38,18)"),
        ("decimal(10,2)", "decimal(12,2)"),
        ("decimal(10,2)", "decimal(12,4)"),
        ("float", "double"),
        ("char(3)", "char(5)"),
        ("char(3)", "varchar(3)"),
        ("varchar(3)", "varchar(4)"),
        ("varchar(65535)", "string"),
        ("void", "int"),
        ("void", "array<struct<a:int>>"),
        ("array<int>", "array<bigint>"),
        ("map<int,float>", "map<bigint,double>"),
        ("struct<a:int>", "struct<a:int,b:string>"),
        ("struct<a:int,b:string>", "struct<A:bigint,b:string,c:struct<d:int>>"),
        ("uniontype<int,string>", "uniontype<bigint,string>"),
        ("array<map<string,struct<a:int>>>", "array<map<string,struct<a:int,b:int>>>"),
    ],
)
def test_widening(narrow: str, wide: str) -> None:
    assert merged(narrow, wide).lower() == wide.lower()
    assert merged(wide, narrow) == wide
    assert not narrowings([Column("c", narrow)], [Column("c", wide)])
    assert narrowings([Column("c", wide)], [Column("c", narrow)])
    assert not diff(narrow, wide).conflicting
    assert not diff(wide, narrow).changed


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("bigint", "decimal(10,2)", "decimal(22,2)"),
        ("int", "decimal(10,2)", "decimal(12,2)"),
        ("decimal(10,0)", "decimal(5,5)", "decimal(15,5)"),
        ("char(9)", "varchar(3)", "varchar(9)"),
        ("struct<a:int,b:string>", "struct<c:int,b:string>", "struct<a:int,b:string,c:int>"),
        ("struct<a:int,b:array<int>>", "struct<b:array<bigint>>", "struct<a:int,b:array<bigint>>"),
    ],
)
def test_what_two_types_become_together(one: str, other: str, both: str) -> None:
    assert merged(one, other) == both


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bigint", "double"),
        ("int", "float"),
        ("double", "decimal(3,2)"),
        ("decimal(38,0)", "decimal(38,18)"),
        ("bigint", "string"),
        ("date", "timestamp"),
        ("boolean", "tinyint"),
        ("binary", "string"),
        ("array<int>", "int"),
        ("array<int>", "map<string,int>"),
        ("struct<a:int>", "string"),
        ("struct<a:int>", "map<string,int>"),
        ("struct<>", "int"),
        ("uniontype<int>", "uniontype<int,string>"),
        ("map<string,int>", "map<string,string>"),
        ("struct<a:int,b:date>", "struct<a:bigint,b:int>"),
    ],
)
def test_in_a_conflict_the_current_type_stays(one: str, other: str) -> None:
    for current, incoming in ((one, other), (other, one)):
        found = diff(current, incoming)
        assert len(found.conflicting) == 1
        assert merged(merged(current, incoming), incoming) == merged(current, incoming)
        if "b:" not in current:
            assert merged(current, incoming) == current
            assert not found.changed
        assert narrowings([Column("c", current)], [Column("c", incoming)])


def test_columns_and_every_difference() -> None:
    current = [
        Column("id", "string"),
        Column("n", "int"),
        Column("m", "struct<old:date,x:int>"),
        Column("gone", "date"),
        Column("flag", "double"),
        Column("big", "bigint"),
    ]
    incoming = [
        Column("new", "array<string>"),
        Column("M", "struct<x:bigint,y:struct<z:int>>"),
        Column("ID", "string"),
        Column("n", "bigint"),
        Column("flag", "boolean"),
        Column("big", "int"),
        Column("broken", "set<int>"),
    ]
    evolution = merge_columns(current, incoming)
    assert evolution.columns == (
        Column("id", "string"),
        Column("n", "bigint"),
        Column("m", "struct<old:date,x:bigint,y:struct<z:int>>"),
        Column("gone", "date"),
        Column("flag", "double"),
        Column("big", "bigint"),
        Column("new", "array<string>"),
    )
    assert evolution.diff == SchemaDiff(
        added=(Difference("m.y", "", "struct<z:int>"), Difference("new", "", "array<string>")),
        widened=(Difference("n", "int", "bigint"), Difference("m.x", "int", "bigint")),
        narrowed=(Difference("big", "bigint", "int"),),
        conflicting=(
            Difference("flag", "double", "boolean"),
            Difference("broken", "", "set<int>"),
        ),
        vanished=(Difference("m.old", "date", ""), Difference("gone", "date", "")),
    )
    assert narrowings(current, incoming) == (
        *evolution.diff.vanished,
        *evolution.diff.narrowed,
        *evolution.diff.conflicting,
    )
    assert render_markdown(evolution.diff).splitlines()[2:] == [
        "| new | `m.y` |  | `struct<z:int>` |",
        "| new | `new` |  | `array<string>` |",
        "| widened | `n` | `int` | `bigint` |",
        "| widened | `m.x` | `int` | `bigint` |",
        "| narrower now, current type stays | `big` | `bigint` | `int` |",
        "| in conflict, current type stays | `flag` | `double` | `boolean` |",
        "| in conflict, current type stays | `broken` |  | `set<int>` |",
        "| no longer found, stays | `m.old` | `date` |  |",
        "| no longer found, stays | `gone` | `date` |  |",
    ]


def test_equal_schemas_have_no_differences() -> None:
    columns = [Column("a", "struct<b:decimal>"), Column("b", "not a type")]
    evolution = merge_columns(columns, columns)
    assert evolution.columns == tuple(columns)
    assert evolution.diff == SchemaDiff()
    assert render_markdown(evolution.diff) == "No differences."
    # Another spelling of the same type is no difference, and is left as it is.
    assert merge_columns(columns, [Column("A", "struct<b:decimal(10,0)>")]).columns[0] == columns[0]


def test_markdown_escapes_names() -> None:
    difference = Difference("a|b`c\nd", "", "struct<" + "a:int," * 100 + ">")
    lines = render_markdown(SchemaDiff(added=(difference,))).splitlines()
    assert len(lines) == 3
    assert "`a\\|b'c d`" in lines[2]
    assert len(lines[2]) < 250


def test_a_type_too_long_for_glue_is_a_conflict() -> None:
    one = "struct<" + ",".join(f"a{i}:string" for i in range(9_000)) + ">"
    other = one.replace("a", "b")
    evolution = merge_columns([Column("c", one)], [Column("c", other)])
    assert evolution.columns == (Column("c", one),)
    assert evolution.diff == SchemaDiff(conflicting=(Difference("c", one, other),))


def test_types_nested_up_to_the_limit_merge_and_deeper_ones_conflict() -> None:
    def text(leaf: str, levels: int = MAX_TYPE_DEPTH - 1) -> str:
        return "struct<a:" * levels + leaf + ">" * levels

    assert merged(text("int"), text("bigint")) == text("bigint")
    assert merged(text("int"), text("date")) == text("int")
    assert diff(text("int"), text("date")).conflicting[0].path == "c" + ".a" * (MAX_TYPE_DEPTH - 1)
    deeper, found = text("int", MAX_TYPE_DEPTH), text("bigint", MAX_TYPE_DEPTH)
    assert diff(deeper, found) == SchemaDiff(conflicting=(Difference("c", deeper, found),))
    assert merge_columns([], [("c", deeper)]).columns == ()


leaves = st.sampled_from(
    (
        *("tinyint", "int", "bigint", "decimal(5,2)", "decimal(20,0)", "decimal(38,18)", "float"),
        *("double", "char(3)", "varchar(5)", "string", "date", "boolean", "void"),
    )
)
numbers = st.sampled_from(["tinyint", "smallint", "int", "bigint", "decimal(12,3)", "void"])


def struct(fields: Iterable[tuple[str, str]]) -> str:
    return "struct<" + ",".join(f"{name}:{kind}" for name, kind in fields) + ">"


def types_over(leaf: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        fields = st.lists(
            st.tuples(st.sampled_from("abcd"), inner), max_size=3, unique_by=lambda field: field[0]
        )
        return (
            inner.map("array<{}>".format)
            | inner.map("map<string,{}>".format)
            | fields.map(
                lambda found: "struct<" + ",".join(map("{0[0]}:{0[1]}".format, found)) + ">"
            )
        )

    return st.recursive(leaf, containers, max_leaves=5)


def schemas(kinds: st.SearchStrategy[str]) -> st.SearchStrategy[list[Column]]:
    return st.dictionaries(st.sampled_from("abcde"), kinds, max_size=4).map(
        lambda found: [Column(name, kind) for name, kind in found.items()]
    )


any_schemas = schemas(types_over(leaves))
# Under these names the kinds are the same everywhere, so that nothing can conflict.
agreeing = st.fixed_dictionaries(
    {},
    optional={
        "a": numbers,
        "b": numbers.map("array<{}>".format),
        "c": st.sampled_from(["char(3)", "char(5)", "varchar(4)", "string"]),
        "d": st.fixed_dictionaries({}, optional={"x": numbers, "y": numbers}).map(
            lambda found: struct(found.items())
        ),
        "e": st.sampled_from(["float", "double"]).map("map<string,{}>".format),
    },
).map(lambda found: [Column(name, kind) for name, kind in found.items()])


def unordered(columns: Sequence[Column]) -> dict[str, HiveType]:
    return {column.name: sorted_fields(parse_type(column.type)) for column in columns}


def sorted_fields(kind: HiveType) -> HiveType:
    inside = tuple(map(sorted_fields, children(kind)))
    if isinstance(kind, StructType):
        names = [field.name for field in kind.fields]
        fields = sorted(map(StructField, names, inside), key=lambda field: field.name)
        return StructType(tuple(fields))
    return with_children(kind, inside)


@given(any_schemas, any_schemas)
@settings(max_examples=150, deadline=None)
def test_merging_again_changes_nothing(a: list[Column], b: list[Column]) -> None:
    assert merge_columns(a, a).diff == SchemaDiff()
    both = merge_columns(a, b)
    assert [column.name for column in both.columns[: len(a)]] == [column.name for column in a]
    for seen in (a, b):
        again = merge_columns(both.columns, seen)
        assert again.columns == both.columns
        assert not again.diff.changed
    assert both.diff.changed == (both.columns != tuple(a))
    # Nothing of the current schema is lost, not even in a conflict.
    assert not narrowings(a, both.columns)


@given(agreeing, agreeing, agreeing)
@settings(max_examples=150, deadline=None)
def test_order_and_grouping_make_no_difference(
    a: list[Column], b: list[Column], c: list[Column]
) -> None:
    ab, ba = merge_columns(a, b), merge_columns(b, a)
    assert not ab.diff.conflicting
    assert unordered(ab.columns) == unordered(ba.columns)
    left = merge_columns(ab.columns, c).columns
    right = merge_columns(a, merge_columns(b, c).columns).columns
    assert unordered(left) == unordered(right)
    for part in (a, b, c):
        assert not narrowings(part, left)
