"""What a job tells while it runs: to Dagster where Dagster Pipes launched it, else on stderr."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Takes a job's log lines and, once, the metadata of what it made."""

    def log(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...

    def materialized(self, metadata: Mapping[str, Any], data_version: str) -> None: ...


class StandardError:
    """Lines on standard error: a job of spark-submit's own."""

    def log(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, message: str) -> None:
        self.log(f"Warning: {message}")

    def materialized(self, metadata: Mapping[str, Any], data_version: str) -> None:
        for name, value in sorted(metadata.items()):
            if not isinstance(value, Mapping):
                self.log(f"{name}: {value}")
        self.log(f"data version: {data_version}")


class Pipes:
    """Dagster's event log, by the protocol of Dagster Pipes."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, message: str) -> None:
        self._context.log.info(message)

    def warn(self, message: str) -> None:
        self._context.log.warning(message)

    def materialized(self, metadata: Mapping[str, Any], data_version: str) -> None:
        self._context.report_asset_materialization(
            metadata=dict(metadata), data_version=data_version
        )


@contextmanager
def open_reporter() -> Iterator[Reporter]:
    """Dagster Pipes where it launched this process and is installed, else standard error."""
    try:
        from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes
    except ImportError:
        yield StandardError()
        return
    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ:
        yield StandardError()
        return
    with open_dagster_pipes() as context:
        yield Pipes(context)


def markdown(text: str) -> dict[str, str]:
    """Metadata that Dagster renders."""
    return {"raw_value": text, "type": "md"}
