"""Lambda function: gives a changed Glue table the column types that Firehose accepts."""

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from ddb_pipeline.functions.environment import SettingsError, table_reference, text_of
from ddb_pipeline.glue.catalog import CatalogError, TableNotFoundError, TableReference
from ddb_pipeline.glue.repair import Repair, changed_tables, fix_table, watched
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions, read_decisions

TABLES_VARIABLE = "WATCHED_TABLES"
DECISIONS_VARIABLE = "TYPE_CONFLICTS"


def watched_tables(environment: Mapping[str, str]) -> tuple[TableReference, ...]:
    """The tables of ``WATCHED_TABLES``: ``database.table`` or ``database.*``, separated by commas.

    Raises:
        SettingsError: the variable is missing, or an entry has no database or no table.
    """
    text = text_of(environment, TABLES_VARIABLE)
    if not text:
        raise SettingsError(
            f"{TABLES_VARIABLE} is not set. Give the tables to keep valid, "
            "as database.table or database.*, separated by commas."
        )
    return tuple(table_reference(TABLES_VARIABLE, entry.strip()) for entry in text.split(","))


def table_decisions(environment: Mapping[str, str]) -> Mapping[TableReference, TypeDecisions]:
    """The decisions of ``TYPE_CONFLICTS``: JSON, by ``database.table`` and by path.

    Raises:
        SettingsError: it is of another form, or a decision is not valid.
    """
    text = text_of(environment, DECISIONS_VARIABLE)
    try:
        found = json.loads(text) if text else {}
        return {
            table_reference(DECISIONS_VARIABLE, name): read_decisions(by_path)
            for name, by_path in found.items()
        }
    except (ValueError, AttributeError) as error:
        raise SettingsError(f"{DECISIONS_VARIABLE} has no decisions by table: {error}.") from error


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Fix the watched tables of an EventBridge event; one deleted since then needs no fix.

    Raises:
        SettingsError: ``WATCHED_TABLES`` is missing or wrong, or ``TYPE_CONFLICTS`` is wrong.
        CatalogError: a table could not be fixed. The others are fixed before it is raised.
    """
    tables = watched(changed_tables(event), watched_tables(os.environ))
    if not tables:
        return {"fixed": [], "checked": 0}
    decisions = table_decisions(os.environ)
    glue = boto3.client("glue")
    repairs: list[Repair] = []
    errors: list[CatalogError] = []
    for table in tables:
        try:
            repairs.append(fix_table(glue, table, decisions.get(table, NO_DECISIONS)))
        except TableNotFoundError:
            continue
        except CatalogError as error:
            errors.append(error)
    log(repairs, str(event.get("id", "")))
    if errors:
        # Lambda invokes the function again with the same event.
        raise errors[0]
    return {"fixed": [str(r.table) for r in repairs if r.written], "checked": len(tables)}


def log(repairs: list[Repair], event_id: str) -> None:
    """Print one JSON line per table for CloudWatch Logs."""
    for repair in repairs:
        valid = f"left alone: {repair.left_alone}" if repair.left_alone else "schema already valid"
        line = {
            "message": "schema fixed" if repair.written else valid,
            "event_id": event_id,
            "table": str(repair.table),
            "version_before": repair.version_before,
            "version_after": repair.version_after,
            "changes": [
                {"column": c.column, "path": c.path, "before": c.before, "after": c.after}
                for c in repair.changes
            ],
        }
        print(json.dumps(line))  # noqa: T201 - Lambda's stdout is CloudWatch Logs
