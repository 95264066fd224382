"""The schema: the crawled table mended in place, the lake table widened after it, their checks."""

from collections.abc import Iterator, Sequence

import dagster as dg

from ddb_pipeline.config.names import crawled_table, lake_table, stream_location
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
)
from ddb_pipeline.defs.crawl import RETRY
from ddb_pipeline.defs.metadata import COLUMN_SCHEMA, changes_table, schema_metadata
from ddb_pipeline.glue.catalog import CatalogTable, read_table, version_before
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.repair import fix_table, pending_changes
from ddb_pipeline.hive.evolve import SchemaDiff, narrowings, render_markdown
from ddb_pipeline.hive.types import Column, HiveTypeError, parse_type
from ddb_pipeline.resources.cloud import CloudResource


def normalized_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(pipeline, NORMALIZED_SCHEMA),
        deps=[asset_key(pipeline, CRAWLED_CATALOG_TABLE)],
        description=(
            "The same Glue table, fixed in place: `set<T>` becomes `array<T>`, and every other "
            "type that Firehose, Hive, Spark or Athena refuses is mended."
        ),
        group_name=pipeline.name,
        kinds={"glue"},
        retry_policy=RETRY,
        pool=f"glue_{pipeline.name}",
        check_specs=[
            dg.AssetCheckSpec(
                name="valid_hive_types",
                asset=asset_key(pipeline, NORMALIZED_SCHEMA),
                description="Every column type is one that Hive itself can parse.",
            ),
            dg.AssetCheckSpec(
                name="nothing_pending",
                asset=asset_key(pipeline, NORMALIZED_SCHEMA),
                description="The table, read again after the fix, needs no further change.",
            ),
        ],
    )
    def normalized_schema(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        repair = fix_table(cloud.glue, crawled_table(pipeline))
        for change in repair.changes:
            context.log.info("%s: %s -> %s", change.path, change.before, change.after)
        table = read_table(cloud.glue, crawled_table(pipeline))
        yield dg.MaterializeResult(
            metadata={
                **schema_metadata(table.reference, table.version_id, table.columns),
                "changes": changes_table(repair.changes),
                "changed_columns": len({change.column for change in repair.changes}),
                "version_before": repair.version_before,
            },
            data_version=dg.DataVersion(table.fingerprint),
            check_results=[
                valid_hive_types(table.columns),
                nothing_pending(pending_changes(table)),
            ],
        )

    return normalized_schema


def valid_hive_types(columns: tuple[tuple[str, str], ...]) -> dg.AssetCheckResult:
    refused = {}
    for name, text in columns:
        try:
            parse_type(text)
        except HiveTypeError as error:
            refused[name] = str(error)
    return dg.AssetCheckResult(
        check_name="valid_hive_types",
        passed=not refused,
        metadata={"columns": len(columns), "refused": dg.MetadataValue.json(refused)},
    )


def nothing_pending(changes: tuple[object, ...]) -> dg.AssetCheckResult:
    """Pending changes right after a fix mean that a crawler was faster: the sensor comes again."""
    return dg.AssetCheckResult(
        check_name="nothing_pending",
        passed=not changes,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"pending": len(changes)},
    )


def lake_asset(pipeline: PipelineConfig) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(pipeline, LAKE_TABLE),
        deps=[asset_key(pipeline, NORMALIZED_SCHEMA)],
        description=(
            "Glue table over the Parquet, with the delivery's own columns and partitions. "
            "It only ever widens: what a crawl no longer sees stays."
        ),
        group_name=pipeline.name,
        kinds={"glue", "parquet"},
        retry_policy=RETRY,
        pool=f"glue_{pipeline.name}_lake",
        check_specs=[
            dg.AssetCheckSpec(
                name="only_widening",
                asset=asset_key(pipeline, LAKE_TABLE),
                description=(
                    "The table has every column that it had when last materialised, with the "
                    "same type or one that holds all its values."
                ),
            ),
            dg.AssetCheckSpec(
                name="crawl_fits",
                asset=asset_key(pipeline, LAKE_TABLE),
                description="No column of the crawl contradicts the lake's type for it.",
            ),
        ],
    )
    def lake_table_asset(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        source = read_table(cloud.glue, crawled_table(pipeline))
        known = materialized_columns(context.instance, asset_key(pipeline, LAKE_TABLE))
        update = widen_lake_table(
            cloud.glue, lake_table(pipeline), stream_location(pipeline), source.columns
        )
        table = update.table
        diff = update.evolution.diff
        yield dg.MaterializeResult(
            metadata={
                **schema_metadata(table.reference, table.version_id, table.columns),
                "dagster/uri": table.location,
                "changes": dg.MetadataValue.md(render_markdown(diff)),
            },
            data_version=dg.DataVersion(table.fingerprint),
            check_results=[
                only_widening(known or columns_before(cloud, table), table),
                crawl_fits(diff),
            ],
        )

    return lake_table_asset


def materialized_columns(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> tuple[Column, ...] | None:
    """The columns that an asset had when it was last materialised; None where it never was."""
    event = instance.get_latest_materialization_event(key)
    materialization = event.asset_materialization if event is not None else None
    schema = materialization.metadata.get(COLUMN_SCHEMA) if materialization else None
    if not isinstance(schema, dg.TableSchemaMetadataValue):
        return None
    return tuple(Column(column.name, column.type) for column in schema.schema.columns)


def columns_before(cloud: CloudResource, table: CatalogTable) -> tuple[Column, ...]:
    """The columns of the version that this one replaced; none where that is not known."""
    before = version_before(cloud.glue, table)
    return before.columns if before else ()


def only_widening(before: Sequence[Column], table: CatalogTable) -> dg.AssetCheckResult:
    """Fails where another writer took away what rows of the lake are stored under."""
    lost = narrowings(before, table.columns)
    return dg.AssetCheckResult(
        check_name="only_widening",
        passed=not lost,
        metadata={
            "version": table.version_id,
            "columns_before": len(before),
            "narrowed": dg.MetadataValue.json([[d.path, d.before, d.after] for d in lost]),
        },
    )


def crawl_fits(diff: SchemaDiff) -> dg.AssetCheckResult:
    """Warns of types in conflict: the lake keeps its own, and such values fail until decided."""
    return dg.AssetCheckResult(
        check_name="crawl_fits",
        passed=not diff.conflicting,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "conflicts": len(diff.conflicting),
            "diff": dg.MetadataValue.md(render_markdown(diff)),
        },
    )
