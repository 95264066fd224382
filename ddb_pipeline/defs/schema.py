"""The schema: the crawled table repaired in place, then the lake table widened; their checks."""

from collections.abc import Iterator, Sequence

import dagster as dg

from ddb_pipeline.config.names import crawled_table, lake_table, stream_location
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    CRAWLED_CATALOG_TABLE,
    LAKE_TABLE,
    NORMALIZED_SCHEMA,
    asset_key,
)
from ddb_pipeline.defs.console_links import console_links
from ddb_pipeline.defs.lineage import same_columns
from ddb_pipeline.defs.metadata import changes_table, schema_metadata, timeline_text
from ddb_pipeline.defs.pipeline_asset import pipeline_asset
from ddb_pipeline.glue.catalog import (
    CatalogError,
    CatalogTable,
    TableReference,
    read_table,
    version_before,
)
from ddb_pipeline.glue.history import column_events, table_history
from ddb_pipeline.glue.lake_table import widen_lake_table
from ddb_pipeline.glue.repair import fix_table, pending_changes
from ddb_pipeline.hive.evolve import SchemaDiff, narrowings, render_markdown
from ddb_pipeline.hive.types import Column, HiveTypeError, parse_type
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import COLUMN_SCHEMA


def normalized_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``normalized_schema``: the schema fix on the crawled table."""
    key = asset_key(pipeline, NORMALIZED_SCHEMA)

    @pipeline_asset(
        key=key,
        deps=[asset_key(pipeline, CRAWLED_CATALOG_TABLE)],
        description=(
            "The crawled Glue table, repaired in place: `set<T>` becomes `array<T>`, and every "
            "other type that Firehose, Hive, Spark or Athena refuses is replaced by one that they "
            "accept."
        ),
        pipeline=pipeline,
        kinds={"glue"},
        metadata=console_links(settings, pipeline, catalog_table=crawled_table(pipeline)),
        pool=f"glue_{pipeline.name}",
        check_specs=[
            dg.AssetCheckSpec(
                "valid_hive_types",
                asset=key,
                description="Hive can parse every column type.",
            ),
            dg.AssetCheckSpec(
                "nothing_pending",
                asset=key,
                description="The table, read again after the repair, needs no further change.",
            ),
        ],
    )
    def normalized_schema(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        yield normalize(cloud.for_pipeline(pipeline), pipeline, context.log)

    return normalized_schema


def normalize(
    cloud: CloudResource, pipeline: PipelineConfig, log: dg.DagsterLogManager
) -> dg.MaterializeResult[None]:
    """Repair the crawled table, and check it as it is then."""
    decisions = pipeline.type_decisions
    repair = fix_table(cloud.glue, crawled_table(pipeline), decisions)
    if repair.left_alone:
        log.warning(
            "%s is left alone, because %s: it is not the table of a DynamoDB crawler.",
            repair.table,
            repair.left_alone,
        )
    for change in repair.changes:
        log.info("%s: %s -> %s", change.path, change.before, change.after)
    table = read_table(cloud.glue, crawled_table(pipeline))
    return dg.MaterializeResult(
        metadata={
            **schema_metadata(table.reference, table.version_id, table.columns),
            **columns_from(pipeline, CRAWLED_CATALOG_TABLE, table.columns, table.columns),
            "timeline": timeline(cloud, table.reference),
            "changes": changes_table(repair.changes),
            "changed_columns": len({change.column for change in repair.changes}),
            "version_before": repair.version_before,
        },
        data_version=dg.DataVersion(table.fingerprint),
        check_results=[
            valid_hive_types(table.columns),
            nothing_pending(pending_changes(table, decisions)),
        ],
    )


def columns_from(
    pipeline: PipelineConfig, upstream: str, columns: Sequence[Column], found: Sequence[Column]
) -> dict[str, dg.MetadataValue]:
    """The metadata that columns are those of an asset before, which has the columns ``found``."""
    names = [column.name for column in found]
    return same_columns([c.name for c in columns], {asset_key(pipeline, upstream): names})


def timeline(cloud: CloudResource, reference: TableReference) -> dg.MetadataValue:
    """What the newest versions of a catalog table changed; or why that cannot be read."""
    try:
        events = column_events(table_history(cloud.glue, reference))
        return dg.MetadataValue.md(timeline_text(events))
    except CatalogError as error:
        return dg.MetadataValue.text(str(error))


def valid_hive_types(columns: tuple[tuple[str, str], ...]) -> dg.AssetCheckResult:
    """Fails where Hive cannot parse a type; the metadata has Hive's reason."""
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
    """Warns of changes pending after the repair: a crawler wrote the table at the same time.

    The sensor then requests another run.
    """
    return dg.AssetCheckResult(
        check_name="nothing_pending",
        passed=not changes,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"pending": len(changes)},
    )


