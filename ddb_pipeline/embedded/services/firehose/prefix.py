"""S3 prefix expressions of a delivery stream, and the object keys made from them.

Rules: "Understand custom prefixes for Amazon S3 objects" in the Amazon Data Firehose developer
guide, and probes of the service where they differ: any expression in a prefix suppresses the date
that is otherwise appended, and the date is appended to the text as it stands, with no slash.
"""

from __future__ import annotations

import re
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
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
MAX_PREFIX_LENGTH: Final = 1024

_EXPRESSION: Final = re.compile(r"!\{([^:}]*)(?::([^}]*))?\}")
_OPEN: Final = re.compile(r"!\{")
_PARTITION_KEYS: Final = ("partitionKeyFromQuery", "partitionKeyFromLambda")
_RANDOM_ALPHABET: Final = string.ascii_letters + string.digits
_RANDOM_LENGTH: Final = 11


class PrefixError(ValueError):
    """A prefix that Firehose would refuse, with the expression at fault."""


def has_expression(prefix: str | None) -> bool:
    return bool(prefix and _OPEN.search(prefix))


def validate_prefixes(prefix: str | None, error_output_prefix: str | None) -> None:
    """Check a Prefix and an ErrorOutputPrefix against each other, as a create call does.

    Raises PrefixError for an unknown or malformed expression, for expressions in Prefix without
    an ErrorOutputPrefix, for an ErrorOutputPrefix that has expressions but not
    ``!{firehose:error-output-type}``, and for that expression in Prefix.
    """
    for member, text in (("Prefix", prefix), ("ErrorOutputPrefix", error_output_prefix)):
        if text is not None and len(text) > MAX_PREFIX_LENGTH:
            raise PrefixError(f"{member} is longer than {MAX_PREFIX_LENGTH} characters")
        _check_expressions(member, text or "")
    if "error-output-type" in _firehose_values(prefix):
        raise PrefixError("Prefix cannot contain !{firehose:error-output-type}")
    if has_expression(prefix) and not error_output_prefix:
        raise PrefixError("ErrorOutputPrefix cannot be null or empty when Prefix has expressions")
    needs_type = has_expression(prefix) or has_expression(error_output_prefix)
    if needs_type and "error-output-type" not in _firehose_values(error_output_prefix):
        raise PrefixError("ErrorOutputPrefix must contain !{firehose:error-output-type}")


def evaluate_prefix(
    prefix: str | None,
    arrival: datetime,
    *,
    error_output_type: str | None = None,
    partition_keys: Mapping[str, str] | None = None,
    time_zone: tzinfo = timezone.utc,
    random_string: Callable[[], str] | None = None,
) -> str:
    """The prefix with its expressions replaced.

    ``arrival`` is the approximate arrival of the oldest record of the object, an aware datetime;
    every timestamp expression is evaluated at that instant in ``time_zone``. A prefix without an
    expression gets ``yyyy/MM/dd/HH/`` appended. Raises PrefixError for what cannot be evaluated.
    """
    moment = _in_zone(arrival, time_zone)
    text = prefix or ""
    if not has_expression(text):
        return text + format_timestamp(DEFAULT_DATE_SUFFIX, moment)
    _check_expressions("prefix", text)
    values: dict[str, Callable[[], str]] = {
        "random-string": random_string or _random_string,
        "error-output-type": lambda: _error_type(error_output_type),
    }

    def replace(match: re.Match[str]) -> str:
        namespace, value = match.group(1), match.group(2)
        if namespace == "timestamp":
            return format_timestamp(value, moment)
        if namespace == "firehose":
            return values[value]()
        return _partition_key(match.group(), value, partition_keys)

    return _EXPRESSION.sub(replace, text)


