"""Which pipelines a tick of a sensor visits: each in its turn, for a limited time, in isolation.

A tick begins with the pipeline at which the last one ran out of time, so that none waits for ever.
A pipeline whose AWS calls fail does not keep the tick from the others.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.errors import DdbPipelineError

Item = TypeVar("Item")

TICK_SECONDS = 25.0
"""After so long a tick begins with no further pipeline. Dagster ends a tick after a minute
(``DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS``), and then nothing of it is stored."""
MAX_RUNS_PER_TICK = 100
"""The runs after which a tick visits no further pipeline; Dagster's daemon starts them one by one,
and evaluates the sensor again afterwards."""
FAILURES = (BotoCoreError, ClientError, DdbPipelineError)


@dataclass(slots=True)
class Turns:
    """The visits of one tick.

    Attributes:
        first: the pipeline with which the tick begins; any other name stands for the first one.
            After the visits, the one with which the next tick is to begin.
        failures: why pipelines could not be visited, by name.
    """

    first: str = ""
    failures: dict[str, str] = field(default_factory=dict)

    def visit(
        self,
        items: Mapping[str, Item],
        action: Callable[[Item], None],
        log: logging.Logger,
        is_full: Callable[[], bool] = lambda: False,
        seconds: float = TICK_SECONDS,
    ) -> None:
        """Call ``action`` for each pipeline's item, until the time is up or the tick is full.

        Raises:
            BotoCoreError, ClientError, DdbPipelineError: the action fails for every pipeline; the
                error is that of the first.
        """
        names = list(items)
        start = names.index(self.first) if self.first in items else 0
        order = names[start:] + names[:start]
        end = time.monotonic() + seconds
        errors: list[Exception] = []
        for position, name in enumerate(order):
            if position and (time.monotonic() >= end or is_full()):
                self.first = name
                return
            try:
                action(items[name])
            except FAILURES as error:
                errors.append(error)
                self.failures[name] = str(error)
                log.error("%s: %s", name, error)
        if errors and len(errors) == len(order):
            raise errors[0]
        self.first = ""

    def reasons(self) -> list[str]:
        """The failures as sentences."""
        return [f"{name}: {reason}" for name, reason in self.failures.items()]
