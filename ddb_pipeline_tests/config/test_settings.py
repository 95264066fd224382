"""Settings from TOML and environment: what is taken, what is refused and in which words."""

from pathlib import Path

import pytest

from ddb_pipeline.config.choices import DeliverySchema
from ddb_pipeline.config.names import iceberg_database
from ddb_pipeline.config.settings import ConfigError, Target, load_settings
from ddb_pipeline.deploy.bundle import FUNCTIONS, Bundle
from ddb_pipeline.deploy.parameters import stack_parameters

AWS = {"DDB_PIPELINE_TARGET": "aws"}


def write(directory: Path, text: str) -> None:
    (directory / ".ddb_pipeline.toml").write_text(text, encoding="utf-8")


def shared(key: str) -> str:
    """Two pipelines whose ``key`` is the same."""
    return "".join(f'[[pipelines]]\nname = "{n}_logs"\n{key} = "abc"\n' for n in ("one", "two"))


def test_without_configuration_the_demo_runs_embedded(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.target is Target.EMBEDDED
    assert settings.home == tmp_path / ".ddb_pipeline"
    (pipeline,) = settings.pipelines
    assert pipeline.name == "search_logs"
    assert pipeline.delivery_schema is DeliverySchema.CRAWLED


def test_names_follow_from_the_pipelines_name(tmp_path: Path) -> None:
    write(tmp_path, '[[pipelines]]\nname = "web_logs"\nbucket = "our-lake"\ncrawler = "nightly"\n')
    (pipeline,) = load_settings(AWS, tmp_path).pipelines
    assert pipeline.dynamodb_table == "web-logs"
    assert pipeline.database == "web_logs"
    assert pipeline.delivery_stream == "web-logs-stream"
    assert pipeline.change_queue == "web-logs-table-changes"
    assert pipeline.bucket == "our-lake"
    assert pipeline.crawler == "nightly"
    assert pipeline.delivery_schema is DeliverySchema.LAKE


def test_a_configuration_elsewhere_is_named_by_the_environment(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        'region = "eu-west-1"\n[[pipelines]]\nname = "logs"\nbucket = "a-lake"\n', "utf-8"
    )
    settings = load_settings({**AWS, "DDB_PIPELINE_CONFIG": str(other)}, tmp_path)
    assert settings.region == "eu-west-1"


@pytest.mark.parametrize(
    ("case", "text", "environment", "said"),
    [
        ("not TOML", "[[pipelines", {}, ".ddb_pipeline.toml is not TOML"),
        ("an unknown key", '[[pipelines]]\nname = "logs"\nbuket = "b"\n', {}, "pipelines[0].buket"),
        ("a bad name", '[[pipelines]]\nname = "X-1"\n', {}, "pipelines[0].name"),
        ("no name", '[[pipelines]]\nbucket = "abc"\n', {}, "pipelines[0].name"),
        ("a bad bucket", '[[pipelines]]\nname = "logs"\nbucket = "A"\n', {}, "pipelines[0].bucket"),
        (
            "a bad interval",
            '[[pipelines]]\nname = "logs"\nbuffer_seconds = 1000\n',
            {},
            "pipelines[0].buffer_seconds",
        ),
        (
            "a bad schema",
            '[[pipelines]]\nname = "logs"\ndelivery_schema = "glue"\n',
            {},
            "pipelines[0].delivery_schema",
        ),
        (
            "one name twice",
            '[[pipelines]]\nname = "logs"\n[[pipelines]]\nname = "logs"\n',
            {},
            "the name 'logs' is given twice",
        ),
        (
            "a setting that the function has not",
            '[[pipelines]]\nname = "logs"\nfunction_settings = {DELIVERY_STREAM = "s"}\n',
            {},
            "pipelines[0].function_settings",
        ),
        (
            "a setting that the function refuses",
            '[[pipelines]]\nname = "logs"\nfunction_settings = {EVENT_NAMES = "UPSERT"}\n',
            {},
            "EVENT_NAMES: 'UPSERT' is none of",
        ),
        (
            "pseudonyms without a key",
            '[[pipelines]]\nname = "logs"\nfunction_settings = {PSEUDONYMISE_ATTRIBUTES = "u"}\n',
            {},
            "PSEUDONYM_KEY_SECRET_ARN",
        ),
        (
            "an unknown log column",
            '[[pipelines]]\nname = "logs"\n[pipelines.relevance]\ncolumns = {phrase = "q"}\n',
            {},
            "there is no 'phrase'; there are: key, user, query",
        ),
        (
            "a log column left out",
            '[[pipelines]]\nname = "logs"\n[pipelines.relevance]\ncolumns = {query = ""}\n',
            {},
            "The column mapping has no query column.",
        ),
        (
            "a heap of no size",
            '[[pipelines]]\nname = "logs"\n[pipelines.spark]\ndriver_memory = "lots"\n',
            {},
            "pipelines[0].spark.driver_memory",
        ),
        (
            "a crawl schedule that is no cron",
            '[[pipelines]]\nname = "logs"\ncrawl_schedule = "hourly"\n',
            {},
            "pipelines[0].crawl_schedule",
        ),
        (
            "an export schedule of another hour",
            '[[pipelines]]\nname = "logs"\nexport_schedule = "0 25 * * *"\n',
            {},
            "pipelines[0].export_schedule",
        ),
        ("brackets without end", "pipelines = " + "[" * 5000, {}, "cannot be read as TOML"),
        ("an integer of 5,000 digits", "home = " + "1" * 5000, {}, "cannot be read as TOML"),
        ("a home that is a number", "home = 5\n", {}, "home is 5; it takes the path"),
        ("a home with a NUL", 'home = "a\\u0000b"\n', {}, "it takes the path of a folder"),
        ("pipelines that are a number", "pipelines = 5\n", {}, "pipelines: "),
        ("pipelines that are a number on AWS", "pipelines = 5\n", AWS, "pipelines: "),
        ("a pipeline that is a number", "pipelines = [5]\n", AWS, "pipelines[0]: "),
        ("a malformed region", 'region = "eu central"\n', {}, "region: "),
        *(
            (
                f"the bucket {bucket}",
                f'[[pipelines]]\nname = "logs"\nbucket = "{bucket}"\n',
                {},
                "is not an S3 bucket name",
            )
            for bucket in ("b..b", "192.168.5.4", "xn--logs", "logs-s3alias", "a" * 64, "logs-")
        ),
        *(
            (
                f"exports under {prefix}",
                f'[[pipelines]]\nname = "logs"\nexport_prefix = "{prefix}"\n',
                {},
                "holds other objects of the pipeline",
            )
            for prefix in ("stream", "stream/exports", "/errors/", "dead-letters")
        ),
        *(
            (f"one {key} for two pipelines", shared(key), {}, f"have the same {key}, 'abc'")
            for key in ("bucket", "stack", "crawler", "change_queue", "delivery_stream")
        ),
        (
            "one catalog table for two pipelines",
            shared("database") + 'dynamodb_table = "one-logs"\n',
            {},
            "have the same catalog table, 'abc.one_logs'",
        ),
        ("no pipelines", "pipelines = []\n", {}, "pipelines"),
        ("another target", "", {"DDB_PIPELINE_TARGET": "gcp"}, "DDB_PIPELINE_TARGET is 'gcp'"),
        ("AWS without pipelines", "", AWS, "DDB_PIPELINE_TARGET=aws needs pipelines"),
        ("AWS without a bucket", '[[pipelines]]\nname = "logs"\n', AWS, "pipelines[0].bucket"),
        ("a missing file", "", {"DDB_PIPELINE_CONFIG": "/none.toml"}, "/none.toml cannot be read"),
    ],
)
def test_refusals_name_the_key(
    case: str, text: str, environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    if text:
        write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_settings(environment, tmp_path)
    assert said in str(error.value), case


EMR = """
[[pipelines]]
name = "logs"
bucket = "our-logs"
[pipelines.spark]
emr_serverless = true
"""


@pytest.mark.parametrize(("environment", "on_emr"), [({}, False), (AWS, True)])
def test_spark_runs_on_emr_where_there_is_one(
    environment: dict[str, str], on_emr: bool, tmp_path: Path
) -> None:
    write(tmp_path, EMR)
    (pipeline,) = load_settings(environment, tmp_path).pipelines
    assert pipeline.spark.emr_serverless is on_emr
    codes = {name: Bundle(name, b"", "0" * 64) for name in FUNCTIONS}
    parameters = stack_parameters(pipeline, "code", codes)
    assert parameters["EmrServerless"] == ("true" if on_emr else "false")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [('"15m"', 900), ('"1h"', 3600), ('"24h"', 86_400), ('"1d"', 86_400), ("1800", 1800)],
)
def test_how_often_changes_are_exported(tmp_path: Path, text: str, seconds: int) -> None:
    write(tmp_path, f'[[pipelines]]\nname = "logs"\ncurrent_every = {text}\n')
    (pipeline,) = load_settings({}, tmp_path).pipelines
    assert pipeline.current_every.total_seconds() == seconds


@pytest.mark.parametrize("text", ['"14m"', '"25h"', '"soon"', "1800.5"])
def test_intervals_that_no_incremental_export_covers(tmp_path: Path, text: str) -> None:
    write(tmp_path, f'[[pipelines]]\nname = "logs"\ncurrent_every = {text}\n')
    with pytest.raises(ConfigError, match="current_every"):
        load_settings({}, tmp_path)


def test_iceberg_tables_have_a_database_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, '[[pipelines]]\nname = "logs"\ntable_format = "iceberg"\n')
    (pipeline,) = load_settings({}, tmp_path).pipelines
    assert iceberg_database(pipeline) == "logs_iceberg"
    write(tmp_path, '[[pipelines]]\nname = "logs"\niceberg_database = "tables"\n')
    (pipeline,) = load_settings({}, tmp_path).pipelines
    assert iceberg_database(pipeline) == "tables"


@pytest.mark.parametrize(
    ("line", "named"),
    [('iceberg_database = "logs"', "another one"), ("compaction.enabled = false", "compaction")],
)
def test_iceberg_tables_that_cannot_be(tmp_path: Path, line: str, named: str) -> None:
    write(tmp_path, f'[[pipelines]]\nname = "logs"\ntable_format = "iceberg"\n{line}\n')
    with pytest.raises(ConfigError, match=named):
        load_settings({}, tmp_path)
