"""S3 prefix expressions of a delivery stream, and the keys of its objects.

Rules: "Understand custom prefixes for Amazon S3 objects" in the Amazon Data Firehose developer
guide, and probes of the service where they differ: a prefix with any expression gets no date
appended, and the date is appended to the text as it is, without a slash.
"""

import re
import secrets
import string
import uuid
from datetime import datetime, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from ddb_pipeline.embedded.services.firehose.java_time import (
    TimestampPatternError,
    format_timestamp,
)

DEFAULT_DATE_SUFFIX: Final = "yyyy/MM/dd/HH/"
OBJECT_TIMESTAMP: Final = "yyyy-MM-dd-HH-mm-ss"
FORMAT_CONVERSION_FAILED: Final = "format-conversion-failed"
PARQUET_EXTENSION: Final = ".parquet"

_EXPRESSION: Final = re.compile(r"!\{([^:}]*)(?::([^}]*))?\}")
_OPEN: Final = re.compile(r"!\{")
_RANDOM_ALPHABET: Final = string.ascii_letters + string.digits
_RANDOM_LENGTH: Final = 11


class PrefixError(ValueError):
    """A prefix that Firehose refuses; the message quotes the expression."""


def validate_prefixes(prefix: str | None, error_output_prefix: str | None) -> None:
    """Check a Prefix and an ErrorOutputPrefix against each other, as CreateDeliveryStream does.

    Raises:
        PrefixError: an expression is unknown or malformed or needs dynamic partitioning, which the
            embedded Firehose does not support; Prefix has expressions and there is no
            ErrorOutputPrefix; one of them has expressions and ErrorOutputPrefix lacks
            ``!{firehose:error-output-type}``; Prefix has that expression.
    """
    for member, text in (("Prefix", prefix), ("ErrorOutputPrefix", error_output_prefix)):
        _check_expressions(member, text or "")
    if "error-output-type" in _firehose_values(prefix):
        raise PrefixError("Prefix cannot contain !{firehose:error-output-type}")
    if _has_expression(prefix) and not error_output_prefix:
        raise PrefixError("ErrorOutputPrefix cannot be null or empty when Prefix has expressions")
    needs_type = _has_expression(prefix) or _has_expression(error_output_prefix)
    if needs_type and "error-output-type" not in _firehose_values(error_output_prefix):
        raise PrefixError("ErrorOutputPrefix must contain !{firehose:error-output-type}")


def evaluate_prefix(
    prefix: str | None,
    arrival: datetime,
    *,
    error_output_type: str = "",
    time_zone: tzinfo = timezone.utc,
) -> str:
    """Replace the expressions of a valid prefix, or append ``yyyy/MM/dd/HH/`` if it has none.

    Args:
        prefix: the prefix as configured.
        arrival: the arrival of the object's oldest record, an aware datetime. All timestamps in
            the prefix are of this moment.
        error_output_type: the value of ``!{firehose:error-output-type}``.
        time_zone: the delivery stream's time zone.
    """
    moment = arrival.astimezone(time_zone)
    text = prefix or ""
    if not _has_expression(text):
        return text + format_timestamp(DEFAULT_DATE_SUFFIX, moment)

    def evaluate(match: re.Match[str]) -> str:
        namespace, value = match.groups()
        if namespace == "timestamp":
            return format_timestamp(value, moment)
        return error_output_type if value == "error-output-type" else _random_string()

    return _EXPRESSION.sub(evaluate, text)


def evaluate_error_output_prefix(
    prefix: str | None,
    error_output_prefix: str | None,
    arrival: datetime,
    *,
    time_zone: tzinfo = timezone.utc,
) -> str:
    """Return where failed records go.

    Without an ErrorOutputPrefix, which is valid only where Prefix has no expression, that is
    ``<Prefix>format-conversion-failed/`` and the date.
    """
    return evaluate_prefix(
        error_output_prefix or f"{prefix or ''}{FORMAT_CONVERSION_FAILED}/",
        arrival,
        error_output_type=FORMAT_CONVERSION_FAILED,
        time_zone=time_zone,
    )


def object_key(
    prefix: str,
    delivery_stream: str,
    version_id: str,
    arrival: datetime,
    *,
    time_zone: tzinfo = timezone.utc,
) -> str:
    """Return ``<prefix><stream>-<version>-yyyy-MM-dd-HH-mm-ss-<uuid>``, without an extension."""
    at = format_timestamp(OBJECT_TIMESTAMP, arrival.astimezone(time_zone))
    return f"{prefix}{delivery_stream}-{version_id}-{at}-{uuid.uuid4()}"


def resolve_time_zone(custom_time_zone: str | None) -> tzinfo:
    """Return the time zone of a CustomTimeZone; UTC where there is none.

    Raises:
        PrefixError: there is no time zone of this name.
    """
    if not custom_time_zone or custom_time_zone == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(custom_time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise PrefixError(f"CustomTimeZone {custom_time_zone!r} is not a time zone") from error


def _has_expression(prefix: str | None) -> bool:
    return bool(prefix and _OPEN.search(prefix))


def _check_expressions(member: str, text: str) -> None:
    matches = {match.start(): match for match in _EXPRESSION.finditer(text)}
    for opening in _OPEN.finditer(text):
        match = matches.get(opening.start())
        if match is None:
            raise PrefixError(
                f"{member}: '!{{' may appear only in !{{namespace:value}} expressions, "
                f"found {text[opening.start() :]!r}"
            )
        _check_expression(f"{member}: expression {match.group()}", *match.groups())


def _check_expression(subject: str, namespace: str, value: str | None) -> None:
    if not value:
        raise PrefixError(f"{subject} has no value")
    if namespace == "timestamp":
        try:
            format_timestamp(value, datetime(2000, 1, 1, tzinfo=timezone.utc))
        except TimestampPatternError as error:
            raise PrefixError(f"{subject}: {error}") from error
    elif namespace == "firehose":
        if value not in ("random-string", "error-output-type"):
            raise PrefixError(
                f"{subject}: the firehose namespace has random-string and error-output-type only"
            )
    elif namespace in ("partitionKeyFromQuery", "partitionKeyFromLambda"):
        raise PrefixError(
            f"{subject} needs dynamic partitioning, which is not supported here; use "
            "!{timestamp:...} expressions instead"
        )
    else:
        raise PrefixError(f"{subject} has an unknown namespace")


def _firehose_values(prefix: str | None) -> set[str]:
    return {
        value for namespace, value in _EXPRESSION.findall(prefix or "") if namespace == "firehose"
    }


def _random_string() -> str:
    return "".join(secrets.choice(_RANDOM_ALPHABET) for _ in range(_RANDOM_LENGTH))
