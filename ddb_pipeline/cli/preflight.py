"""``ddb-pipeline preflight``: what Firehose would do with data, before anything is deployed."""

import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click
import pyarrow.fs
from botocore.exceptions import ClientError

from ddb_pipeline.cli.decide_option import decide_option
from ddb_pipeline.cli.locations import S3, filesystem_and_path
from ddb_pipeline.cli.regions import cloud_of_catalog_table, cloud_of_table
from ddb_pipeline.cli.schema_file import read_schema_file
from ddb_pipeline.config.pipeline import DYNAMODB_NAME
from ddb_pipeline.config.settings import Settings, load_settings
from ddb_pipeline.conversion.preflight import Preflight
from ddb_pipeline.conversion.preflight_report import Finding, PreflightReport, Verdict
from ddb_pipeline.dynamodb.decided_items import DecidedItems, RefusedValueError
from ddb_pipeline.dynamodb.scan import plan_scan, scan_pages
from ddb_pipeline.dynamodb.stream import (
    DocumentOptions,
    StreamRecord,
    UndecodableRecordError,
    change_document,
)
from ddb_pipeline.dynamodb.targets import Target
from ddb_pipeline.dynamodb.values import Item, Writing, item_json
from ddb_pipeline.export.lines import RejectedLine, whole_lines
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.read import read_item_lines
from ddb_pipeline.export.source import open_export
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.stream_settings import read_redaction
from ddb_pipeline.glue.catalog import TableReference, read_table
from ddb_pipeline.glue.crawled_table import dynamodb_error, key_attributes
from ddb_pipeline.hive.coverage import covered_fields
from ddb_pipeline.hive.names import DELIVERY_NAMES
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.hive.undecodable import UndecodableValueError

DEFAULT_SAMPLE = 10_000
STANDARD_INPUT = "-"
READ_BYTES = 1024 * 1024
EXPORTED = re.compile(rb'\{\s*"Item"\s*:').match
"""Whether a line begins like one of an export."""
PRETTY_PRINTED = (b"{", b"[", b"[{")
"""Lines with which documents on several lines begin."""

Sample = tuple[str, bytes | Item | RejectedLine]
"""Its label in the report, and a document as Firehose receives it, an item, or a line that holds
neither."""

VERDICT_COLOURS: Mapping[Verdict, str] = {
    Verdict.REFUSED: "red",
    Verdict.DROPPED: "yellow",
    Verdict.COERCED: "cyan",
}
MEANINGS: Mapping[Verdict, str] = {
    Verdict.REFUSED: "the record becomes an error object instead of rows",
    Verdict.DROPPED: "Firehose omits the value silently; the streaming function holds such records",
    Verdict.COERCED: "the value is changed",
}


class PreflightSourceError(click.ClickException):
    """The source cannot be read; the message says why and what to do."""


@click.command()
@click.argument("source")
@click.option("--catalog-table", metavar="DATABASE.TABLE", help="Glue table that has the columns.")
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of column names and Hive types, or of Glue's GetTable response.",
)
@click.option(
    "--sample",
    default=DEFAULT_SAMPLE,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of documents to check.",
)
@click.option("--all", "everything", is_flag=True, help="Check all documents.")
@decide_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def preflight(
    source: str,
    catalog_table: str | None,
    schema: Path | None,
    sample: int,
    everything: bool,
    decide: TypeDecisions,
    as_json: bool,
) -> None:
    """Report what Firehose would refuse, drop or change in SOURCE.

    SOURCE is the name of a DynamoDB table, the folder of an export (the one with
    manifest-summary.json), a file of JSON lines, also with gzip, or - for standard input. Folders
    and files are local paths or s3:// URLs. The columns come from --catalog-table or --schema.

    Items are converted to documents as the streaming function does, and documents to rows as
    Firehose's OpenX JSON SerDe does. Nothing is written.

    The exit status is 1 if anything would be refused or dropped.
    """
    columns = schema_columns(catalog_table, schema)
    limit = None if everything else sample
    report = checked(columns, islice(samples(source, limit), limit), decide)
    if not report.documents:
        raise PreflightSourceError(f"{source} holds no documents, so nothing could be checked.")
    text = report_json if as_json else report_text
    click.echo(text(report, source, catalog_table or str(schema)))
    if not report.clean:
        sys.exit(1)


