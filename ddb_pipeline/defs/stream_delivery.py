"""What the streaming function does, done by Dagster: with its code, settings and clients."""

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.deploy.functions import function_environment
from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules
from ddb_pipeline.functions.stream_settings import StreamSettings, read_settings
from ddb_pipeline.functions.stream_to_firehose import load_transformer, pseudonym_key
from ddb_pipeline.resources.cloud import CloudResource

BATCH_SECONDS = 120.0
COUNTED = ("received", "delivered", "held", "dead_lettered")


class StreamDelivery:
    """Delivers stream records as the deployed function would.

    Attributes:
        settings: those of the deployed function.
        totals: the records of all events so far, by what became of them.
    """

    def __init__(
        self, context: dg.OpExecutionContext, cloud: CloudResource, pipeline: PipelineConfig
    ) -> None:
        self._context = context
        self.settings = function_settings(cloud, pipeline)
        self._rules = delivery_rules(cloud, self.settings)
        table = self.settings.delivery_table
        self._clients = Clients(
            cloud.firehose, cloud.s3, DeliveryTable(cloud.glue, table) if table else None
        )
        self.totals = dict.fromkeys(COUNTED, 0)

    def attempt(self, event: Mapping[str, Any]) -> tuple[str, Report]:
        """Deliver an event, as far as the delivery stream takes it.

        Returns the sequence number from which on records were not delivered, empty where all
        were, and the report.

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
        """Deliver all of an event.

        Raises:
            dagster.Failure: some records were not delivered; the message names the first.
        """
        left, report = self.attempt(event)
        if left:
            raise dg.Failure(
                f"Delivery stopped before sequence number {left}: {'; '.join(report.errors)}. "
                "Run the job again from that sequence number on.",
                metadata=self.totals,
            )
        return report


def function_settings(cloud: CloudResource, pipeline: PipelineConfig) -> StreamSettings:
    """The settings of the deployed streaming function.

    Raises:
        SettingsError: one of its environment variables is not valid.
    """
    return read_settings(function_environment(cloud.client("lambda"), stream_function(pipeline)))


def delivery_rules(cloud: CloudResource, settings: StreamSettings) -> Rules:
    """The rules that these settings name, with the key of the pseudonyms.

    Raises:
        SettingsError: the key or the transformer cannot be loaded.
    """
    redaction = Redaction(
        settings.dropped,
        settings.pseudonymised,
        pseudonym_key(settings, lambda: cloud.client("secretsmanager")),
    )
    return Rules(settings, redaction, load_transformer(settings.transformer))
