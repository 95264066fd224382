"""What the streaming function does, done by Dagster: its own settings, rules and clients."""

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.functions.stream_to_firehose import load_transformer, pseudonym_key
from ddb_pipeline.resources.cloud import CloudResource

BATCH_SECONDS = 120.0
COUNTED = ("received", "delivered", "held", "dead_lettered")


class StreamDelivery:
    """Delivers stream records as the deployed function would; counts what became of them."""

    def __init__(
        self, context: dg.OpExecutionContext, cloud: CloudResource, pipeline: PipelineConfig
    ) -> None:
        self._context = context
        self.settings = read_settings(function_environment(cloud, pipeline))
        redaction = Redaction(
            self.settings.dropped,
            self.settings.pseudonymised,
            pseudonym_key(self.settings, lambda: cloud.client("secretsmanager")),
        )
        transformer = load_transformer(self.settings.transformer)
        self._rules = Rules(self.settings, redaction, transformer)
        table = self.settings.delivery_table
        self._clients = Clients(
            cloud.firehose, cloud.s3, DeliveryTable(cloud.glue, table) if table else None
        )
        self.totals = dict.fromkeys(COUNTED, 0)

    def attempt(self, event: Mapping[str, Any]) -> tuple[str, Report]:
        """Deliver an event; the sequence number from which records are left, and the report.

        Raises:
            SettingsError, DeliveryRefusedError, DeadLetterError: as ``functions.batch.process``.
        """
        report = Report()
        deadline = time.monotonic() + BATCH_SECONDS
        left = process(event, self._rules, self._clients, report, deadline)
        self._context.log.info(report.log_line(self._context, time.time()))
        for name in COUNTED:
            self.totals[name] += getattr(report, name)
        return left, report

    def deliver(self, event: Mapping[str, Any]) -> Report:
        """Deliver an event whole.

        Raises:
            dagster.Failure: records were left over; the message names the first.
        """
        left, report = self.attempt(event)
        if left:
            raise dg.Failure(
                f"Delivery stopped before sequence number {left}: {'; '.join(report.errors)}. "
                "Run the job again from there.",
                metadata=self.totals,
            )
        return report


def function_environment(cloud: CloudResource, pipeline: PipelineConfig) -> dict[str, str]:
    """The environment of the deployed streaming function, so that a replay follows its settings."""
    configuration = cloud.client("lambda").get_function_configuration(
        FunctionName=stream_function(pipeline)
    )
    environment: dict[str, str] = configuration.get("Environment", {}).get("Variables", {})
    return environment