def checked(
    columns: Sequence[Column], found: Iterable[Sample], decisions: TypeDecisions = NO_DECISIONS
) -> PreflightReport:
    """What Firehose would do with the samples."""
    check = Preflight(columns)
    decided = DecidedItems(decisions, columns)
    write = document_writer(columns)
    for label, document in found:
        if isinstance(document, RejectedLine):
            check.refuse(label, document.path, f"cannot be read: {document.reason}")
            continue
        if isinstance(document, bytes):
            check.check(document, label)
            continue
        try:
            item = decided.item(document)
            check.check(write(item), label, item)
        except RefusedValueError as error:
            check.refuse(label, error.path, f"refused: {error.reason}")
        except (UndecodableRecordError, UndecodableValueError) as error:
            check.refuse(label, error.path, f"undecodable: {error.reason}")
    return check.report()


def schema_columns(catalog_table: str | None, schema: Path | None) -> tuple[Column, ...]:
    """The columns to check against, without partition columns, which Firehose does not convert.

    Raises:
        click.UsageError: not exactly one of the two options is given, or it is malformed.
    """
    if (catalog_table is None) == (schema is None):
        raise click.UsageError("Give one of --catalog-table and --schema.")
    if schema is not None:
        return read_schema_file(schema)
    database, _, name = (catalog_table or "").partition(".")
    if not database or not name:
        raise click.UsageError(f"{catalog_table!r} is not database.table.")
    reference = TableReference(database, name)
    return read_table(cloud_of_catalog_table(load_settings(), reference).glue, reference).columns


def document_writer(columns: Sequence[Column]) -> Callable[[Item], bytes]:
    """Writes documents of items as the streaming function does for a table with these columns."""
    names = {column.name for column in columns}
    options = DocumentOptions(metadata=names.issuperset(DELIVERY_NAMES))
    writing = Writing(Target(covered_fields(columns)))

    def write(item: Item) -> bytes:
        change = StreamRecord(
            event_id="0" * 32,
            event_name="INSERT",
            sequence_number="0" * 21,
            event_time=int(time.time()),
            table="",
            expired=False,
            keys={},
            new_image=item,
            old_image=None,
        )
        return change_document(change, options, writing) or b""

    return write


def samples(source: str, limit: int | None) -> Iterator[Sample]:
    """The samples of a source, in its order. The caller takes at most ``limit``; None for all.

    Raises:
        PreflightSourceError: the source cannot be read.
    """
    if source == STANDARD_INPUT:
        yield from lines(sys.stdin.buffer)
        return
    if not source.startswith(S3) and not Path(source).exists():
        yield from table_items(source, limit)
        return
    filesystem, path = filesystem_and_path(source)
    info = filesystem.get_file_info(path)
    if info.is_file:
        with filesystem.open_input_stream(path) as stream:
            yield from lines(stream)
    elif info.type == pyarrow.fs.FileType.Directory:
        yield from export_items(filesystem, path)
    else:
        raise PreflightSourceError(f"{source} does not exist.")


def lines(stream: BinaryIO) -> Iterator[Sample]:
    """JSON lines: lines of an export (``{"Item": {...}}``) as items, others as documents."""
    number = 0
    for block, too_long in whole_lines(iter(lambda: stream.read(READ_BYTES), b"")):
        for line in block.splitlines():
            number += 1
            text = line.strip()
            if text in PRETTY_PRINTED:
                raise PreflightSourceError(
                    f"Line {number} is no JSON document, but the beginning of one on several "
                    "lines. Write each document on one line, as jq -c does."
                )
            if text:
                item = export_line_item(text) if EXPORTED(text) else None
                yield f"line {number}", text if item is None else item
        for rejected in too_long:
            number += 1
            yield f"line {number}", rejected


