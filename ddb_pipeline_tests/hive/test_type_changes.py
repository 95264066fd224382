"""Where two types of a column differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.hive.type_changes import type_changes
from ddb_pipeline_tests.support.random_items import random_type


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("string", "string", []),
        ("", "bigint", ["a: - bigint"]),
        ("bigint", "", ["a: bigint -"]),
        ("set<string>", "array<string>", ["a: set<string> array<string>"]),
        ("array<set<string>>", "array<array<string>>", ["a[]: set<string> array<string>"]),
        ("set<int>", "set<bigint>", ["a[]: int bigint"]),
        (
            "struct<b:int,c:set<string>,d:struct<e:string,f:date>>",
            "struct<b:int,c:array<string>,d:struct<e:string,g:date>,h:double>",
            ["a.c: set<string> array<string>", "a.d.f: date -", "a.d.g: - date", "a.h: - double"],
        ),
        ("map<string,set<int>>", "map<string,array<int>>", ["a{}: set<int> array<int>"]),
        ("map<int,string>", "map<string,string>", ["a: map<int,string> map<string,string>"]),
        ("struct<b:int>", "map<string,int>", ["a: struct<b:int> map<string,int>"]),
        # What a crawler writes need not be a type.
        ("bigint/string", "string", ["a: bigint/string string"]),
    ],
)
def test_the_innermost_differences(before: str, after: str, expected: list[str]) -> None:
    found = type_changes("a", before, after)
    assert [f"{each.path}: {each.before or '-'} {each.after or '-'}" for each in found] == expected


@given(st.randoms(use_true_random=False))
def test_types_are_equal_if_nothing_differs(rng: object) -> None:
    before, after = random_type(rng, 3), random_type(rng, 3)  # type: ignore[arg-type]
    assert list(type_changes("a", before, before)) == []
    assert bool(list(type_changes("a", before, after))) == (before != after)
