"""The state of ministack as entries of the journal, written as it is and at little cost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import cloudformation, cloudwatch_logs

from ddb_pipeline.embedded.services import saved_documents
from ddb_pipeline.embedded.services.ministack import saved_default
from ddb_pipeline.embedded.services.saved_documents import DOCUMENT, STATES, Documents
from ddb_pipeline.embedded.services.saved_state import MAX_INVOCATIONS, _trim_logs

STACKS = (DOCUMENT, "cloudformation", "stacks", "region")
EVENTS = (DOCUMENT, "cloudformation", "stack_events", "region")
STREAM = "2026/11/27/[$LATEST]{:04}"


@pytest.fixture(autouse=True)
def stores() -> Iterator[None]:
    """The stores of two services in this process, empty before and after."""
    yield
    for store in (
        cloudformation._stacks,
        cloudformation._stack_events,
        cloudwatch_logs._log_groups,
    ):
        store._data.clear()


def put_stack(name: str, **members: Any) -> dict[str, Any]:
    stack = {"StackName": name, "StackStatus": "CREATE_IN_PROGRESS", **members}
    cloudformation._stacks._data["000000000000", "eu-west-1", name] = stack
    return stack


def text_of(documents: Documents, name: str) -> Any:
    [text] = [text for key, text in documents.entries()[STACKS].items() if key[-1] == repr(name)]
    return json.loads(text)


@pytest.mark.parametrize("service", ["cloudformation", "cloudwatch_logs"])
def test_the_stores_are_those_that_ministack_saves(service: str) -> None:
    module: Any = {"cloudformation": cloudformation, "cloudwatch_logs": cloudwatch_logs}[service]
    put_stack("logs", _template={"Resources": {}}, _template_body="Resources: {}")
    own, saved = STATES[service](), module.get_state()
    assert own.keys() == saved.keys()
    for name, store in saved.items():
        assert type(own[name]) is type(store)
        assert json.dumps(own[name], default=saved_default) == json.dumps(
            store, default=saved_default
        )


def test_a_stack_is_written_with_its_template() -> None:
    documents = Documents()
    stack = put_stack("logs", _template={"Resources": {"a": 1}}, _template_body="Resources: ...")
    assert text_of(documents, "logs") == stack
    stack["StackStatus"] = "CREATE_COMPLETE"
    assert text_of(documents, "logs") == stack
    stack["_template"] = {"Resources": {"b": 2}}
    assert text_of(documents, "logs") == stack
    only = put_stack("only", _template={"Resources": {}})
    only.pop("StackName"), only.pop("StackStatus")
    assert text_of(documents, "only") == only


def test_templates_and_events_are_written_as_json_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def noted(value: Any, **options: Any) -> str:
        written.append(value)
        return json.dumps(value, **options)

    monkeypatch.setattr(saved_documents, "json", type("Json", (), {"dumps": staticmethod(noted)}))
    documents = Documents()
    templates = [{"Resources": {"number": number}} for number in range(3)]
    for number, template in enumerate(templates):
        put_stack(f"stack-{number}", _template=template)
    events = [{"EventId": "1"}]
    cloudformation._stack_events._data["000000000000", "eu-west-1", "arn"] = events
    documents.entries()
    assert all(template in written for template in templates)
    written.clear()
    documents.entries()
    assert not any(template in written for template in [*templates, events])
    events.append({"EventId": "2"})
    assert json.dumps(events) in documents.entries()[EVENTS].values()


def test_log_streams_of_invocations_are_bounded_and_not_saved() -> None:
    streams = {STREAM.format(number): {"events": [{"message": "m"}]} for number in range(500)}
    group = {"arn": "arn", "streams": {"delivery": {"events": [{"message": "m"}]}, **streams}}
    cloudwatch_logs._log_groups._data["000000000000", "eu-west-1", "group"] = group
    [saved] = STATES["cloudwatch_logs"]()["log_groups"]._data.values()
    assert saved["streams"] == {"delivery": {"events": []}}
    _trim_logs()
    newest = [STREAM.format(number) for number in range(500 - MAX_INVOCATIONS, 500)]
    assert list(group["streams"]) == ["delivery", *newest]
