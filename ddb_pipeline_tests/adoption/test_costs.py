"""The cost of a pipeline: every price is used, and each part follows from what causes it."""

from datetime import date
from typing import Any

import pytest

from ddb_pipeline.adoption.costs import Load, monthly_cost, prices, total
from ddb_pipeline.config.pipeline import PipelineConfig

TABLE_BYTES = 10 * 2**30


def parts(rate: float, item_bytes: float = 1000, crawls: float = 24, **config: Any) -> Any:
    pipeline = PipelineConfig(name="orders", **config)
    return monthly_cost(pipeline, Load(rate, item_bytes, TABLE_BYTES, "given"), crawls)


def dollars(name: str, *arguments: Any, **config: Any) -> float:
    found = (part.dollars for part in parts(*arguments, **config) if part.name == name)
    return float(sum(found))


def test_the_file_of_prices_has_a_date_and_a_source() -> None:
    assert date.fromisoformat(prices()["date"])
    assert prices()["source"]
    assert {part.name for part in parts(1e6)} == set(prices()["prices"])
    assert all(each["price"] > 0 and each["page"] for each in prices()["prices"].values())


@pytest.mark.parametrize(
    ("rate", "least", "most"), [(1e6, 1, 200), (100e6, 100, 2_000), (10e9, 10_000, 100_000)]
)
def test_the_delivery_at_three_rates(rate: float, least: float, most: float) -> None:
    delivery = sum(
        part.dollars
        for part in parts(rate)
        if part.name.startswith(("firehose", "lambda", "dynamodb_streams"))
    )
    assert least < delivery < most


def test_firehose_bills_small_records_as_5_kb_unless_they_are_packed() -> None:
    # Ten changes a day come one by one, 10,000 a second together.
    alone = dollars("firehose_ingested_gb", 10) / 10
    packed = dollars("firehose_ingested_gb", 864e6) / 864e6
    assert alone / packed == pytest.approx(5, rel=0.1)


def test_a_consumer_needs_no_function() -> None:
    assert dollars("lambda_request", 1e6) > 0
    assert dollars("lambda_request", 1e6, stream_reader="consumer") == 0


def test_crawls_read_the_table() -> None:
    hourly, daily = (dollars("dynamodb_read_request_unit", 0, 1000, n) for n in (24, 1))
    assert hourly == pytest.approx(24 * daily)
    assert daily == pytest.approx(30.4 * TABLE_BYTES / 8192 * 0.125e-6)
    assert dollars("glue_dpu_hour", 0, crawl_with="builtin") == 0


def test_exports() -> None:
    assert dollars("dynamodb_export_gb", 0) == pytest.approx(10 * 0.10)
    more = dollars("dynamodb_export_gb", 1e6, 2**10, current="exports")
    assert more == pytest.approx((10 + 30.4e6 * 2**10 / 2**30) * 0.10)
    assert dollars("dynamodb_export_gb", 1e6, export_with="scan") == 0


def test_the_largest_part_is_first() -> None:
    found = parts(1e6)
    assert [part.dollars for part in found] == sorted((p.dollars for p in found), reverse=True)
    assert total(found) == pytest.approx(sum(part.quantity * part.price for part in found))