def lake_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``lake_table``: the lake table, widened to hold the crawled table's columns."""
    key = asset_key(pipeline, LAKE_TABLE)

    @pipeline_asset(
        key=key,
        deps=[asset_key(pipeline, NORMALIZED_SCHEMA)],
        description=(
            "The Glue table over the Parquet files, with the columns of the crawled table, those "
            "that delivery adds, and the delivery hour as partitions. Its schema only widens: a "
            "column that a crawl no longer finds stays."
        ),
        pipeline=pipeline,
        kinds={"glue", "parquet"},
        metadata=console_links(settings, pipeline, catalog_table=lake_table(pipeline)),
        pool=f"glue_{pipeline.name}_lake",
        check_specs=[
            dg.AssetCheckSpec(
                "only_widening",
                asset=key,
                description=(
                    "The table has every column that it had when it was last materialised, with "
                    "the same type or a wider one."
                ),
            ),
            dg.AssetCheckSpec(
                "crawl_fits",
                asset=key,
                description="No column of the crawled table has a type in conflict with the lake.",
            ),
        ],
    )
    def lake_table_asset(
        context: dg.AssetExecutionContext, cloud: CloudResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        columns = materialized_columns(context.instance, key)
        yield widen(cloud.for_pipeline(pipeline), pipeline, columns)

    return lake_table_asset


def widen(
    cloud: CloudResource, pipeline: PipelineConfig, known: Sequence[Column] | None
) -> dg.MaterializeResult[None]:
    """Widen the lake table by the crawled table's columns; ``known`` are its columns until now."""
    source = read_table(cloud.glue, crawled_table(pipeline))
    update = widen_lake_table(
        cloud.glue, lake_table(pipeline), stream_location(pipeline), source.columns
    )
    table, diff = update.table, update.evolution.diff
    return dg.MaterializeResult(
        metadata={
            **schema_metadata(table.reference, table.version_id, table.columns),
            **columns_from(pipeline, NORMALIZED_SCHEMA, table.columns, source.columns),
            "timeline": timeline(cloud, table.reference),
            "dagster/uri": table.location,
            "changes": dg.MetadataValue.md(render_markdown(diff)),
        },
        data_version=dg.DataVersion(table.fingerprint),
        check_results=[
            only_widening(known or columns_before(cloud, table), table),
            crawl_fits(diff),
        ],
    )


def materialized_columns(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> tuple[Column, ...] | None:
    """The columns of an asset's latest materialisation; None where there is none."""
    event = instance.get_latest_materialization_event(key)
    materialization = event.asset_materialization if event is not None else None
    schema = materialization.metadata.get(COLUMN_SCHEMA) if materialization else None
    if not isinstance(schema, dg.TableSchemaMetadataValue):
        return None
    return tuple(Column(column.name, column.type) for column in schema.schema.columns)


def columns_before(cloud: CloudResource, table: CatalogTable) -> tuple[Column, ...]:
    """The columns of the table version before this one; empty where that is not known."""
    before = version_before(cloud.glue, table)
    return before.columns if before else ()


def only_widening(before: Sequence[Column], table: CatalogTable) -> dg.AssetCheckResult:
    """Fails where another writer removed or narrowed columns under which rows are stored."""
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
    """Warns of types in conflict: the lake's type stays, and values of the other type fail."""
    return dg.AssetCheckResult(
        check_name="crawl_fits",
        passed=not diff.conflicting,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "conflicts": len(diff.conflicting),
            "diff": dg.MetadataValue.md(render_markdown(diff)),
        },
    )
