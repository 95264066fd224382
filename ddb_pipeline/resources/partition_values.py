"""Dagster's partition keys as values of the columns by which a dataset is partitioned.

The metadata entry ``partition_expr`` of an asset says which columns these are, as for Dagster's IO
managers for databases:

- text: the name of the one column; ``partition_key`` if there is no entry;
- for partitions in several dimensions, a mapping of each dimension to its column's name; a
  dimension without an entry is its own column;
- for time windows, a mapping of columns to formats of the window's start, such as
  ``{"day": "%Y-%m-%d", "hour": "%H"}``.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import dagster as dg

from ddb_pipeline.errors import DdbPipelineError

PARTITION_EXPR: Final = "partition_expr"
DEFAULT_COLUMN: Final = "partition_key"


class PartitionValuesError(DdbPipelineError):
    """A partition key has no values of partition columns; the message says what to declare."""


def partition_values(
    key: str, definition: dg.PartitionsDefinition[Any] | None, expression: Any
) -> dict[str, str]:
    """The values of the partition columns for a partition, in the columns' order.

    Args:
        key: the partition's key.
        definition: the asset's partitions; None if they are not known here.
        expression: the asset's ``partition_expr``; None if it has none.

    Raises:
        PartitionValuesError: the expression does not fit the partitions.
    """
    if isinstance(definition, dg.MultiPartitionsDefinition):
        columns = {} if expression is None else expression
        if not isinstance(columns, Mapping):
            raise PartitionValuesError(
                f"{PARTITION_EXPR} is {expression!r}, but the partitions have the dimensions "
                f"{', '.join(sorted(definition.partition_dimension_names))}. Give a mapping of "
                "each dimension to its column."
            )
        keys = definition.get_partition_key_from_str(key).keys_by_dimension
        return {str(columns.get(name, name)): keys[name] for name in sorted(keys)}
    if isinstance(expression, Mapping):
        if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
            raise PartitionValuesError(
                f"{PARTITION_EXPR} is {dict(expression)!r}, but the partitions are no time "
                "windows. Give the name of one column."
            )
        start = definition.time_window_for_partition_key(key).start
        return {str(name): start.strftime(form) for name, form in expression.items()}
    return {DEFAULT_COLUMN if expression is None else str(expression): key}


def partition_folder(values: Mapping[str, str]) -> str:
    """The folder of a partition, as Hive names it: ``day=2026-11-24/hour=09``."""
    return "/".join(f"{folder_name(name)}={quote(values[name], safe='')}" for name in values)


def folder_name(text: str) -> str:
    """Text as the name of one folder, in which nothing has a meaning for a file system."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if set(quoted) <= {"."} else quoted
