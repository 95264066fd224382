"""Lambda: a Glue table changed, bring its column types to what Firehose accepts."""

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from ddb_pipeline.glue.catalog import CatalogError, TableNotFoundError, TableReference
from ddb_pipeline.glue.repair import Repair, changed_tables, fix_table, watched

TABLES_VARIABLE = "WATCHED_TABLES"


class SettingsError(Exception):
    """The function's environment is not usable; the message names the variable."""


def watched_tables(environment: Mapping[str, str]) -> tuple[TableReference, ...]:
    """``WATCHED_TABLES``: ``database.table`` or ``database.*``, separated by commas.

    Raises:
        SettingsError: the variable is missing or an entry has no database.
    """
    text = environment.get(TABLES_VARIABLE, "").strip()
    if not text:
        raise SettingsError(
            f"{TABLES_VARIABLE} is not set. Give the tables to keep valid, "
            "as database.table or database.*, separated by commas."
        )
    references = []
    for entry in text.split(","):
        database, _, name = entry.strip().partition(".")
        if not database or not name:
            raise SettingsError(f"{TABLES_VARIABLE}: {entry.strip()!r} is not database.table.")
        references.append(TableReference(database, name))
    return tuple(references)


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Fix the tables an EventBridge event names; a table deleted meanwhile needs no fix.

    Raises:
        CatalogError: of the first table that could not be fixed; the others have been.
    """
    tables = watched(changed_tables(event), watched_tables(os.environ))
    if not tables:
        return {"fixed": [], "checked": 0}
    glue = boto3.client("glue")
    repairs: list[Repair] = []
    errors: list[CatalogError] = []
    for table in tables:
        try:
            repairs.append(fix_table(glue, table))
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
    """One JSON line per table for CloudWatch Logs."""
    for repair in repairs:
        line = {
            "message": "schema fixed" if repair.written else "schema already valid",
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
