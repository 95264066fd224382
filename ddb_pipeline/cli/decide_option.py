"""The option ``--decide``: decisions about types, for commands that read no pipeline's settings."""

from typing import Any

import click

from ddb_pipeline.hive.type_decisions import TypeDecisionError, TypeDecisions, read_decisions


def _parsed(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> TypeDecisions:
    found: dict[str, str] = {}
    for value in values:
        path, equals, name = value.rpartition("=")
        if not equals or path in found:
            problem = "is decided twice" if equals else "is not PATH=DECISION"
            raise click.BadParameter(f"{path or value!r} {problem}")
        found[path] = name
    try:
        return read_decisions(found)
    except TypeDecisionError as error:
        raise click.BadParameter(str(error)) from error


def decide_option(command: Any) -> Any:
    """Add the option to a command, which receives ``TypeDecisions`` as ``decide``."""
    return click.option(
        "--decide",
        metavar="PATH=DECISION",
        multiple=True,
        callback=_parsed,
        help=(
            "What to do with an attribute whose values have several types: text, wider, split or "
            "refuse, as in type_conflicts of a pipeline. May be given several times."
        ),
    )(command)