def evaluate_error_output_prefix(
    prefix: str | None,
    error_output_prefix: str | None,
    arrival: datetime,
    *,
    error_output_type: str = FORMAT_CONVERSION_FAILED,
    time_zone: tzinfo = timezone.utc,
) -> str:
    """Where records that failed go: the ErrorOutputPrefix, or what stands in for a missing one.

    Without one (allowed only when Prefix has no expression) it is
    ``<Prefix><error-output-type>/`` followed by the date.
    """
    if not error_output_prefix:
        if has_expression(prefix):
            raise PrefixError(
                "ErrorOutputPrefix cannot be null or empty when Prefix has expressions"
            )
        date = format_timestamp(DEFAULT_DATE_SUFFIX, _in_zone(arrival, time_zone))
        return f"{prefix or ''}{error_output_type}/{date}"
    return evaluate_prefix(
        error_output_prefix, arrival, error_output_type=error_output_type, time_zone=time_zone
    )


def object_key(
    evaluated_prefix: str,
    delivery_stream: str,
    version_id: str,
    arrival: datetime,
    *,
    extension: str = PARQUET_EXTENSION,
    time_zone: tzinfo = timezone.utc,
    unique: str | None = None,
) -> str:
    """``<prefix><stream>-<version>-yyyy-MM-dd-HH-mm-ss-<uuid><extension>``.

    Error objects have no extension. ``unique`` stands in for the random uuid in tests and
    where a delivery must be repeatable.
    """
    at = format_timestamp(OBJECT_TIMESTAMP, _in_zone(arrival, time_zone))
    return (
        f"{evaluated_prefix}{delivery_stream}-{version_id}-{at}-{unique or uuid.uuid4()}{extension}"
    )


def resolve_time_zone(custom_time_zone: str | None) -> tzinfo:
    """The zone of a CustomTimeZone; UTC when it is not given.

    Raises PrefixError for a name that is no time zone.
    """
    if not custom_time_zone or custom_time_zone == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(custom_time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise PrefixError(f"CustomTimeZone {custom_time_zone!r} is not a time zone") from error


def _check_expressions(member: str, text: str) -> None:
    matches = {match.start(): match for match in _EXPRESSION.finditer(text)}
    for opening in _OPEN.finditer(text):
        match = matches.get(opening.start())
        if match is None:
            raise PrefixError(
                f"{member}: '!{{' may appear only in !{{namespace:value}} expressions, "
                f"found {text[opening.start() :]!r}"
            )
        _check_expression(member, match.group(), match.group(1), match.group(2))


def _check_expression(member: str, expression: str, namespace: str, value: str | None) -> None:
    if not value:
        raise PrefixError(f"{member}: expression {expression} has no value")
    if namespace == "timestamp":
        try:
            format_timestamp(value, datetime(2000, 1, 1, tzinfo=timezone.utc))
        except TimestampPatternError as error:
            raise PrefixError(f"{member}: expression {expression}: {error}") from error
    elif namespace == "firehose":
        if value not in ("random-string", "error-output-type"):
            raise PrefixError(
                f"{member}: expression {expression}: the firehose namespace knows "
                "random-string and error-output-type only"
            )
    elif namespace not in _PARTITION_KEYS:
        raise PrefixError(f"{member}: expression {expression} has an unknown namespace")


def _firehose_values(prefix: str | None) -> set[str]:
    return {
        match.group(2)
        for match in _EXPRESSION.finditer(prefix or "")
        if match.group(1) == "firehose"
    }


def _partition_key(expression: str, name: str, keys: Mapping[str, str] | None) -> str:
    if keys is None or name not in keys:
        raise PrefixError(
            f"expression {expression} needs dynamic partitioning, and this delivery stream has no "
            f"partition key {name!r}; use !{{timestamp:...}} expressions instead"
        )
    return keys[name]


def _error_type(error_output_type: str | None) -> str:
    if error_output_type is None:
        raise PrefixError("Prefix cannot contain !{firehose:error-output-type}")
    return error_output_type


def _random_string() -> str:
    return "".join(secrets.choice(_RANDOM_ALPHABET) for _ in range(_RANDOM_LENGTH))


def _in_zone(moment: datetime, time_zone: tzinfo) -> datetime:
    if moment.tzinfo is None:
        raise PrefixError(f"arrival {moment.isoformat()} has no time zone; pass an aware datetime")
    return moment.astimezone(time_zone)