def export_line_item(line: bytes) -> Item | None:
    """The item of an export's line; None for a document that only begins like one."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    item = document.get("Item") if len(document) == 1 else None
    return item if isinstance(item, dict) else None


def export_items(filesystem: pyarrow.fs.FileSystem, folder: str) -> Iterator[Sample]:
    """The items of a full export and the lines without one; its folder may be a copy."""
    try:
        open_object, export = open_export(filesystem, folder)
        for file in export.files:
            found = read_item_lines(open_object, file, export.summary.output_format)
            for number, item in found:
                yield f"{file.key.rpartition('/')[2]} line {number}", item
    except ExportError as error:
        raise PreflightSourceError(str(error)) from error


def table_items(table: str, limit: int | None) -> Iterator[Sample]:
    """The items of a DynamoDB table, scanned in segments within the table's read capacity.

    They are redacted as the streaming function does, so that the report shows no such value.
    """
    if not re.match(DYNAMODB_NAME, table):
        raise PreflightSourceError(
            f"{table} is neither a file or folder nor a DynamoDB table's name."
        )
    settings = load_settings()
    redaction = table_redaction(settings, table)
    dynamodb = cloud_of_table(settings, table).dynamodb
    try:
        description: Any = dynamodb.describe_table(TableName=table)["Table"]
        plan = plan_scan(description, scan_all=limit is None, scan_rate=None)
        # The sample's limit ends the scan, not a number of pages.
        plan = replace(plan, pages_per_segment=None)
        keys = key_attributes(description)
        for page in scan_pages(dynamodb, table, plan):
            for item in page:
                shown = redaction.keys({name: item[name] for name in keys})
                yield item_json(shown), redaction.image(item)
    except ClientError as error:
        raise dynamodb_error(error, table) from error


def table_redaction(settings: Settings, table: str) -> Redaction:
    """What the pipelines of a table redact, with a key of pseudonyms that nobody knows."""
    variables = [
        {setting.value: text for setting, text in pipeline.function_settings.items()}
        for pipeline in settings.pipelines
        if pipeline.dynamodb_table == table
    ]
    key = secrets.token_bytes(32)
    each = [read_redaction(environment, key) for environment in variables]
    return Redaction(
        tuple(path for redaction in each for path in redaction.dropped),
        tuple(path for redaction in each for path in redaction.pseudonymised),
        key,
    )


def report_json(report: PreflightReport, source: str, under: str) -> str:
    """The report as one JSON object."""
    findings = [
        {
            "verdict": finding.verdict.value,
            "column": finding.column,
            "path": finding.path,
            "reason": finding.reason,
            "documents": finding.documents,
            "examples": [example._asdict() for example in finding.examples],
        }
        for finding in report.findings
    ]
    return json.dumps({**asdict(report), "source": source, "schema": under, "findings": findings})


def report_text(report: PreflightReport, source: str, under: str) -> str:
    """The report as text: totals, then each finding with examples."""
    text = [f"{report.documents:,} document(s) of {source} under {under}:"]
    counts = {
        Verdict.REFUSED: report.refused,
        Verdict.DROPPED: report.dropped,
        Verdict.COERCED: report.coerced,
    }
    for verdict, count in counts.items():
        text.append(f"  {verdict.value:<8} {count:>8,}   {MEANINGS[verdict]}")
    for finding in report.findings:
        text += finding_lines(finding)
    if report.absent:
        text.append(f"No value seen for: {', '.join(report.absent)}.")
    if report.clean:
        text.append("Every document becomes a row and no value is dropped.")
    return "\n".join(text)


def finding_lines(finding: Finding) -> list[str]:
    """A finding as text: verdict, path, reason, number of documents, and examples."""
    verdict = click.style(finding.verdict.value, fg=VERDICT_COLOURS[finding.verdict])
    found = [f"{verdict} {printable(finding.path)}: {finding.reason} ({finding.documents:,})"]
    for example in finding.examples:
        arrow = f" → {printable(example.result)}" if example.result else ""
        found.append(f"    {printable(example.document)}: {printable(example.value)}{arrow}")
    return found


def printable(text: str) -> str:
    """Text from the data with control characters escaped, so that no terminal interprets them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
