"""A decision about types gives the same columns and values on every path into the lake."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS
from ddb_pipeline.dynamodb.decided_items import RefusedValueError
from ddb_pipeline.dynamodb.targets import Target
from ddb_pipeline.export.rows.exact import ExactRows
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.functions.changes import decide, decode
from ddb_pipeline.glue.lake_table import lake_columns
from ddb_pipeline.hive.coverage import covered_fields
from ddb_pipeline.hive.decided_columns import decided_columns
from ddb_pipeline.hive.infer import InferenceOptions, infer_items, inferred_schema
from ddb_pipeline.hive.normalize import normalize_columns
from ddb_pipeline.hive.type_decisions import TypeDecisions, read_decisions
from ddb_pipeline.hive.types import ArrayType, Column, StructType, parse_type
from ddb_pipeline.lake.current.exports import Exports, plan_exports
from ddb_pipeline.lake.current.sources import RejectedChangeError
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.store import LocalStore
from ddb_pipeline.lake.current.update import update
from ddb_pipeline_tests.support import type_conflicts as cases
from ddb_pipeline_tests.support.exports import opened, write_local_export
from ddb_pipeline_tests.support.native_library import require_reader
from ddb_pipeline_tests.support.stream_events import rules_of, stream_record
from ddb_pipeline_tests.support.type_conflicts import without_nulls

DECISIONS = cases.decisions()
ITEMS = list(cases.items())
ACCEPTED = without_nulls([row for _, row in ITEMS if row is not None])
COLUMNS = [Column(*column) for column in cases.expected_columns().items()]


def test_the_repair_of_crawled_columns() -> None:
    decided, changes = decided_columns(cases.crawled_columns(), DECISIONS)
    repaired, _ = normalize_columns(decided)
    assert dict(repaired) == cases.expected_columns()
    assert len(changes) == len({change.column for change in changes})
    assert decided_columns(repaired, DECISIONS) == (repaired, ())


def test_a_crawl_of_the_items() -> None:
    inference = infer_items(item for item, _ in ITEMS)
    found = inferred_schema(inference, InferenceOptions(("id",), {}, DECISIONS))
    item_columns = lake_columns(found.columns)[len(lake_columns(())) :]
    assert dict(item_columns) == cases.expected_columns()
    assert not found.conflicts
    undecided = inferred_schema(inference, InferenceOptions(("id",)))
    assert len({conflict.path.rpartition("_")[0] for conflict in undecided.conflicts}) == 4


@pytest.mark.parametrize("native", [True, False])
def test_an_export(native: bool) -> None:
    block = b"".join(json.dumps({"Item": item}).encode() + b"\n" for item, _ in ITEMS)
    reader = ExportReader(COLUMNS, decisions=DECISIONS, native=require_reader(native))
    rows = reader.rows(block)
    assert without_nulls(rows.table.to_pylist()) == ACCEPTED
    refused = {item["id"]["S"] for item, row in ITEMS if row is None}
    assert {json.loads(line.line)["Item"]["id"]["S"] for line in rows.rejected} == refused
    assert all("(decided: " in line.reason for line in rows.rejected)
    if native:
        # So are a number that its column does not hold, and one that is written as DynamoDB never
        # writes it, where each becomes text.
        assert rows.exact_lines == len(refused) + 2


def test_the_current_view(tmp_path: Path) -> None:
    good = [item for item, row in ITEMS if row is not None]
    assert view_of(tmp_path, good, DECISIONS) == ACCEPTED


@pytest.mark.parametrize(
    "item", [item for item, row in ITEMS if row is None], ids=lambda item: item["id"]["S"]
)
def test_the_current_view_is_not_updated_by_a_refused_value(
    tmp_path: Path, item: dict[str, Any]
) -> None:
    with pytest.raises(RejectedChangeError, match=r"decided: (wider|refuse)"):
        view_of(tmp_path, [item], DECISIONS)


def view_of(
    folder: Path, items: list[dict[str, Any]], decisions: TypeDecisions
) -> list[dict[str, Any]]:
    source = opened(write_local_export(folder / "export", items))
    exports = Exports(full=source, key=("id",), decisions=decisions, known=tuple(COLUMNS))
    store = LocalStore(str(folder / "view"))
    manifest = update(store, lambda state: plan_exports(state, exports).request, here).manifest
    rows = [
        row for path in manifest.paths for row in pq.read_table(store.path + "/" + path).to_pylist()
    ]
    return without_nulls(rows)


PLACES = ("m", "l")
"""A map, and a list of maps, with each attribute inside."""


def nested(item: dict[str, Any]) -> dict[str, Any]:
    inside = {"M": {name: value for name, value in item.items() if name != "id"}}
    return {"id": item["id"], "m": inside, "l": {"L": [inside]}}


def nested_columns() -> list[Column]:
    fields = ",".join(f"{name}:{kind}" for name, kind in COLUMNS if name != "id")
    return [
        Column("id", "string"),
        Column("m", f"struct<{fields}>"),
        Column("l", f"array<struct<{fields}>>"),
    ]


NESTED = read_decisions(
    {
        f"{place}.{name}": decision
        for place in PLACES
        for name, (_, decision) in cases.ATTRIBUTES.items()
    }
)


def assert_nested(rows: list[dict[str, Any]]) -> None:
    expected = {row["id"]: row for _, row in ITEMS if row is not None}
    assert {row["id"] for row in rows} == expected.keys()
    for row in rows:
        for inside in (row["m"], row["l"][0]):
            found = {name: value for name, value in (inside or {}).items() if value is not None}
            assert {"id": row["id"], **found} == expected[row["id"]]


def test_the_types_of_fields() -> None:
    found = inferred_schema(
        infer_items(nested(item) for item, _ in ITEMS), InferenceOptions(("id",), {}, NESTED)
    )
    inferred = normalize_columns(found.columns)[0]
    fields = [sorted(parsed(kind).items()) for name, kind in inferred if name != "id"]
    assert fields == [sorted((n, k) for n, k in COLUMNS if n != "id")] * 2


def parsed(text: str) -> dict[str, str]:
    kind = parse_type(text)
    struct = kind.element if isinstance(kind, ArrayType) else kind
    assert isinstance(struct, StructType)
    return {name: str(inner) for name, inner in struct.fields}


@pytest.mark.parametrize("native", [True, False])
def test_fields_in_an_export(native: bool) -> None:
    lines = [json.dumps({"Item": nested(item)}).encode() for item, _ in ITEMS]
    columns = nested_columns()
    reader = ExportReader(columns, decisions=NESTED, native=require_reader(native))
    rows = reader.rows(b"\n".join(lines))
    assert_nested(rows.table.to_pylist())
    exact = ExactRows(columns, NESTED)
    by_id = {row["id"]: row for row in rows.table.to_pylist()}
    for line, (_, expected) in zip(lines, ITEMS, strict=True):
        if expected is None:
            with pytest.raises(RefusedValueError, match="decided"):
                exact.line(line)
        else:
            filled = pa.Table.from_pylist([exact.line(line)], rows.table.schema).to_pylist()
            assert filled == [by_id[expected["id"]]]


def test_fields_in_the_stream() -> None:
    """The documents of the streaming function, converted as Firehose does."""
    columns = nested_columns()
    rules = rules_of(TYPE_CONFLICTS=NESTED.text, DELIVERY_METADATA="false")
    changes = decode([stream_record(n, nested(item)) for n, (item, _) in enumerate(ITEMS)])
    decide(changes, rules, Target(covered_fields(columns), columns))
    refused = [change.problem is not None for change in changes]
    assert refused == [row is None for _, row in ITEMS]
    documents = [change.document for change in changes if change.document is not None]
    assert not any(change.lacks_column for change in changes)
    converted = convert(documents, columns, DELIVERY_OPTIONS)
    assert not converted.failures
    assert converted.parquet is not None
    assert_nested(pq.read_table(pa.BufferReader(converted.parquet)).to_pylist())


@pytest.mark.parametrize(
    ("before", "after", "columns", "row"),
    [
        # A column that exists keeps its type; values that it holds are rows, others are refused.
        ("bigint", "text", ["score bigint"], [{"score": 1}, None]),
        ("bigint", "refuse", ["score bigint"], [{"score": 1}, None]),
        ("string", "wider", ["score string"], [{"score": "1"}, None]),
        ("double", "wider", ["score double"], [{"score": 1.0}, None]),
        # Splitting needs a column that is new, and leaves the old one to the old rows.
        ("bigint", "split", ["score bigint"], [None, None]),
        (
            "bigint",
            "split",
            ["score bigint", "score__s string"],
            [None, {"score__s": "x"}],
        ),
        (
            "string",
            "split",
            ["score string", "score__n bigint", "score__s string"],
            [{"score__n": 1}, {"score__s": "x"}],
        ),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_a_decision_that_comes_after_the_column(
    before: str, after: str, columns: list[str], row: list[dict[str, Any] | None], native: bool
) -> None:
    decisions = read_decisions({"score": after})
    values = [{"N": "1"}, {"S": "x"}]
    lines = [json.dumps({"Item": {"score": value}}).encode() for value in values]
    named = [Column(*column.split(" ")) for column in columns]
    assert named[0].type == before
    reader = ExportReader(named, decisions=decisions, native=require_reader(native))
    for line, expected in zip(lines, row, strict=True):
        rows = reader.rows(line)
        found = [
            {name: value for name, value in each.items() if value is not None}
            for each in rows.table.to_pylist()
        ]
        assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize("kind", ["array<bigint>", "struct<b:bigint>", "map<string,bigint>"])
@pytest.mark.parametrize(
    ("path", "decision"),
    [
        *product(("a", "a[]", "a{}", "a.b"), ("text", "wider", "refuse")),
        *product(("a", "a.b"), ("split",)),
    ],
)
@pytest.mark.parametrize(
    "value",
    [{"L": 5}, {"L": None}, {"M": 5}, {"M": []}, {"M": {"b": {"L": 1}}}, {"SS": None}, {"NS": 5}],
)
def test_a_value_that_is_none_of_dynamodbs_is_rejected(
    value: Any, path: str, kind: str, decision: str
) -> None:
    columns = [("a", kind), ("a__s", "string"), ("a__n", "bigint")]
    reader = ExportReader(columns, decisions=read_decisions({path: decision}))
    rows = reader.rows(json.dumps({"Item": {"a": value, "a__s": 5}}).encode())
    assert [line.reason for line in rows.rejected] != []
