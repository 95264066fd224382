"""The streaming function's environment: its meaning, and which texts are refused."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_pipeline.dynamodb.stream import DocumentOptions, Images
from ddb_pipeline.functions.environment import SettingsError
from ddb_pipeline.functions.stream_settings import read_settings

MINIMUM = {"DELIVERY_STREAM": "s"}
VARIABLES = (
    *("DELIVERY_STREAM", "DELIVERY_METADATA", "IMAGES", "EVENT_NAMES", "ATTRIBUTE_FILTER"),
    *("TABLE_ROUTES", "ROUTE_ATTRIBUTE", "ATTRIBUTE_ROUTES", "DROP_ATTRIBUTES", "TRANSFORMER"),
    *("PSEUDONYMISE_ATTRIBUTES", "PSEUDONYM_KEY", "PSEUDONYM_KEY_SECRET_ARN", "PACK_BYTES"),
    *("DEAD_LETTER_BUCKET", "DEAD_LETTER_PREFIX", "DELIVERY_TABLE", "ERROR_PREFIX"),
)


def test_defaults() -> None:
    settings = read_settings(MINIMUM)
    assert settings.routing.default == "s"
    assert settings.options == DocumentOptions(Images.NEW, metadata=True)
    assert settings.event_names == {"INSERT", "MODIFY", "REMOVE"}
    assert settings.pack_bytes == 64 * 1024
    assert settings.dead_letter_prefix == "dead-letters/"


def test_everything_set() -> None:
    settings = read_settings(
        {
            "DELIVERY_STREAM": " s ",
            "DELIVERY_METADATA": "FALSE",
            "IMAGES": "Both",
            "EVENT_NAMES": "insert, MODIFY",
            "ATTRIBUTE_FILTER": json.dumps({"kind": "search", "user.beta": ["true"]}),
            "TABLE_ROUTES": json.dumps({"t1": "s1"}),
            "ROUTE_ATTRIBUTE": "meta.tenant",
            "ATTRIBUTE_ROUTES": json.dumps({"a": "s2"}),
            "DROP_ATTRIBUTES": "secret, user.name",
            "PSEUDONYMISE_ATTRIBUTES": r"dotted\.name",
            "PSEUDONYM_KEY": "0123456789abcdef",
            "TRANSFORMER": "my.module:transform",
            "PACK_BYTES": "1024000",
            "DEAD_LETTER_BUCKET": "b",
            "DEAD_LETTER_PREFIX": "/letters",
        }
    )
    assert settings.options == DocumentOptions(Images.BOTH, metadata=False)
    assert settings.event_names == {"INSERT", "MODIFY"}
    assert settings.attribute_filter == (
        (("kind",), frozenset({"search"})),
        (("user", "beta"), frozenset({"true"})),
    )
    assert settings.routing.tables == {"t1": "s1"}
    assert settings.routing.attribute == ("meta", "tenant")
    assert settings.dropped == (("secret",), ("user", "name"))
    assert settings.pseudonymised == (("dotted.name",),)
    assert settings.dead_letter_prefix == "letters/"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "DELIVERY_STREAM is not set"),
        ({"DELIVERY_STREAM": "a b"}, "DELIVERY_STREAM: 'a b' is not a delivery stream"),
        ({"DELIVERY_STREAM": "x" * 65}, "DELIVERY_STREAM"),
        ({"DELIVERY_METADATA": "yes"}, "DELIVERY_METADATA is 'yes'; set true or false"),
        ({"IMAGES": "all"}, "IMAGES is 'all'; set new, old or both"),
        ({"EVENT_NAMES": "INSERT,UPSERT"}, "EVENT_NAMES: 'UPSERT' is none of"),
        ({"ATTRIBUTE_FILTER": "{"}, "ATTRIBUTE_FILTER is not JSON"),
        ({"ATTRIBUTE_FILTER": "[]"}, "ATTRIBUTE_FILTER is not a JSON object"),
        ({"ATTRIBUTE_FILTER": '{"a": [1]}'}, "ATTRIBUTE_FILTER: 'a' needs a list of strings"),
        ({"ATTRIBUTE_FILTER": '{"a": []}'}, "ATTRIBUTE_FILTER: 'a' needs a list of strings"),
        ({"ATTRIBUTE_FILTER": '{"a..b": ["x"]}'}, "ATTRIBUTE_FILTER: 'a..b' is not an attribute"),
        *(
            ({name: text}, f"{name} is nested too deep")
            for name in ("TABLE_ROUTES", "ATTRIBUTE_ROUTES", "ATTRIBUTE_FILTER")
            for text in ("[" * 100_000, '{"a":' * 100_000)
        ),
        ({"PSEUDONYMISE_ATTRIBUTES": "a", "PSEUDONYM_KEY": "\udcff" * 16}, "is not text in UTF-8"),
        ({"TABLE_ROUTES": '{"t": 1}'}, "TABLE_ROUTES: 1 is not a delivery stream"),
        ({"ROUTE_ATTRIBUTE": "a"}, "ROUTE_ATTRIBUTE and ATTRIBUTE_ROUTES only work together"),
        ({"ATTRIBUTE_ROUTES": '{"a": "s"}'}, "ROUTE_ATTRIBUTE and ATTRIBUTE_ROUTES only work"),
        (
            {"ROUTE_ATTRIBUTE": "a,b", "ATTRIBUTE_ROUTES": '{"a": "s"}'},
            "ROUTE_ATTRIBUTE takes one path",
        ),
        ({"DROP_ATTRIBUTES": "a,,b"}, "DROP_ATTRIBUTES: '' is not an attribute path"),
        ({"PSEUDONYMISE_ATTRIBUTES": "a"}, "PSEUDONYM_KEY holds 0 characters"),
        ({"PSEUDONYMISE_ATTRIBUTES": "a", "PSEUDONYM_KEY": "short"}, "holds 5 characters"),
        ({"TRANSFORMER": "module"}, "TRANSFORMER is 'module'; set module:function"),
        ({"PACK_BYTES": "0"}, "PACK_BYTES is '0'"),
        ({"PACK_BYTES": "1024001"}, "PACK_BYTES is '1024001'"),
        ({"PACK_BYTES": "many"}, "PACK_BYTES is 'many'"),
    ],
)
def test_refused(environment: dict[str, str], message: str) -> None:
    merged = environment if environment == {} else {**MINIMUM, **environment}
    with pytest.raises(SettingsError) as raised:
        read_settings(merged)
    assert message in str(raised.value)


VALUES = st.one_of(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    ).map(json.dumps),
)


@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES))
def test_any_environment_is_read_or_refused(environment: dict[str, str]) -> None:
    with suppress(SettingsError):
        read_settings({**MINIMUM, **environment})


def test_no_default_stream_where_routes_are_given() -> None:
    settings = read_settings({"TABLE_ROUTES": '{"t": "s"}'})
    assert settings.routing.default == ""


def test_key_in_secrets_manager_needs_no_key_in_the_environment() -> None:
    settings = read_settings(
        {**MINIMUM, "PSEUDONYMISE_ATTRIBUTES": "a", "PSEUDONYM_KEY_SECRET_ARN": "arn:secret"}
    )
    assert settings.pseudonym_key_secret == "arn:secret"
