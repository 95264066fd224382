"""``[pipelines.type_conflicts]``: decisions about attributes whose values have several types."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from ddb_pipeline.hive.infer import TypeConflict
from ddb_pipeline.hive.names import column_name
from ddb_pipeline.hive.type_decisions import (
    ELEMENTS,
    VALUES,
    Decision,
    TypeDecisionError,
    TypeDecisions,
    configuration_line,
    read_decisions,
)

LONGEST_DECISIONS: Final = 1500
"""Characters of all decisions about types. A function's environment has 4 KB (AWS Lambda quotas),
of which its other settings take the larger part."""


def decisions_of(type_conflicts: Mapping[str, Decision]) -> TypeDecisions:
    """The decisions of a configuration.

    Raises:
        TypeDecisionError: a path is not valid, two decisions contradict each other, or they are too
            many for a function.
    """
    return _decisions_of(tuple(type_conflicts.items()))


@lru_cache(maxsize=1024)
def _decisions_of(type_conflicts: tuple[tuple[str, Decision], ...]) -> TypeDecisions:
    found = read_decisions({path: decision.value for path, decision in type_conflicts})
    if len(found.text) > LONGEST_DECISIONS:
        raise TypeDecisionError(
            f"the decisions take {len(found.text):,} characters, and a function's environment has "
            f"room for {LONGEST_DECISIONS:,} of them. Decide about the map that holds the "
            "attributes, or give attributes of new items other names"
        )
    return found


def suggested_line(conflict: TypeConflict) -> str:
    """The line of ``[pipelines.type_conflicts]`` that decides about one attribute: it is split
    where that is possible. A comment has the numbers of values by type."""
    splits = not conflict.path.endswith((ELEMENTS, VALUES))
    decision = Decision.SPLIT if splits else Decision.TEXT
    seen = ", ".join(f"{number:,} {tag}" for tag, number in conflict.counts)
    return f"{configuration_line(conflict.path, decision)}  # {seen}"


def check_keys(decisions: TypeDecisions, keys: Collection[str]) -> None:
    """Check that nothing is decided about key attributes, which need no decision.

    Raises:
        TypeDecisionError: there is a decision; the message names the attribute.
    """
    columns = {column_name(name): name for name in keys if name}
    for path, _ in decisions.by_path:
        if path[0] in columns:
            raise TypeDecisionError(
                f"type_conflicts: {columns[path[0]]!r} is a key of the table: all its values have "
                "one type, and identify the items. Remove its decision"
            )
