"""What is proposed for tables as they may be: names, streams, recovery, sizes, types."""

import re
import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb_pipeline.adoption.proposal import Place, derived_tables, pipeline_name, propose
from ddb_pipeline.adoption.tables import LookedAt, NoTableError, TableFacts, chosen_tables
from ddb_pipeline.adoption.toml_text import configuration
from ddb_pipeline.config.settings import Settings, parsed_settings
from ddb_pipeline.hive.infer import Inference, infer_items

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ARN = "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-orders"
FACTS = TableFacts(
    name="prod-orders",
    arn=ARN,
    keys=(("customer", "N"), ("at", "B")),
    items=1200,
    size_bytes=360_000,
    stream_arn=f"{ARN}/stream/2026-11-26T08:00:00.000",
    stream_view="NEW_AND_OLD_IMAGES",
    recovery=True,
    expires_by="",
    kms_key="",
    replicas=(),
    functions=(),
    read_units=0,
)
PLACE = Place("000000000000")
START = datetime(2026, 11, 26, 9, tzinfo=timezone.utc)


def table(name: str = "prod-orders", **changed: Any) -> LookedAt:
    arn = ARN.replace("prod-orders", name)
    stream = f"{arn}/stream/2026-11-26T08:00:00.000"
    facts = replace(FACTS, **{"name": name, "arn": arn, "stream_arn": stream, **changed})
    return LookedAt(facts, Inference.empty())


def written(*tables: LookedAt, place: Place = PLACE) -> str:
    return configuration(propose(tables, place, START), "eu-central-1", "2026-11-26")


def loaded(*tables: LookedAt, place: Place = PLACE) -> Settings:
    return parsed_settings(written(*tables, place=place), "file")


def decisions(text: str) -> list[str]:
    return [line for line in text.splitlines() if "DECIDE: " in line]


def test_the_configuration_of_a_table() -> None:
    (pipeline,) = loaded(table()).pipelines
    assert pipeline.name == "prod_orders"
    assert pipeline.dynamodb_table == "prod-orders"
    assert pipeline.existing_table
    assert pipeline.bucket == "prod-orders-lake-000000000000"
    assert pipeline.start == START
    assert not decisions(written(table()))
    assert "# prod-orders: key customer (N), at (B); 1,200 items, 360 KB" in written(table())


