"""What a newcomer sees: ``dagster dev``, every asset green without a click, seen in a browser."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from playwright.sync_api import Page, expect

from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.process import connect
from ddb_pipeline_tests.support.browser import chromium
from ddb_pipeline_tests.support.dagster_dev import DagsterDev, dagster_dev

CHAIN = (
    "dynamodb_table",
    "crawled_catalog_table",
    "normalized_schema",
    "lake_table",
    "parquet_stream",
    "redelivered_records",
    "relevance_scores",
)
GREEN_SECONDS = 900
"""An end to waiting, no aim: the test prints how long it took."""

pytestmark = [pytest.mark.e2e, pytest.mark.embedded, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    directory = tmp_path_factory.mktemp("dagster-dev")
    with dagster_dev(directory, directory / "home") as running:
        running.wait(running.loaded, 120, "the code location")
        yield running


def test_every_asset_becomes_green_without_a_click(server: DagsterDev) -> None:
    wanted = {f"search_logs/{name}" for name in CHAIN}

    def green() -> bool:
        done = server.materialized()
        return wanted <= {asset for asset, is_done in done.items() if is_done}

    seconds = server.wait(green, GREEN_SECONDS, "every asset of the chain")
    print(f"every asset materialised {seconds:.0f} s after the UI was up")  # noqa: T201


def test_the_fix_is_a_run_that_the_sensor_asked_for(server: DagsterDev) -> None:
    runs = server.runs(**{"dagster/sensor_name": "glue_table_change_sensor"})
    fixed = [run for run in runs if run["status"] == "SUCCESS"]
    assert fixed
    selected = {"/".join(key["path"]) for run in fixed for key in run["assetSelection"]}
    assert {"search_logs/normalized_schema", "search_logs/lake_table"} <= selected


def test_no_run_failed(server: DagsterDev) -> None:
    assert [run for run in server.runs() if run["status"] == "FAILURE"] == []


def skip_invitation(page: Page) -> None:
    """Dagster invites each user once to its community, over whatever page is open."""
    skip = page.get_by_role("button", name="Skip")
    page.wait_for_timeout(5000)
    if skip.is_visible():
        skip.click()


def test_the_asset_graph_in_a_browser(server: DagsterDev, tmp_path: Path) -> None:
    screenshots = Path(os.environ.get("DDB_PIPELINE_SCREENSHOTS", tmp_path))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1800, "height": 1100})
        page.goto(
            f"{server.url}/locations/ddb_pipeline/asset-groups/search_logs/lineage",
            wait_until="domcontentloaded",
        )
        skip_invitation(page)
        for name in CHAIN:
            expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=60_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=screenshots / "asset-graph.png")
        page.goto(
            f"{server.url}/assets/search_logs/normalized_schema?view=overview",
            wait_until="domcontentloaded",
        )
        expect(page.get_by_text(re.compile("array<")).first).to_be_visible(timeout=60_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=screenshots / "normalized-schema.png")
        page.goto(
            f"{server.url}/assets/search_logs/relevance_scores?view=overview",
            wait_until="domcontentloaded",
        )
        chart = page.get_by_role("img", name=re.compile("pairs of query and document"))
        expect(chart.first).to_be_visible(timeout=60_000)
        assert chart.first.evaluate("image => image.naturalWidth") > 100
        chart.first.scroll_into_view_if_needed()
        page.wait_for_timeout(3000)
        page.screenshot(path=screenshots / "relevance-scores.png")
        page.goto(
            f"{server.url}/locations/ddb_pipeline/sensors/glue_table_change_sensor",
            wait_until="domcontentloaded",
        )
        expect(page.get_by_text("glue_table_change_sensor").first).to_be_visible(timeout=60_000)
        page.wait_for_timeout(2000)
        page.screenshot(path=screenshots / "sensor.png")
        browser.close()


def test_a_recrawl_makes_records_fail_and_they_come_back(server: DagsterDev) -> None:
    s3 = boto3.client("s3", **client_arguments(connect(server.log.parent / "home" / "embedded")))

    def came_back() -> bool:
        listed = s3.list_objects_v2(
            Bucket="search-logs-lake", Prefix="redelivered/errors/format-conversion-failed/"
        )
        return listed["KeyCount"] > 0

    server.wait(came_back, 400, "records that failed on a set and were redelivered")
