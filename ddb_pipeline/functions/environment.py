"""The environment of a function: what both functions read in the same form."""

from collections.abc import Mapping

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import TableReference


class SettingsError(DdbPipelineError):
    """The function's environment is not usable; the message names the variable."""


def text_of(environment: Mapping[str, str], variable: str) -> str:
    """A variable's text without surrounding spaces, empty where it is not set."""
    return environment.get(variable, "").strip()


def table_reference(variable: str, text: str) -> TableReference:
    """The table that ``database.table`` names.

    Raises:
        SettingsError: the text is of another form; the message names the variable.
    """
    database, _, name = text.partition(".")
    if not database or not name:
        raise SettingsError(f"{variable}: {text!r} is not database.table.")
    return TableReference(database, name)