@pytest.mark.parametrize(
    ("changed", "said", "values"),
    [
        ({"recovery": False}, "read units", {"export_with": "scan", "gap_policy": "report"}),
        ({"recovery": None}, "not readable", {"export_with": "export"}),
        ({}, "billed for ten minutes", {"crawl_schedule": "30 2 * * *"}),
        ({"size_bytes": 2_000_000_000}, "244,141 read units", {"crawl_schedule": "30 2 * * *"}),
        ({"size_bytes": 2 * 10**11}, "emr_serverless", {"crawl_schedule": "30 2 * * 0"}),
        ({"kms_key": "arn:aws:kms:x:1:key/2"}, "kms:Decrypt", {}),
        ({"expires_by": "until\nnow"}, "expire by until\\nnow", {}),
        ({"replicas": ("us-east-1",)}, "global table", {}),
        ({"functions": ("one", "two")}, "DECIDE: 2 functions read the stream", {}),
        ({"functions": ("one",)}, "", {}),
        ({"functions": None}, "", {}),
    ],
)
def test_what_follows_from_a_table(
    changed: dict[str, Any], said: str, values: dict[str, str]
) -> None:
    text = written(table(**changed))
    assert said in " ".join(line.removeprefix("# ") for line in text.splitlines())
    (pipeline,) = parsed_settings(text, "file").pipelines
    found = pipeline.model_dump(mode="json")
    assert {key: found[key] for key in values} == values


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stream_arn": "", "stream_view": ""}, "The table has no stream."),
        ({"stream_view": "KEYS_ONLY"}, "The stream has KEYS_ONLY"),
    ],
)
def test_a_table_without_whole_images_is_a_comment(changed: dict[str, Any], said: str) -> None:
    text = written(table(), table("other", **changed))
    assert [each["name"] for each in tomllib.loads(text)["pipelines"]] == ["prod_orders"]
    assert f"DECIDE: {said}" in text
    assert "#   ddb-pipeline enable-stream other" in text
    uncommented = re.sub(r"^# (\[\[|[a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    assert len(tomllib.loads(uncommented)["pipelines"]) == 2


def test_types_without_a_common_type_are_a_decision() -> None:
    items: list[dict[str, Any]] = [
        {
            "customer": {"N": "1"},
            "total": {"N": "1"},
            "x\x1b[31m": {"NULL": True},
            "lines": {"L": [{"N": "1"}, {"S": "secret"}]},
        },
        {"customer": {"N": "2"}, "total": {"S": "secret"}},
    ]
    looked_at = LookedAt(FACTS, infer_items(items, ("customer", "at")))
    text = written(looked_at)
    assert "# DECIDE: These attributes have values of several types" in text
    assert "A sample of 2 items has 3 columns." in text
    assert "secret" not in text
    assert "\x1b" not in text
    assert not parsed_settings(text, "file").pipelines[0].type_conflicts
    [lines] = re.findall(r"^#   \[pipelines.type_conflicts\]\n(?:^#   .*\n)+", text, re.MULTILINE)
    assert '#   total = "split"  # 1 N, 1 S\n' in lines
    decided = text.replace(lines, re.sub("^#", "", lines, flags=re.MULTILINE))
    assert parsed_settings(decided, "file").pipelines[0].type_decisions.names_by_path == {
        "lines[]": "text",
        "total": "split",
    }


def test_tables_whose_names_lead_to_one_name_stay_apart() -> None:
    tables = [table(name) for name in ("Prod-Orders", "prod_orders", "prod.orders", "x" * 60)]
    shared = Place("000000000000", database="analytics", databases=frozenset({"analytics"}))
    for place in (PLACE, shared):
        pipelines = loaded(*tables, place=place).pipelines
        assert len({each.name for each in pipelines}) == 4
        assert all(len(each.bucket) <= 63 for each in pipelines)
    names = [derived_tables(each.dynamodb_table, each.table_prefix) for each in pipelines]
    assert len(set().union(*names)) == sum(map(len, names))


def test_catalog_tables_that_exist_are_left_alone() -> None:
    existing = frozenset({"prod_orders"})
    place = Place("1", database="analytics", databases=frozenset({"analytics"}))
    (pipeline,) = loaded(table(), place=replace(place, catalog_tables=existing)).pipelines
    assert not derived_tables(pipeline.dynamodb_table, pipeline.table_prefix) & existing
    # The catalog table of the one is the current view of the other.
    pipelines = loaded(table("orders"), table("orders-current"), place=place).pipelines
    assert [each.table_prefix != "" for each in pipelines] == [False, True]


@settings(max_examples=25)
@given(
    st.lists(
        st.from_regex(r"[a-zA-Z0-9_.-]{3,60}", fullmatch=True), min_size=1, max_size=3, unique=True
    )
)
def test_any_table_has_a_name_of_its_own(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        taken.add(pipeline_name(name, taken))
    assert len(taken) == len(names)
    assert len(loaded(*map(table, names)).pipelines) == len(names)


@pytest.mark.parametrize(
    ("names", "pattern", "chosen"),
    [
        (["b", "a", "b"], "", ["b", "a"]),
        ([], "prod-*", ["prod-a", "prod-b"]),
        (["prod-b", "z"], "prod-?", ["prod-b", "z", "prod-a"]),
        ([], "*", ["Prod-x", "prod-a", "prod-b"]),
    ],
)
def test_tables_by_name_and_pattern(names: list[str], pattern: str, chosen: list[str]) -> None:
    existing = ["prod-b", "prod-a", "Prod-x", "orders-stream-checkpoints"]
    assert chosen_tables(names, pattern, existing) == chosen


def test_a_pattern_without_a_table_says_which_there_are() -> None:
    with pytest.raises(NoTableError, match=r"'x\*'.*2 tables.*: prod-a, prod-b"):
        chosen_tables([], "x*", ["prod-b", "prod-a"])
