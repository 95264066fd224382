"""Settings of the streaming function, read from its environment.

| variable | meaning |
|---|---|
| DELIVERY_STREAM | delivery stream for every change that no route matches |
| DELIVERY_METADATA | `true` (default) or `false`: metadata columns, and deletes with them |
| IMAGES | `new` (default), `old` or `both` |
| EVENT_NAMES | of INSERT, MODIFY, REMOVE, separated by commas; all by default |
| ATTRIBUTE_FILTER | JSON, path to accepted values: `{"kind": ["search", "click"]}`; all match |
| | before or after the change; a delete of which only the keys are known matches |
| TABLE_ROUTES | JSON, DynamoDB table to delivery stream |
| ROUTE_ATTRIBUTE | path of the attribute that ATTRIBUTE_ROUTES is about |
| ATTRIBUTE_ROUTES | JSON, the attribute's value to delivery stream; precedes TABLE_ROUTES |
| DROP_ATTRIBUTES | paths to leave out, separated by commas |
| PSEUDONYMISE_ATTRIBUTES | paths to replace by HMACs, separated by commas |
| PSEUDONYM_KEY, PSEUDONYM_KEY_SECRET_ARN | the HMAC's key, or the Secrets Manager secret with it |
| TRANSFORMER | `module:function`, called with each image and its record |
| TYPE_CONFLICTS | JSON, path to decision about its types: `{"score": "split"}` |
| PACK_BYTES | bytes up to which documents share a record, 1 to 1,024,000 |
| DEAD_LETTER_BUCKET, DEAD_LETTER_PREFIX | where to store changes that can never be delivered |
| DELIVERY_TABLE | `database.table` that Firehose converts with: changes with attributes for which |
| | it has no column are held; without the variable no change is held |
| CATALOG_ID | account of the catalog with that table; by default the function's |
| ERROR_PREFIX | where to store held changes in that bucket, `errors/` by default |
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.dynamodb.stream import EVENT_NAMES, DocumentOptions, Images
from ddb_pipeline.firehose.delivery import DEFAULT_PACK_BYTES, MAX_BYTES_PER_RECORD
from ddb_pipeline.functions.attributes import (
    AttributeFilter,
    Redaction,
)
from ddb_pipeline.functions.environment import SettingsError, table_reference, text_of
from ddb_pipeline.glue.catalog import TableReference
from ddb_pipeline.hive.attribute_paths import AttributePath, parse_path
from ddb_pipeline.hive.type_decisions import TypeDecisionError, TypeDecisions, parse_decisions

STREAM_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
TRANSFORMER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
DEFAULT_DEAD_LETTER_PREFIX = "dead-letters/"
DEFAULT_ERROR_PREFIX = "errors/"
MIN_KEY_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Routing:
    """Where a change goes.

    Attributes:
        default: delivery stream for every other change; empty for none.
        tables: delivery stream by DynamoDB table.
        attribute: path of an attribute; empty for none.
        attribute_values: delivery stream by that attribute's value; precedes ``tables``.
    """

    default: str
    tables: Mapping[str, str]
    attribute: AttributePath
    attribute_values: Mapping[str, str]

    @property
    def delivery_streams(self) -> frozenset[str]:
        """All delivery streams that are named here."""
        named = (self.default, *self.tables.values(), *self.attribute_values.values())
        return frozenset(filter(None, named))


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The environment, parsed; see the module's table."""

    routing: Routing
    options: DocumentOptions
    event_names: frozenset[str]
    attribute_filter: AttributeFilter
    dropped: tuple[AttributePath, ...]
    pseudonymised: tuple[AttributePath, ...]
    pseudonym_key: str
    pseudonym_key_secret: str
    transformer: str
    decisions: TypeDecisions
    pack_bytes: int
    dead_letter_bucket: str
    dead_letter_prefix: str
    delivery_table: TableReference | None
    catalog_id: str
    error_prefix: str


