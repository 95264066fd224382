"""What ``ddb-pipeline deploy`` and ``remove`` print about stacks."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ddb_pipeline.config.names import catalog_tables
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.estate import Outcome, StackResult
from ddb_pipeline.deploy.stack import ResourceChange

SIGNS = {"Add": "+", "Remove": "-", "Modify": "~"}


def result_text(result: StackResult, *, in_full: bool = False) -> str:
    """A stack's deployment: a line, and with ``in_full`` one for each resource and output."""
    lines = [f"{result.stack}: {_headline(result)}"]
    if in_full:
        lines += [f"  {_change_text(change)}" for change in result.changes]
        lines += [f"  {key}: {value}" for key, value in sorted((result.outputs or {}).items())]
    else:
        lines += [f"  {_change_text(change)}" for change in result.changes if _is_replaced(change)]
    return "\n".join(lines)


def _headline(result: StackResult) -> str:
    if result.reason:
        return f"{result.outcome.value}: {result.reason}"
    if not result.changes:
        return result.outcome.value
    counts = Counter(SIGNS.get(change.action, "?") for change in result.changes)
    numbers = ", ".join(f"{sign}{count}" for sign, count in sorted(counts.items()))
    if result.outcome is Outcome.PLANNED:
        verb = "would be created" if result.creates else "would be changed"
        return f"{verb} ({numbers} resources)"
    return f"{result.outcome.value} ({numbers} resources)"


def _change_text(change: ResourceChange) -> str:
    replaced = "  (REPLACED)" if _is_replaced(change) else ""
    sign = SIGNS.get(change.action, "?")
    return f"{sign} {change.logical_id:<28} {change.resource_type}{replaced}"


def _is_replaced(change: ResourceChange) -> bool:
    return change.replacement == "True"


def summary_text(results: Sequence[StackResult]) -> str:
    """How many stacks had which outcome, and what to do about those that failed."""
    counts = Counter(result.outcome for result in results)
    text = ", ".join(f"{counts[each]} {each.value}" for each in Outcome if counts[each])
    changed = Counter(
        f"{SIGNS.get(change.action, '?')} {change.resource_type}"
        for result in results
        for change in result.changes
    )
    lines = [f"{len(results)} stack(s): {text}."]
    if len(results) > 1:
        lines += [f"  {count:>5} × {what}" for what, count in sorted(changed.items())]
    if counts[Outcome.FAILED] or counts[Outcome.NOT_BEGUN]:
        lines.append("Correct what failed and run the same command again; it continues from here.")
    return "\n".join(lines)


def result_json(result: StackResult) -> dict[str, Any]:
    """A stack's deployment as a JSON object."""
    return {
        "stack": result.stack,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "changes": [
            {
                "action": change.action,
                "resource": change.logical_id,
                "type": change.resource_type,
                "replaced": _is_replaced(change),
            }
            for change in result.changes
        ],
        "outputs": dict(result.outputs or {}),
    }


def removal_text(pipeline: PipelineConfig) -> str:
    """What the removal of a pipeline deletes, and what stays."""
    tables = ", ".join(str(table) for table in catalog_tables(pipeline))
    return (
        f"{pipeline.stack}: deletes the functions, the delivery stream, the crawler, queues, "
        "rules, roles, alarms and logs of the stack.\n"
        f"  Stays: the DynamoDB table {pipeline.dynamodb_table}, the objects under "
        f"{pipeline.lake.uri()}, the database {pipeline.database} and its tables ({tables}).\n"
        f"{_to_come_back(pipeline)}"
    )


def _to_come_back(pipeline: PipelineConfig) -> str:
    """What the configuration needs so that the pipeline can be deployed again."""
    settings = {
        "existing_table": pipeline.existing_table or bool(pipeline.stream_arn),
        "existing_bucket": pipeline.existing_bucket,
        "existing_database": pipeline.existing_database,
    }
    missing = [f"{name} = true" for name, is_set in settings.items() if not is_set]
    if not missing:
        return "  deploy brings it back."
    return f"  To bring it back, set {', '.join(missing)}, then deploy."
