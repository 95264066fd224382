"""The sensor of the current view: a run for each change of what the view is made of."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest

from ddb_pipeline.config.choices import CurrentView, FunctionSetting
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs import current_exports
from ddb_pipeline.defs.current_exports import continued
from ddb_pipeline.defs.current_sensor import current_sensor
from ddb_pipeline.export.layout import Export, ExportSummary, write_export
from ddb_pipeline.lake.gaps import Cure, change_gaps, report_gap, with_cure
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.sensor_ticks import SUCCESS, Clock, MockAccount, Ticks

PAUSE = 301.0


@pytest.fixture
def account(account_of: Callable[..., MockAccount]) -> MockAccount:
    return account_of(PipelineConfig(name="logs", current=CurrentView.STREAM))


@pytest.fixture
def ticks(
    account: MockAccount,
    instance: dg.DagsterInstance,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Ticks:
    monkeypatch.setattr(current_exports, "time", clock)
    return Ticks(current_sensor(account.settings), instance, account.cloud, clock)


def export(account: MockAccount, at: float) -> None:
    moment = datetime.fromtimestamp(at, timezone.utc)

    def put(key: str, body: bytes) -> None:
        account.put(key, body)

    write_export(
        [{"log_id": {"S": "a"}}],
        put,
        export_time=moment,
        table_arn="arn:aws:dynamodb:eu-west-1:000000000000:table/logs",
        bucket=account.pipeline.bucket,
        prefix=account.pipeline.export_prefix,
        export_id=f"{int(at * 1000):014d}-abcdef00",
        table_id="t",
    )


def built(ticks: Ticks) -> None:
    ticks.instance.report_runless_asset_event(
        dg.AssetMaterialization(["logs", "parquet_current"], tags={"dagster/data_version": "1-abc"})
    )


def done(ticks: Ticks) -> None:
    request = ticks.one()
    assert request.asset_selection == [dg.AssetKey(["logs", "parquet_current"])]
    ticks.record(request, SUCCESS)
    ticks.later(PAUSE)


def test_a_run_for_each_change_of_the_inputs(account: MockAccount, ticks: Ticks) -> None:
    assert ticks.tick() == []
    assert ticks.skipped == "logs: there is no export of the table yet"
    export(account, ticks.clock.now - 60)
    done(ticks)
    # The stream may not have reached the export: runs follow until there is a view.
    done(ticks)
    built(ticks)
    done(ticks)
    assert ticks.tick() == []
    ticks.instance.report_runless_asset_event(
        dg.AssetMaterialization(["logs", "parquet_stream"], partition="2026-05-28-10:00")
    )
    done(ticks)
    assert ticks.tick() == []
    bucket, now = account.pipeline.bucket, ticks.clock.now
    report_gap(account.cloud.s3, LakeRoot(bucket), (now - 900, now - 800), "cause", now=now)
    change_gaps(
        account.cloud.s3,
        LakeRoot(bucket),
        lambda gaps: with_cure(gaps, Cure("e", now - 999, now, now)),
    )
    done(ticks)
    assert ticks.tick() == []


def opened(start: int, end: int) -> Any:
    times = [f"1970-01-01T00:00:{second:02d}Z" for second in (start, end)]
    summary = ExportSummary("arn", "bucket", from_time=times[0], to_time=times[1], view="NEW_IMAGE")
    return (None, Export(summary, ()))


@pytest.mark.parametrize(
    ("windows", "chain"),
    [
        ([], []),
        ([(10, 20), (20, 30)], [(10, 20), (20, 30)]),
        ([(20, 30), (10, 20)], [(10, 20), (20, 30)]),
        ([(11, 20)], []),
        ([(10, 20), (21, 30)], [(10, 20)]),
        # The longest one that follows; none that begins earlier.
        ([(0, 15), (10, 15), (10, 25), (20, 40), (25, 40)], [(10, 25), (25, 40)]),
        ([(0, 15), (5, 25)], []),
        ([(0, 10), (10, 12)], [(10, 12)]),
    ],
)
def test_windows_continue_a_view_without_a_gap(
    windows: list[tuple[int, int]], chain: list[tuple[int, int]]
) -> None:
    exports = {window: opened(*window) for window in windows}
    found = continued(10_000_000, list(exports.values()))
    names = {id(each): window for window, each in exports.items()}
    assert [names[id(each)] for each in found] == chain


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (FunctionSetting.DROP_ATTRIBUTES, "secret"),
        (FunctionSetting.EVENT_NAMES, "INSERT"),
        (FunctionSetting.IMAGES, "both"),
    ],
)
def test_a_view_of_the_stream_needs_whole_changes(setting: FunctionSetting, text: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be combined with {setting.value}"):
        PipelineConfig(name="logs", current=CurrentView.STREAM, function_settings={setting: text})
