import json

import pytest

from ddb_pipeline.config.choices import SchemaFix
from ddb_pipeline.config.lake_stack import (
    LakeConfig,
    LakeConfigError,
    decisions_by_table,
    lake_decisions,
)
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import ConfigError, Settings, parsed_settings
from ddb_pipeline.deploy.parameters import function_parameters
from ddb_pipeline.functions.fix_schema import table_decisions
from ddb_pipeline.functions.stream_settings import read_settings
from ddb_pipeline.hive.type_decisions import Decision, read_decisions

PIPELINE = '[[pipelines]]\nname = "orders"\npartition_key = "Id"\n'


def settings(lines: str) -> Settings:
    return parsed_settings(f"{PIPELINE}[pipelines.type_conflicts]\n{lines}\n", "file")


def test_decisions_reach_both_functions() -> None:
    (pipeline,) = settings('score = "split"\n"Meta.Score" = "text"').pipelines
    expected = read_decisions({"score": "split", "meta.score": "text"})
    assert pipeline.type_decisions == expected
    text = function_parameters(pipeline)["TypeConflicts"]
    environment = {"DELIVERY_STREAM": "s", "TYPE_CONFLICTS": text}
    assert read_settings(environment).decisions == expected
    by_table = table_decisions({"TYPE_CONFLICTS": decisions_by_table([pipeline])})
    assert list(by_table.values()) == [expected]
    assert decisions_by_table([pipeline.model_copy(update={"type_conflicts": {}})]) == ""


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('score = "number"', "'text', 'wider', 'split' or 'refuse'"),
        ('score = "text"\nScore = "split"', "'score' has two decisions"),
        ('"tags[]" = "split"', "cannot be split"),
        ('id = "split"', "'Id' is a key of the table"),
        ('"a..b" = "text"', "not an attribute path"),
        ("\n".join(f'{"a" * 50}{n} = "refuse"' for n in range(40)), "1,500"),
    ],
)
def test_decisions_that_a_configuration_cannot_have(lines: str, named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(lines)
    assert named in str(raised.value)


def test_a_lakes_function_has_the_decisions_of_its_pipelines() -> None:
    lake = LakeConfig(name="shared", bucket="shared-lake")
    pipelines = [
        PipelineConfig(
            name=f"table_{number}",
            bucket=lake.bucket,
            lake_name=lake.name,
            type_conflicts={f"attribute_{n}": Decision.REFUSE for n in range(20)},
        )
        for number in range(9)
    ]
    assert len(json.loads(lake_decisions(lake, pipelines[:5]))) == 5
    with pytest.raises(LakeConfigError, match='schema_fix = "dagster"'):
        lake_decisions(lake, pipelines)
    by_dagster = lake.model_copy(update={"schema_fix": SchemaFix.DAGSTER})
    assert lake_decisions(by_dagster, pipelines) == ""
