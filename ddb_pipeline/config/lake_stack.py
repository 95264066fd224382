"""What many pipelines share: one stack with bucket, database, table-change queue and alarms topic.

A pipeline of the lake has the lake's names where it gives none, and its own prefix in the bucket.
One that names another bucket is none of the lake's: its own stack has everything.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from ddb_pipeline.config.accounts import ACCOUNT, lake_catalog_problems
from ddb_pipeline.config.choices import SchemaFix
from ddb_pipeline.config.deployment import DeploymentConfig
from ddb_pipeline.config.names import crawled_table, default_names, resource_stem
from ddb_pipeline.config.pipeline import BUCKET_NAME, NAME, PipelineConfig, matching
from ddb_pipeline.errors import DdbPipelineError

LONGEST_WATCH_LIST = 3000
"""A function's environment has 4 KB (AWS Lambda quotas)."""
LONGEST_ENVIRONMENT = 3800
"""Characters of the values in it that the schema fix may have."""


class LakeConfigError(DdbPipelineError):
    """A lake cannot be deployed as it is configured; the message says what to change."""


class LakeConfig(DeploymentConfig):
    """The stack that the pipelines of a lake share."""

    name: str = Field(pattern=NAME, description="Stem of the names of the shared resources.")
    bucket: str = Field(description="The lake's S3 bucket.")
    existing_bucket: bool = Field(default=False, description="The bucket exists already.")
    prefix: str = Field(
        default="", description="What the lake_prefix of each pipeline begins with by default."
    )
    database: str = Field(default="", description="The Glue database; by default the name.")
    existing_database: bool = Field(default=False, description="The database exists already.")
    catalog_id: str = Field(
        default="",
        pattern=ACCOUNT,
        description="The account whose Glue Data Catalog has the database; by default the own.",
    )
    table_prefix: str = Field(default="", description="The crawlers' table prefix.")
    schema_fix: SchemaFix = SchemaFix.BOTH

    @model_validator(mode="after")
    def _catalog(self) -> "LakeConfig":
        for problem in lake_catalog_problems(
            self.catalog_id, existing_database=self.existing_database, schema_fix=self.schema_fix
        ):
            raise ValueError(problem)
        return self

    def model_post_init(self, context: Any) -> None:
        """Check what a pattern cannot say."""
        matching(self.bucket, BUCKET_NAME, "an S3 bucket name")

    @property
    def stack(self) -> str:
        """The name of the CloudFormation stack."""
        return resource_stem(self.name)


def joined(lake: Mapping[str, Any], pipelines: Sequence[Any]) -> list[Any]:
    """The pipelines, as they are written, with what those of the lake have from it."""
    return [
        _joined(lake, each) if isinstance(each, Mapping) and _is_of(lake, each) else each
        for each in pipelines
    ]


def _is_of(lake: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
    return pipeline.get("bucket") in (None, "", lake.get("bucket"))


def _joined(lake: Mapping[str, Any], pipeline: Mapping[str, Any]) -> dict[str, Any]:
    name = str(lake.get("name", ""))
    folders = (str(lake.get("prefix", "")).strip("/"), str(pipeline.get("name", "")))
    passed_on = {*DeploymentConfig.model_fields, "table_prefix", "schema_fix", "catalog_id"}
    return {
        **{key: lake[key] for key in passed_on if key in lake},
        "lake_name": name,
        "bucket": lake.get("bucket"),
        "lake_prefix": "/".join(folder for folder in folders if folder),
        "database": lake.get("database") or name,
        "change_queue": default_names(name)["change_queue"],
        **pipeline,
        "existing_bucket": True,
        "existing_database": True,
    }


def watched_tables(lake: LakeConfig, pipelines: Sequence[PipelineConfig]) -> str:
    """The crawled tables that the lake's function repairs, as its environment has them.

    In a database of the lake's own these are all tables. In another one they are named, or have
    the lake's table prefix where they are too many for that.

    Raises:
        LakeConfigError: they are too many, and have no prefix in common.
    """
    database = lake.database or lake.name
    if not lake.existing_database:
        return f"{database}.*"
    tables = [str(crawled_table(each)) for each in pipelines if each.lake_name == lake.name]
    names = ",".join(sorted(tables))
    if len(names) <= LONGEST_WATCH_LIST:
        return names
    prefix = f"{database}.{lake.table_prefix.lower()}"
    if lake.table_prefix and all(table.startswith(prefix) for table in tables):
        return f"{prefix}*"
    raise LakeConfigError(
        f"The names of the {len(tables)} crawled tables in database {database!r} are too long for "
        f'the schema fix. Set table_prefix in [lake], or schema_fix = "dagster".'
    )


def lake_decisions(lake: LakeConfig, pipelines: Sequence[PipelineConfig]) -> str:
    """What is decided about types in the lake's crawled tables, as its function has it.

    Raises:
        LakeConfigError: the decisions are too many for it.
    """
    if lake.schema_fix is SchemaFix.DAGSTER:
        return ""
    text = decisions_by_table([each for each in pipelines if each.lake_name == lake.name])
    if len(text) + len(watched_tables(lake, pipelines)) > LONGEST_ENVIRONMENT:
        raise LakeConfigError(
            f"The type_conflicts of the pipelines in lake {lake.name!r} are too long for the "
            'schema fix. Set schema_fix = "dagster" in [lake]: Dagster has no such limit.'
        )
    return text


def decisions_by_table(pipelines: Sequence[PipelineConfig]) -> str:
    """The decisions about types as JSON, by crawled table and path; empty for none."""
    found = {
        str(crawled_table(each)): each.type_decisions.names_by_path
        for each in pipelines
        if each.type_decisions
    }
    return json.dumps(found, separators=(",", ":")) if found else ""
