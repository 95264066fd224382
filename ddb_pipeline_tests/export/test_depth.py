"""Items that nest deeper than DynamoDB's 32 levels: rows or lines with a reason on every path."""

import json
from typing import Any

import pytest

from ddb_pipeline.conversion.convert import convert
from ddb_pipeline.conversion.options import DELIVERY_OPTIONS
from ddb_pipeline.conversion.preflight import Preflight
from ddb_pipeline.dynamodb.values import item_json
from ddb_pipeline.export.ion import ion_as_json
from ddb_pipeline.export.lines import Lines
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.reader import ExportReader
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline_tests.support.stream_events import Function, stream_record

STRINGS = (("id", "string"), ("m", "string"))
LEVELS = (*range(30, 36), *range(44, 68), 100, 127, 130, 200, 350, 1000)


def nested(levels: int, kinds: str) -> dict[str, Any]:
    """A value in this many maps (M) and lists (L), of which the kinds take turns."""
    value: dict[str, Any] = {"SS": ["x"]}
    for level in range(levels - 1):
        is_map = kinds[level % len(kinds)] == "M"
        value = {"M": {"a": value}} if is_map else {"L": [value]}
    return value


def ion_text(value: dict[str, Any]) -> str:
    [(tag, content)] = value.items()
    if tag == "SS":
        return '$dynamodb_SS::["x"]'
    inside = [content["a"]] if tag == "M" else content
    text = ",".join(map(ion_text, inside))
    return f"{{a:{text}}}" if tag == "M" else f"[{text}]"


@pytest.mark.parametrize("kinds", ["M", "L", "ML", "LLM"])
def test_an_export_s_line_is_a_row_or_rejected(kinds: str) -> None:
    for levels in LEVELS[:-2]:
        item = {"id": {"S": "k"}, "m": nested(levels, kinds)}
        line = json.dumps({"Item": item}).encode()
        ion = f'$ion_1_0 {{Item:{{id:"k",m:{ion_text(item["m"])}}}}}'.encode()
        from_ion = ion_as_json(Lines(ion))
        inference = ExportInference()
        refused = inference.add(line)
        schema = inferred_schema(inference.inference)
        assert bool(schema.columns) == (not refused) == (levels < 50)
        columns = [(c.name, c.type.replace("set<", "array<")) for c in schema.columns]
        for block, rejected_before in ((line, 0), (from_ion.block, len(from_ion.rejected))):
            for chosen in (STRINGS, columns or STRINGS):
                rows = ExportReader(chosen).rows(block)
                reasons = [each.reason for each in (*rows.rejected, *from_ion.rejected)]
                assert rows.table.num_rows + len(rows.rejected) + rejected_before == 1, levels
                assert rows.table.num_rows == (levels < 50), levels
                assert all("32 levels" in reason for reason in reasons)


@pytest.mark.parametrize("kinds", ["M", "L", "ML"])
def test_a_stream_record_is_a_document_or_a_dead_letter(kinds: str) -> None:
    for levels in LEVELS[:-2]:
        function = Function()
        assert function([stream_record(1, {"m": nested(levels, kinds)})]) == ""
        documents = [d for data in function.firehose.accepted["s"] for d in data.splitlines()]
        assert len(documents) + len(function.s3.letters()) == 1
        for document in documents:
            converted = convert([document], STRINGS, DELIVERY_OPTIONS)
            assert converted.rows + len(converted.failures) == 1
            assert all(failure.code for failure in converted.failures)


def test_preflight_reports_what_the_conversion_refuses() -> None:
    for levels in LEVELS[:-1]:
        document = item_json({"m": nested(levels, "ML")}).encode()
        preflight = Preflight([])
        preflight.check(document, "deep")
        report = preflight.report()
        assert report.documents == 1
        assert (report.refused, report.dropped) == ((1, 0) if levels > 399 else (0, 1))
