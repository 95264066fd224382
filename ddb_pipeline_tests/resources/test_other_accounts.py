"""The requests of pipelines whose catalog or table belongs to another account."""

from collections.abc import Callable
from typing import Any

from botocore.stub import Stubber

from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline_tests.support.other_accounts import CATALOG, OF_CATALOG, OF_TABLE, TABLE, pipeline


def requests(client: Any, call: Callable[[Any], Any], answer: tuple[str, Any]) -> list[Any]:
    """The parameters with which a client sends its requests."""
    sent: list[Any] = []

    def note(params: Any, **_: Any) -> None:
        sent.append(params)

    client.meta.events.register_last("provide-client-params.*.*", note)
    with Stubber(client) as stubber:
        stubber.add_response(*answer)
        call(client)
    return sent


def cloud() -> CloudResource:
    """The resource of a real account in a region, with credentials of nobody."""
    return CloudResource(
        region_name="eu-west-1", aws_access_key_id="nobody", aws_secret_access_key="nothing"
    )


DATABASE = {"Database": {"Name": "sales"}}


def test_requests_of_the_catalog_have_its_id() -> None:
    def get(client: Any) -> None:
        client.get_database(Name="sales")

    base = cloud()
    there = base.for_pipeline(pipeline(**OF_CATALOG))
    answer = ("get_database", DATABASE)
    assert requests(there.glue, get, answer) == [{"Name": "sales", "CatalogId": CATALOG}]
    own = base.for_pipeline(pipeline())
    assert own is base
    assert requests(own.glue, get, answer) == [{"Name": "sales"}]
    assert there.for_pipeline(pipeline()) is base
    assert there.in_region("us-east-1").catalog_id == CATALOG


def test_requests_without_a_catalog_stay_as_they_are() -> None:
    there = cloud().for_pipeline(pipeline(**OF_CATALOG))
    found = requests(
        there.glue, lambda glue: glue.get_crawler(Name="c"), ("get_crawler", {"Crawler": {}})
    )
    assert found == [{"Name": "c"}]


def described() -> Any:
    return {
        "Table": {
            "TableName": "orders",
            "TableArn": f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        }
    }


def test_requests_name_the_table_of_another_account_by_its_arn() -> None:
    arn = f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders"
    there = cloud().for_pipeline(pipeline(**OF_TABLE)).dynamodb
    found = requests(
        there, lambda client: describe_table(client, "orders"), ("describe_table", described())
    )
    assert found == [{"TableName": arn}]
    # The checkpoints are a table of the own account.
    found = requests(
        there,
        lambda client: client.scan(TableName="orders-stream-checkpoints"),
        ("scan", {"Items": []}),
    )
    assert found == [{"TableName": "orders-stream-checkpoints"}]


def test_a_batch_is_read_under_the_name_that_was_asked_for() -> None:
    arn = f"arn:aws:dynamodb:eu-west-1:{TABLE}:table/orders"
    there = cloud().for_pipeline(pipeline(**OF_TABLE)).dynamodb
    keys: Any = {"orders": {"Keys": [{"id": {"S": "1"}}]}}
    answers: list[Any] = []
    rest = {"Keys": [{"id": {"S": "2"}}]}
    response = {"Responses": {arn: [{"id": {"S": "1"}}]}, "UnprocessedKeys": {arn: rest}}
    found = requests(
        there,
        lambda client: answers.append(client.batch_get_item(RequestItems=keys)),
        ("batch_get_item", response),
    )
    assert found == [{"RequestItems": {arn: keys["orders"]}}]
    assert answers[0]["Responses"] == {"orders": [{"id": {"S": "1"}}]}
    assert answers[0]["UnprocessedKeys"] == {"orders": rest}
