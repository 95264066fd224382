"""Failures of runs: an expected error becomes one sentence that says what to do."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.client_errors import access_error
from ddb_pipeline.errors import DdbPipelineError

P = ParamSpec("P")
R = TypeVar("R")

AGAIN: Final = (
    "The step is tried again as its retry policy says. If it fails each time, correct what the "
    "error names, then execute the run again."
)
"""What to do about an error without advice of its own."""


def readable_failures(step: Callable[P, R]) -> Callable[P, R]:
    """Decorate the function of an op or a check, below Dagster's decorator.

    ``pipeline_asset`` does it for assets.

    An error of this package, of botocore or of a file system fails the step as ``dagster.Failure``:
    its description is the error in one line, with what to do. The error itself is the cause.
    """
    if inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def generate(*arguments: P.args, **keywords: P.kwargs) -> Any:
            with _failing_readably():
                yield from step(*arguments, **keywords)

        return generate

    @functools.wraps(step)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        with _failing_readably():
            return step(*arguments, **keywords)

    return call


@contextmanager
def _failing_readably() -> Iterator[None]:
    try:
        yield
    except (DdbPipelineError, BotoCoreError, ClientError, OSError) as error:
        raise dg.Failure(failure_description(error)) from error


def failure_description(error: Exception) -> str:
    """An expected error in one line, with what to do."""
    if isinstance(error, DdbPipelineError):
        return str(error)
    text = " ".join(str(error).split()).rstrip(". ")
    return access_error(error, AGAIN) or f"{text or type(error).__name__}. {AGAIN}"
