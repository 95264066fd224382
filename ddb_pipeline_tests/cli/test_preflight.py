"""``ddb-pipeline preflight`` on JSON lines, exports and tables."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from moto import mock_aws

from ddb_pipeline.cli.main import cli
from ddb_pipeline.cli.preflight import checked
from ddb_pipeline.cli.schema_file import read_schema_file
from ddb_pipeline.config.settings import load_settings
from ddb_pipeline.conversion.preflight_report import Verdict
from ddb_pipeline.demo.search_logs import SearchLogs
from ddb_pipeline.demo.traffic import write_items
from ddb_pipeline.embedded.process import stop
from ddb_pipeline.export.layout import write_export
from ddb_pipeline.export.lines import MAX_LINE_BYTES
from ddb_pipeline.export.read import read_item_lines
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.export_bucket import export_of_one_file
from ddb_pipeline_tests.support.sensor_ticks import MockAccount

COLUMNS = {"id": "string", "n": "bigint", "tags": "array<string>"}
LINES = b'{"id":"a","n":1}\n\n{"id":"b","n":"x"}\n{"id":"c","new":true}\n'


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(COLUMNS))
    return path


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["preflight", *map(str, arguments)], input=stdin)


def findings(result: Result) -> dict[tuple[str, str], int]:
    found = json.loads(result.stdout)["findings"]
    return {(f["verdict"], f["path"]): f["documents"] for f in found}


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.jsonl.gz"])
def test_json_lines(tmp_path: Path, schema: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES) if name.endswith(".gz") else LINES)
    result = run(path, "--schema", schema, "--json")
    assert result.exit_code == 1
    assert findings(result) == {("refused", "n"): 1, ("dropped", "new"): 1}
    report = json.loads(result.stdout)
    assert (report["documents"], report["refused"], report["dropped"]) == (3, 1, 1)
    assert report["findings"][0]["examples"] == [
        {"document": "line 3", "value": '"x"', "result": 'For input string: "x"'}
    ]


def test_standard_input_and_sample(schema: Path) -> None:
    result = run("-", "--schema", schema, "--sample", "1", stdin=LINES)
    assert result.exit_code == 0
    assert "1 document(s) of -" in result.stdout
    assert "Every document becomes a row" in result.stdout


def test_blanks_in_a_line_of_an_export(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{ "Item" : {"id":{"S":"a"},"n":{"N":"1"}}}\n\t{"Item":{"id":{"S":"b"}}}\n')
    result = run(path, "--schema", schema, "--json")
    assert (result.exit_code, findings(result)) == (0, {})


@pytest.mark.parametrize(
    ("decision", "found"),
    [
        ("refuse", {("refused", "n"): 1}),
        ("split", {("dropped", "n__n"): 1, ("dropped", "n__s"): 1}),
        ("text", {("refused", "n"): 1}),
    ],
)
def test_decisions(
    tmp_path: Path, schema: Path, decision: str, found: dict[tuple[str, str], int]
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(
        b'{"Item":{"id":{"S":"a"},"n":{"N":"1"}}}\n{"Item":{"id":{"S":"b"},"n":{"S":"x"}}}\n'
    )
    result = run(path, "--schema", schema, "--json", "--decide", f"n={decision}")
    assert (result.exit_code, findings(result)) == (1, found)


@pytest.mark.parametrize("option", ["n", "n=number", "n[]=split"])
def test_decisions_that_are_not_valid(schema: Path, option: str) -> None:
    result = run("-", "--schema", schema, "--decide", option)
    assert result.exit_code == 2
    assert "--decide" in result.output


@pytest.mark.parametrize("document", [{"id": "a"}, [{"id": "a"}]])
def test_a_document_on_several_lines(schema: Path, document: Any) -> None:
    result = run("-", "--schema", schema, stdin=b"\n" + json.dumps(document, indent=1).encode())
    assert result.exit_code == 1
    assert "Line 2 is no JSON document" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_document_that_is_nested_deep(schema: Path) -> None:
    result = run("-", "--schema", schema, "--json", stdin=b'{"Item":' * 100_000)
    assert findings(result) == {("refused", "(document)"): 1}


def test_report_as_text(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(LINES + b'{"id":"\\u001b[31m","n":"\\u001b[0m"}\n')
    result = run(path, "--schema", schema)
    assert result.exit_code == 1
    assert "refused n: a string in place of bigint (2)" in result.stdout
    assert 'line 3: "x" → For input string: "x"' in result.stdout
    assert "dropped new: there is no column for it (1)" in result.stdout
    assert "No value seen for: tags." in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere/docs.jsonl", "--schema", "S"],
            "nor a DynamoDB table's name",
        ),
        (["S"], "--catalog-table and --schema"),
        (
            ["S", "--schema", "S", "--catalog-table", "a.b"],
            "Give one of --catalog",
        ),
        (["S", "--catalog-table", "nothing"], "not database.table"),
        (["EMPTY", "--schema", "S"], "holds no documents"),
        (["FOLDER", "--schema", "S"], "does not exist. Give the export"),
        (["S", "--schema", "EMPTY"], "is not JSON"),
    ],
)
def test_invalid_arguments_and_sources(
    tmp_path: Path, schema: Path, arguments: list[str], message: str
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    paths = {"S": schema, "EMPTY": empty, "FOLDER": tmp_path}
    result = run(*(paths.get(argument, argument) for argument in arguments))
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_export(tmp_path: Path, schema: Path) -> None:
    objects: dict[str, bytes] = {}
    items: list[dict[str, Any]] = [
        {"id": {"S": "a"}, "n": {"N": "1"}, "tags": {"SS": ["x", "y"]}},
        {"id": {"S": "b"}, "n": {"N": "1.5"}, "tags": {"NS": ["1"]}},
        {"id": {"S": "c"}, "n": {"N": "nothing"}},
    ]
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    arn = "arn:aws:dynamodb:eu-west-1:000000000000:table/logs"
    write_export(
        items, objects.__setitem__, table_arn=arn, bucket="b", prefix="some", export_time=moment
    )
    for key, body in objects.items():
        path = tmp_path / "copied" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (summary,) = (tmp_path / "copied").rglob("manifest-summary.json")
    result = run(summary.parent, "--schema", schema, "--json")
    assert sorted(
        (finding["reason"], finding["path"]) for finding in json.loads(result.stdout)["findings"]
    ) == [
        ("a number with fraction or exponent in place of bigint", "n"),
        ("undecodable: N holds text that is not a number", "n"),
    ]


def test_lines_that_cannot_be_read_are_reported_and_the_others_checked(schema: Path) -> None:
    body = gzip.compress(b'{"Item":{"id":{"S":"a"}}}\n{\n5\n{"a":1}\n{"Item":{"id":{"N":"1"}}}\n')
    objects, file = export_of_one_file(body, item_count=5)
    found = [(f"line {n}", item) for n, item in read_item_lines(objects.open, file)]
    report = checked(read_schema_file(schema), found)
    assert (report.documents, report.refused, report.dropped, report.coerced) == (5, 3, 0, 1)
    assert sorted(f.reason for f in report.findings if f.verdict is Verdict.REFUSED) == [
        "cannot be read: it holds no Item",
        "cannot be read: it is not JSON: Expecting property name enclosed in double quotes: line 1 "
        "column 2 (char 1)",
        "cannot be read: it is not a JSON object",
    ]
    long = b'{"id":"' + b"x" * MAX_LINE_BYTES + b'"}\n{"id":"b"}\n'
    result = run("-", "--schema", schema, "--json", stdin=long)
    counts = json.loads(result.stdout)
    assert (counts["documents"], counts["refused"]) == (2, 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("preflight")
    yield home
    stop(home / "embedded")


@pytest.mark.embedded
def test_a_table_against_the_catalog(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f'home = "{home}"\n[[pipelines]]\nname = "checked"\nbucket = "checked-lake"\n'
        'schema_fix = "dagster"\n'
    )
    monkeypatch.setenv("DDB_PIPELINE_CONFIG", str(config))
    cloud = CloudResource.of(load_settings())
    write_items(cloud.dynamodb, "checked", SearchLogs(1, b"k" * 32).items(60, 1_780_000_000.0))
    runner: Callable[..., Result] = CliRunner().invoke
    assert runner(cli, ["crawl", "checked", "checked", "--scan-all"]).exit_code == 0
    before = run("checked", "--catalog-table", "checked.checked", "--json")
    refused = [p for (verdict, p) in findings(before) if verdict == Verdict.REFUSED.value]
    assert before.exit_code == 1
    assert refused
    assert json.loads(before.stdout)["refused"] == 60
    assert runner(cli, ["fix", "checked", "checked"]).exit_code == 0
    after = run("checked", "--catalog-table", "checked.checked", "--all")
    assert after.exit_code == 0, after.output
    assert "60 document(s) of checked" in after.stdout
    missing = run("no-such-table", "--catalog-table", "checked.checked")
    assert "does not exist" in str(missing.exception)


SECRET = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:key-aaaaaa"


def test_a_report_shows_no_value_that_the_function_redacts(
    schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pipeline.toml"
    config.write_text(
        '[[pipelines]]\nname = "redacted"\nbucket = "redacted-lake"\n'
        '[pipelines.function_settings]\nDROP_ATTRIBUTES = "secret"\n'
        'PSEUDONYMISE_ATTRIBUTES = "log_id, user.mail"\n'
        f'PSEUDONYM_KEY_SECRET_ARN = "{SECRET}"\n'
    )
    monkeypatch.setenv("DDB_PIPELINE_CONFIG", str(config))
    monkeypatch.setenv("DDB_PIPELINE_TARGET", "aws")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    marker = "marker-7391"
    item: Any = {
        "log_id": {"S": marker},
        "secret": {"S": marker},
        "user": {"M": {"mail": {"S": marker}, "age": {"N": "7"}}},
        "n": {"S": "shown"},
    }
    with mock_aws():
        account = MockAccount(load_settings().pipelines[0])
        account.cloud.dynamodb.put_item(TableName=account.pipeline.dynamodb_table, Item=item)
        for options in (["--json"], []):
            result = run(account.pipeline.dynamodb_table, "--schema", schema, *options)
            assert "shown" in result.stdout
            assert marker not in result.output
