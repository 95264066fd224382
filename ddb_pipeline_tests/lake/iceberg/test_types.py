"""Which Hive types Iceberg has, which it promotes, and how a schema follows wider columns."""

import subprocess
import sys
from itertools import count

import pytest

from ddb_pipeline.hive.types import Column, parse_type
from ddb_pipeline.lake.iceberg.evolution import columns_of, new_schema, schema_change
from ddb_pipeline.lake.iceberg.types import (
    NoIcebergTypeError,
    hive_form,
    iceberg_form,
    iceberg_type,
    promotable,
)

FORMS = {
    "tinyint": "int",
    "smallint": "int",
    "varchar(3)": "string",
    "timestamp": "timestamp",
    "binary": "binary",
    "array<struct<a:smallint,b:map<string,char(2)>>>": "array<struct<a:int,b:map<string,string>>>",
    "decimal(38,4)": "decimal(38,4)",
}


@pytest.mark.parametrize(("hive", "iceberg"), FORMS.items())
def test_a_type_and_its_iceberg_type_name_each_other(hive: str, iceberg: str) -> None:
    numbers = count(1)
    kind = iceberg_type(parse_type(hive), lambda: next(numbers))
    assert str(hive_form(kind)) == iceberg == str(iceberg_form(parse_type(hive)))


@pytest.mark.parametrize("hive", ["void", "uniontype<int,string>", "interval_day_time"])
def test_a_type_that_iceberg_lacks_is_named(hive: str) -> None:
    with pytest.raises(NoIcebergTypeError, match=hive.split("<")[0]):
        iceberg_type(parse_type(hive), lambda: 1)


PROMOTIONS = [
    ("int", "bigint", True),
    ("float", "double", True),
    ("decimal(5,1)", "decimal(20,1)", True),
    ("struct<a:int>", "struct<a:bigint,b:string>", True),
    ("array<struct<a:int>>", "array<struct<a:bigint>>", True),
    ("map<string,int>", "map<string,bigint>", True),
    ("bigint", "int", False),
    ("bigint", "decimal(20,0)", False),
    ("decimal(5,1)", "decimal(20,2)", False),
    ("decimal(5,1)", "decimal(4,1)", False),
    ("int", "double", False),
    ("int", "string", False),
    ("struct<a:int,b:int>", "struct<a:int>", False),
    ("map<int,int>", "map<bigint,int>", False),
    ("date", "timestamp", False),
]


@pytest.mark.parametrize(("found", "wanted", "expected"), PROMOTIONS)
def test_promotions_are_those_of_the_specification(found: str, wanted: str, expected: bool) -> None:
    assert promotable(parse_type(found), parse_type(wanted)) is expected


CHANGES = [
    # current, incoming, added, promoted, replaced
    ("int", "smallint", [], [], []),
    ("int", "bigint", [], [("c", "bigint")], []),
    ("bigint", "int", [], [], []),
    ("bigint", "decimal(1,0)", [], [], ["c"]),
    ("decimal(5,1)", "decimal(9,1)", [], [("c", "decimal(9,1)")], []),
    ("decimal(5,1)", "decimal(9,2)", [], [], ["c"]),
    ("bigint", "string", [], [], ["c"]),
    ("struct<a:int>", "struct<a:bigint,b:string>", [("c.b", "string")], [("c.a", "bigint")], []),
    ("struct<a:int>", "map<string,int>", [], [], ["c"]),
    (
        "array<struct<a:int>>",
        "array<struct<b:int>>",
        [("c.element.b", "int")],
        [],
        [],
    ),
    ("map<string,float>", "map<string,double>", [], [("c.value", "double")], []),
]


@pytest.mark.parametrize(("current", "incoming", "added", "promoted", "replaced"), CHANGES)
def test_a_wider_type_is_promoted_or_replaces_the_column(
    current: str,
    incoming: str,
    added: list[tuple[str, str]],
    promoted: list[tuple[str, str]],
    replaced: list[str],
) -> None:
    change = schema_change([Column("c", current)], [Column("c", incoming)])
    assert [(".".join(path), str(kind)) for path, kind in change.added] == added
    assert [(".".join(path), str(kind)) for path, kind in change.promoted] == promoted
    assert list(change.replaced) == replaced
    assert bool(change) == bool(added or promoted or replaced)
    again = schema_change(change.columns, [Column("c", incoming)])
    assert not again


def test_a_column_that_the_lake_no_longer_has_stays() -> None:
    change = schema_change([Column("a", "int"), Column("b", "int")], [Column("c", "string")])
    assert change.columns == (Column("a", "int"), Column("b", "int"), Column("c", "string"))
    assert change.added == ((("c",), parse_type("string")),)


def test_a_new_schema_has_the_columns() -> None:
    columns = (
        Column("a", "array<struct<b:int,c:map<string,double>>>"),
        Column("key_bucket", "int"),
    )
    assert columns_of(new_schema(columns)) == columns


def test_a_pipeline_without_iceberg_imports_no_pyiceberg() -> None:
    program = (
        "import sys, ddb_pipeline.definitions, ddb_pipeline.cli.main, ddb_pipeline.cli.vacuum\n"
        "print([name for name in sys.modules if name.startswith('pyiceberg')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
