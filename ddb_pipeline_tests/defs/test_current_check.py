"""The check ``current_equals_source`` finds planted differences, and shows keys but no values."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.config.choices import CurrentView, FunctionSetting
from ddb_pipeline.config.names import stream_function
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.current import store_of
from ddb_pipeline.defs.current_check import current_equals_source_check
from ddb_pipeline.deploy.bundle import build_bundle
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import Manifest, Snapshot
from ddb_pipeline.lake.current.sources import ParquetPart
from ddb_pipeline.lake.current.steps import here
from ddb_pipeline.lake.current.update import Request, update
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.embedded_cloud import embedded_cloud, new_lake

pytestmark = pytest.mark.embedded

KEY = (KeyAttribute("id", "S"),)
COLUMNS = (Column("id", "string"), Column("mail", "string"), Column("n", "bigint"))
VALUE = "value-4711"
LATER = 4_000_000_000_000_000
"""A moment of the view, in microseconds, after the test's."""
REDACTION = {
    FunctionSetting.PSEUDONYMISE_ATTRIBUTES: "id",
    FunctionSetting.PSEUDONYM_KEY_SECRET_ARN: "arn:aws:secretsmanager:us-east-1:0:secret:key",
}


class Checked:
    """A table and its view of one bucket, which each run reads whole, and runs of the check."""

    def __init__(self, cloud: CloudResource, settings: Mapping[FunctionSetting, str]) -> None:
        name = new_lake(cloud, "checked")
        self.cloud = cloud
        self.pipeline = PipelineConfig(
            name=name.replace("-", "_"),
            bucket=name,
            database=name,
            current=CurrentView.EXPORTS,
            function_settings=settings,
        )
        cloud.dynamodb.create_table(
            TableName=self.pipeline.dynamodb_table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, key: str, number: int) -> None:
        item = {"id": {"S": key}, "mail": {"S": VALUE}, "n": {"N": str(number)}}
        self.cloud.dynamodb.put_item(TableName=self.pipeline.dynamodb_table, Item=item)

    def view(self, rows: Mapping[str, int], as_of: int) -> None:
        """Have the view show these rows."""
        store = store_of(self.cloud, self.pipeline)
        path = f"{self.pipeline.bucket}/rows.parquet"
        table = pa.Table.from_pylist(
            [{"id": key, "mail": VALUE, "n": number} for key, number in rows.items()]
        )
        pq.write_table(table, path, filesystem=store.filesystem)
        source = ParquetPart(store.filesystem, path, "items", len(rows), KEY, as_of)

        def plan(state: Manifest) -> Request:
            snapshot = Snapshot(f"full {as_of}", as_of)
            after = replace(state, key=KEY, columns=COLUMNS, snapshot=snapshot, as_of=as_of)
            return Request(after, (source,), replaces=True, buckets=1)

        update(store, plan, here)

    def run(self) -> tuple[dg.AssetCheckEvaluation, str]:
        """Run the check in Dagster; returns its result, and all that the run has recorded."""
        check = current_equals_source_check(self.pipeline)
        definitions = dg.Definitions(
            asset_checks=[check],
            jobs=[dg.define_asset_job("job", dg.AssetSelection.checks(check))],
            resources={"cloud": self.cloud},
        )
        with dg.DagsterInstance.ephemeral() as instance:
            result = definitions.resolve_job_def("job").execute_in_process(instance=instance)
            recorded = "\n".join(map(str, instance.all_logs(result.run_id)))
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation, recorded


@pytest.fixture(scope="module")
def cloud(embedded_aws: Endpoint) -> CloudResource:
    return embedded_cloud(embedded_aws)


def deploy_function(checked: Checked) -> None:
    """The streaming function's settings, without what it is made of."""
    variables = {
        "DELIVERY_STREAM": "stream",
        "PSEUDONYMISE_ATTRIBUTES": "id",
        "PSEUDONYM_KEY": "k" * 32,
    }
    checked.cloud.client("lambda").create_function(
        FunctionName=stream_function(checked.pipeline),
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/none",
        Handler="stream_to_firehose.handler",
        Code={"ZipFile": build_bundle("stream_to_firehose").body},
        Environment={"Variables": variables},
    )


@pytest.mark.parametrize("settings", [{}, REDACTION], ids=["keys", "pseudonyms"])
def test_planted_differences(cloud: CloudResource, settings: Mapping[FunctionSetting, str]) -> None:
    checked = Checked(cloud, settings)
    if settings:
        deploy_function(checked)
    rows = {f"key-{number}": number for number in range(20)}
    for key, number in rows.items():
        checked.put(key, number)
    checked.view(rows, 1)
    evaluation, _ = checked.run()
    assert evaluation.passed
    assert evaluation.metadata["compared"].value == len(rows)
    # One row has another value, one is missing, and one is too many.
    planted = {**rows, "key-3": 33, "key-extra": 1}
    del planted["key-5"]
    checked.view(planted, 2)
    evaluation, _ = checked.run()
    # They may be in flight: the view has not passed the moment at which they were seen.
    assert evaluation.passed
    assert evaluation.metadata["in_flight"].value == 3
    checked.view({**planted, "key-7": 7}, LATER)
    evaluation, recorded = checked.run()
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["differences"].value == 3
    shown = str(evaluation.metadata["items"].value)
    assert VALUE not in recorded
    found = dict(line.strip("| ").split(" | ") for line in shown.splitlines()[2:])
    assert sorted(found.values()) == ["(not in the table)", "(not in the view)", "n"]
    if settings:
        assert "key-" not in recorded
        assert len(found) == 3
    else:
        assert found == {
            '{"id":"key-3"}': "n",
            '{"id":"key-5"}': "(not in the view)",
            '{"id":"key-extra"}': "(not in the table)",
        }
    checked.view(rows, LATER + 1)
    assert checked.run()[0].passed
