"""A failed run shows one sentence that says what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from ddb_pipeline.config.choices import StreamReader
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.config.spark import RelevanceConfig
from ddb_pipeline.definitions import build_defs
from ddb_pipeline.defs.failures import AGAIN, readable_failures
from ddb_pipeline.errors import DdbPipelineError

DENIED = ClientError(
    {"Error": {"Code": "AccessDeniedException", "Message": "a is not\nauthorized."}},
    "GetTable",
)
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Too many"}}, "X")


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (
            DENIED,
            "AWS: GetTable failed: AccessDeniedException: a is not authorized. Grant this "
            "permission to the caller's role.",
        ),
        (THROTTLED, f"AWS: X failed: ThrottlingException: Too many. {AGAIN}"),
        (
            EndpointConnectionError(endpoint_url="https://x"),
            'AWS: Could not connect to the endpoint URL: "https://x". Check the network, and that '
            "this region exists and has the service.",
        ),
        (
            DdbPipelineError("It is damaged."),
            "It is damaged.",
        ),
        (FileNotFoundError(2, "No such file", "x"), f"[Errno 2] No such file: 'x'. {AGAIN}"),
        (OSError(), f"OSError. {AGAIN}"),
    ],
)
def test_expected_errors(error: Exception, description: str) -> None:
    @readable_failures
    def returning() -> int:
        raise error

    @readable_failures
    def generating() -> Iterator[int]:
        yield 1
        raise error

    for step in (returning, lambda: list(generating())):
        with pytest.raises(dg.Failure) as raised:
            step()
        assert raised.value.description == description
        assert raised.value.__cause__ is error


def test_other_errors_and_results_stay() -> None:
    @readable_failures
    def step(number: int, *, factor: int = 1) -> float:
        """Divide."""
        return factor / number

    assert step(2, factor=4) == 2
    assert step.__doc__ == "Divide."
    with pytest.raises(ZeroDivisionError):
        step(0)


def test_a_run_shows_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = build_defs(Settings(home=tmp_path, pipelines=(PipelineConfig(name="logs"),)))

    def refused(*_: Any) -> None:
        raise NoCredentialsError

    monkeypatch.setattr("ddb_pipeline.defs.checks.source", refused)
    schedule = definitions.resolve_schedule_def("logs_nothing_lost")
    job = definitions.get_repository_def().get_job(schedule.job_name)
    done = job.execute_in_process(raise_on_error=False)
    [failure] = done.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert str(details.description).startswith("AWS: Unable to locate credentials. Log in")


def test_every_step_fails_readably(tmp_path: Path) -> None:
    pipelines = (
        PipelineConfig(name="first", relevance=RelevanceConfig()),
        PipelineConfig(name="second", bucket="second-lake", stream_reader=StreamReader.CONSUMER),
    )
    repository = build_defs(Settings(home=tmp_path, pipelines=pipelines)).get_repository_def()
    steps = {
        node.name: node.definition
        for job in repository.get_all_jobs()
        for node in job.nodes
        if isinstance(node.definition, dg.OpDefinition)
    }
    assert len(steps) > 20
    for name, step in steps.items():
        function: Any = step.compute_fn
        wrapped = function.decorated_fn.__code__.co_filename
        assert wrapped.endswith("defs/failures.py"), f"Decorate {name} with readable_failures."
