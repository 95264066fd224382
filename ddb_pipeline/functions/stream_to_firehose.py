"""Lambda function: delivers the changes of a DynamoDB stream to Firehose delivery streams."""

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.functions.attributes import Redaction
from ddb_pipeline.functions.batch import Clients, process
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.held import DeliveryTable
from ddb_pipeline.functions.report import Report
from ddb_pipeline.functions.rules import Rules, Transformer
from ddb_pipeline.functions.stream_settings import (
    StreamSettings,
    check_pseudonym_key,
    read_settings,
)
from ddb_pipeline.glue.catalog import use_catalog

RESERVED_SECONDS = 5.0
"""Time of the invocation not used for sending: a call may still be running, and dead letters and
the response follow."""
RESERVED_SHARE = 0.2
"""The reserved share of a short invocation's time, where that is less."""
DEFAULT_SECONDS = 60.0
"""The time of an invocation whose context does not state it."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Deliver a batch of stream records; returns the record to retry from, for Lambda."""
    report = Report()
    try:
        failed = process(event, rules(), clients(), report, deadline(context))
    except Exception as error:
        report.errors.append(f"{type(error).__name__}: {error}")
        raise
    finally:
        print(report.log_line(context, time.time()))  # noqa: T201 - stdout is CloudWatch Logs
    return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}


def deadline(context: Any) -> float:
    """When to stop sending, in ``time.monotonic``'s seconds."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    seconds = remaining() / 1000 if remaining else DEFAULT_SECONDS
    return time.monotonic() + seconds - min(RESERVED_SECONDS, seconds * RESERVED_SHARE)


@lru_cache(maxsize=1)
def clients() -> Clients:
    """The boto3 clients, created on first use; boto3 itself finds the endpoints."""
    # ``firehose.delivery`` retries, because it knows the time left; botocore does not.
    config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})
    settings = rules().settings
    return Clients(
        firehose=boto3.client("firehose", config=config),
        s3=boto3.client("s3", config=config),
        table=_delivery_table(settings, config),
    )


def _delivery_table(settings: StreamSettings, config: Config) -> DeliveryTable | None:
    if settings.delivery_table is None:
        return None
    glue = boto3.client("glue", config=config)
    if settings.catalog_id:
        use_catalog(glue, settings.catalog_id)
    return DeliveryTable(glue, settings.delivery_table)


@lru_cache(maxsize=1)
def rules() -> Rules:
    """The settings of the environment, read on first use.

    Raises:
        SettingsError: a variable is missing or wrong; the next invocation reads again.
    """
    settings = read_settings(os.environ)
    redaction = Redaction(settings.dropped, settings.pseudonymised, pseudonym_key(settings))
    return Rules(settings, redaction, load_transformer(settings.transformer))


def pseudonym_key(
    settings: StreamSettings, secrets: Callable[[], Any] = lambda: boto3.client("secretsmanager")
) -> bytes:
    """The key of the pseudonyms, from Secrets Manager where an ARN is given.

    Args:
        settings: the function's settings.
        secrets: creates the client of Secrets Manager; called only if it is needed.

    Raises:
        SettingsError: the secret cannot be read, has no text, or one that is too short.
    """
    if not settings.pseudonymised:
        return b""
    key = settings.pseudonym_key
    if settings.pseudonym_key_secret:
        try:
            response = secrets().get_secret_value(SecretId=settings.pseudonym_key_secret)
        except (BotoCoreError, ClientError) as error:
            raise SettingsError(
                f"The secret that PSEUDONYM_KEY_SECRET_ARN names cannot be read ({error}). The "
                "function's role needs secretsmanager:GetSecretValue on it."
            ) from error
        key = response.get("SecretString", "")
        check_pseudonym_key("The secret that PSEUDONYM_KEY_SECRET_ARN names", key)
    return key.encode("utf-8")


def load_transformer(name: str) -> Transformer | None:
    """The function that ``module:function`` names; None for an empty name.

    Raises:
        SettingsError: there is no such function.
    """
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except Exception as error:
        # The module is a user's: importing it may raise any error.
        raise SettingsError(
            f"TRANSFORMER {name!r} cannot be loaded: {type(error).__name__}: {error}."
        ) from error
    if not callable(found):
        raise SettingsError(f"TRANSFORMER {name!r} is not a function.")
    return cast("Transformer", found)
