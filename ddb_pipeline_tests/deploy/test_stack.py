"""The template and the parameters that a pipeline gives it."""

from typing import Any

import pytest
import yaml

from ddb_pipeline.config.settings import FunctionSetting, PipelineConfig, StreamReader
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.stack import checkpoint_table, stack_parameters, template_body


class Tagged(yaml.SafeLoader):
    """YAML with CloudFormation's short forms as they are written: ``!Ref Name`` is ``Name``."""


def _plain(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Tagged.add_multi_constructor("!", _plain)


@pytest.fixture(scope="module")
def template() -> Any:
    return yaml.load(template_body(), Tagged)


def parameters(**config: Any) -> dict[str, str]:
    return stack_parameters(PipelineConfig(name="web_logs", **config), "code", build_bundles())


def test_every_parameter_is_the_templates(template: Any) -> None:
    given = parameters()
    declared = template["Parameters"]
    assert given.keys() <= declared.keys()
    needed = {name for name, declaration in declared.items() if "Default" not in declaration}
    assert needed <= given.keys()


def test_the_functions_settings_reach_its_environment(template: Any) -> None:
    resource = template["Resources"]["StreamFunction"]
    environment = resource["Properties"]["Environment"]["Variables"]
    for setting in FunctionSetting:
        assert environment[setting.value] == setting.parameter
    given = parameters(
        function_settings={"EVENT_NAMES": "INSERT", "DROP_ATTRIBUTES": "email"},
        function_layer_arn="arn:aws:lambda:eu-west-1:000000000000:layer:l:1",
    )
    assert (given["EventNames"], given["DropAttributes"]) == ("INSERT", "email")
    assert given["StreamFunctionLayerArn"].endswith("layer:l:1")
    assert given["Transformer"] == ""


def test_one_reader_of_the_stream(template: Any) -> None:
    resources = template["Resources"]
    assert resources["StreamEventSourceMapping"]["Condition"] == "ReadByLambda"
    assert resources["CheckpointTable"]["Condition"] == "ReadByConsumer"
    assert parameters()["StreamReader"] == "lambda"
    pipeline = PipelineConfig(name="web_logs", stream_reader=StreamReader.CONSUMER)
    name = resources["CheckpointTable"]["Properties"]["TableName"]
    assert name.replace("${PipelineName}", "web-logs") == checkpoint_table(pipeline)
