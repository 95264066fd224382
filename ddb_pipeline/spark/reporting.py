"""Reports a job's log lines and result: to Dagster by Dagster Pipes, or else to standard error."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives a job's log lines and, once, the metadata of its result."""

    def log(self, message: str) -> None:
        """Report a line of information."""

    def warn(self, message: str) -> None:
        """Report a warning."""

    def report_result(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report that the job's asset was materialised."""


class StandardErrorReporter(Reporter):
    """Prints lines to standard error, for a job that spark-submit runs without Dagster."""

    def log(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, message: str) -> None:
        self.log(f"Warning: {message}")

    def report_result(self, metadata: Mapping[str, Any], data_version: str) -> None:
        for name, value in sorted(metadata.items()):
            if not isinstance(value, Mapping):
                self.log(f"{name}: {value}")
        self.log(f"data version: {data_version}")


class PipesReporter(Reporter):
    """Sends everything to Dagster's event log by the protocol of Dagster Pipes."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, message: str) -> None:
        self._context.log.info(message)

    def warn(self, message: str) -> None:
        self._context.log.warning(message)

    def report_result(self, metadata: Mapping[str, Any], data_version: str) -> None:
        self._context.report_asset_materialization(
            metadata=dict(metadata), data_version=data_version
        )


@contextmanager
def open_reporter() -> Iterator[Reporter]:
    """Open a reporter: Dagster Pipes if it launched this process, standard error otherwise."""
    try:
        from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes
    except ImportError:
        yield StandardErrorReporter()
        return
    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ:
        yield StandardErrorReporter()
        return
    with open_dagster_pipes() as context:
        yield PipesReporter(context)


def markdown(text: str) -> dict[str, str]:
    """Return Markdown as metadata that Dagster's UI renders."""
    return {"raw_value": text, "type": "md"}