def read_settings(environment: Mapping[str, str]) -> StreamSettings:
    """Parse the settings of an environment.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    settings = StreamSettings(
        routing=_routing(environment),
        options=DocumentOptions(
            images=_images(environment), metadata=_flag(environment, "DELIVERY_METADATA", True)
        ),
        event_names=_event_names(environment),
        attribute_filter=_attribute_filter(environment),
        dropped=_paths(environment, "DROP_ATTRIBUTES"),
        pseudonymised=_paths(environment, "PSEUDONYMISE_ATTRIBUTES"),
        pseudonym_key=environment.get("PSEUDONYM_KEY", ""),
        pseudonym_key_secret=text_of(environment, "PSEUDONYM_KEY_SECRET_ARN"),
        transformer=_transformer(environment),
        decisions=_decisions(environment),
        pack_bytes=_pack_bytes(environment),
        dead_letter_bucket=text_of(environment, "DEAD_LETTER_BUCKET"),
        dead_letter_prefix=_prefix(environment, "DEAD_LETTER_PREFIX", DEFAULT_DEAD_LETTER_PREFIX),
        delivery_table=_delivery_table(environment),
        catalog_id=text_of(environment, "CATALOG_ID"),
        error_prefix=_prefix(environment, "ERROR_PREFIX", DEFAULT_ERROR_PREFIX),
    )
    if settings.pseudonymised and not settings.pseudonym_key_secret:
        check_pseudonym_key("PSEUDONYM_KEY", settings.pseudonym_key)
    return settings


def read_redaction(environment: Mapping[str, str], key: bytes) -> Redaction:
    """The attributes that an environment's settings redact; ``key`` makes the pseudonyms.

    Raises:
        SettingsError: a path is not valid.
    """
    dropped = _paths(environment, "DROP_ATTRIBUTES")
    return Redaction(dropped, _paths(environment, "PSEUDONYMISE_ATTRIBUTES"), key)


def check_pseudonym_key(source: str, key: str) -> None:
    """Check that a key is too long to be guessed; ``source`` names where it comes from.

    Raises:
        SettingsError: the key is too short, or not text.
    """
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise SettingsError(f"{source} is not text in UTF-8.") from None
    if len(key) < MIN_KEY_CHARACTERS:
        raise SettingsError(
            f"{source} holds {len(key)} characters; PSEUDONYMISE_ATTRIBUTES needs a key of at "
            f"least {MIN_KEY_CHARACTERS}, better in Secrets Manager (PSEUDONYM_KEY_SECRET_ARN)."
        )


def _routing(environment: Mapping[str, str]) -> Routing:
    default = text_of(environment, "DELIVERY_STREAM")
    tables = _routes(environment, "TABLE_ROUTES")
    values = _routes(environment, "ATTRIBUTE_ROUTES")
    attribute = _paths(environment, "ROUTE_ATTRIBUTE")
    if not default and not tables and not values:
        raise SettingsError("DELIVERY_STREAM is not set. Name the Firehose delivery stream.")
    if default:
        _check_stream("DELIVERY_STREAM", default)
    if bool(values) != bool(attribute):
        raise SettingsError("ROUTE_ATTRIBUTE and ATTRIBUTE_ROUTES only work together; set both.")
    if len(attribute) > 1:
        raise SettingsError("ROUTE_ATTRIBUTE takes one path.")
    return Routing(default, tables, attribute[0] if attribute else (), values)


def _check_stream(variable: str, name: Any) -> str:
    if not isinstance(name, str) or not STREAM_NAME.fullmatch(name):
        raise SettingsError(
            f"{variable}: {name!r} is not a delivery stream's name (1 to 64 of a-z A-Z 0-9 _ . -)."
        )
    return name


def _object(environment: Mapping[str, str], variable: str) -> dict[str, Any]:
    text = text_of(environment, variable)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable} is not JSON: {error}.") from None
    except RecursionError:
        raise SettingsError(f"{variable} is nested too deep; it takes one JSON object.") from None
    if not isinstance(found, dict):
        raise SettingsError(f"{variable} is not a JSON object.")
    return found


def _routes(environment: Mapping[str, str], variable: str) -> dict[str, str]:
    routes = _object(environment, variable)
    return {key: _check_stream(variable, stream) for key, stream in routes.items()}


def _images(environment: Mapping[str, str]) -> Images:
    text = text_of(environment, "IMAGES") or Images.NEW.value
    try:
        return Images(text.lower())
    except ValueError:
        raise SettingsError(f"IMAGES is {text!r}; set new, old or both.") from None


def _flag(environment: Mapping[str, str], variable: str, default: bool) -> bool:
    text = text_of(environment, variable).lower()
    if text not in ("", "true", "false"):
        raise SettingsError(f"{variable} is {text!r}; set true or false.")
    return default if not text else text == "true"


def _event_names(environment: Mapping[str, str]) -> frozenset[str]:
    text = text_of(environment, "EVENT_NAMES")
    names = frozenset(name.strip().upper() for name in text.split(",")) if text else EVENT_NAMES
    unknown = sorted(names - EVENT_NAMES)
    if unknown:
        raise SettingsError(f"EVENT_NAMES: {unknown[0]!r} is none of {sorted(EVENT_NAMES)}.")
    return names


def _attribute_filter(environment: Mapping[str, str]) -> AttributeFilter:
    accepted = []
    for path, values in _object(environment, "ATTRIBUTE_FILTER").items():
        listed = values if isinstance(values, list) else [values]
        if not listed or not all(isinstance(value, str) for value in listed):
            raise SettingsError(
                f"ATTRIBUTE_FILTER: {path!r} needs a list of strings (numbers as their text, "
                "booleans as true or false)."
            )
        accepted.append((_path("ATTRIBUTE_FILTER", path), frozenset(listed)))
    return tuple(accepted)


def _paths(environment: Mapping[str, str], variable: str) -> tuple[AttributePath, ...]:
    text = text_of(environment, variable)
    return tuple(_path(variable, path.strip()) for path in text.split(",")) if text else ()


def _path(variable: str, text: str) -> AttributePath:
    try:
        return parse_path(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}.") from None


def _transformer(environment: Mapping[str, str]) -> str:
    text = text_of(environment, "TRANSFORMER")
    if text and not TRANSFORMER.fullmatch(text):
        raise SettingsError(f"TRANSFORMER is {text!r}; set module:function.")
    return text


def _decisions(environment: Mapping[str, str]) -> TypeDecisions:
    try:
        return parse_decisions(text_of(environment, "TYPE_CONFLICTS"))
    except TypeDecisionError as error:
        raise SettingsError(f"TYPE_CONFLICTS: {error}.") from None


def _pack_bytes(environment: Mapping[str, str]) -> int:
    text = text_of(environment, "PACK_BYTES") or str(DEFAULT_PACK_BYTES)
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= MAX_BYTES_PER_RECORD:
        raise SettingsError(f"PACK_BYTES is {text!r}; set bytes from 1 to {MAX_BYTES_PER_RECORD}.")
    return int(text)


def _delivery_table(environment: Mapping[str, str]) -> TableReference | None:
    text = text_of(environment, "DELIVERY_TABLE")
    return table_reference("DELIVERY_TABLE", text) if text else None


def _prefix(environment: Mapping[str, str], variable: str, default: str) -> str:
    prefix = environment.get(variable, default).strip().lstrip("/")
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"
