"""``parquet_current``: the table as it is now, one row for each item."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from ddb_pipeline.config.choices import CurrentView
from ddb_pipeline.config.names import current_table, iceberg_table, lake_table
from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import (
    HEALED_GAPS,
    PARQUET_CHANGES,
    PARQUET_CURRENT,
    PARQUET_IO_MANAGER,
    PARQUET_SNAPSHOT,
    PARQUET_STREAM,
    asset_key,
)
from ddb_pipeline.defs.checks import gap_reports, source
from ddb_pipeline.defs.console_links import dataset_metadata
from ddb_pipeline.defs.current_exports import Found, found_exports, opened_export
from ddb_pipeline.defs.current_mergers import (
    BySpark,
    CurrentConfig,
    chosen_merger,
    update_size,
)
from ddb_pipeline.defs.iceberg import publish_current
from ddb_pipeline.defs.lineage import same_columns
from ddb_pipeline.defs.pipeline_asset import fresh_within, pipeline_asset
from ddb_pipeline.defs.previews import preview_metadata
from ddb_pipeline.dynamodb.tables import describe_table, key_types
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.glue.catalog import TableReference, read_table
from ddb_pipeline.glue.snapshot_table import item_columns
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.chain import name_of
from ddb_pipeline.lake.current.exports import Exports, plan_exports
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.current.manifest import MANIFEST, Manifest, Snapshot, TableIdentity, moment
from ddb_pipeline.lake.current.object_store import S3Manifest
from ddb_pipeline.lake.current.rows import ORIGIN_COLUMNS
from ddb_pipeline.lake.current.store import BucketStore
from ddb_pipeline.lake.current.update import Request, Updated
from ddb_pipeline.lake.current_sources import (
    EVENTS,
    HEALED,
    LakeChanges,
    Opened,
    hours_to_list,
    plan_lake_changes,
    snapshot_of,
    unmerged,
)
from ddb_pipeline.lake.current_versions import publish_version
from ddb_pipeline.lake.gaps import delivered_until, read_gaps
from ddb_pipeline.lake.hour_generations import hour_objects
from ddb_pipeline.lake.layout import CURRENT_PREFIX, DeliveryHour
from ddb_pipeline.lake.reconcile import reconcile
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.iceberg import is_iceberg
from ddb_pipeline.resources.table_metadata import COLUMN_SCHEMA, TABLE_NAME, column_schema

MAX_EVENTS = 1000
"""Materializations of hours that a run looks at; the next run goes on."""
MICROS = 1_000_000


def current_asset(settings: Settings, pipeline: PipelineConfig) -> dg.AssetsDefinition:
    """``parquet_current``: the view updated and its newest version published."""
    from_stream = pipeline.current is CurrentView.STREAM
    upstream = [PARQUET_STREAM, HEALED_GAPS] if from_stream else [PARQUET_CHANGES]

    @pipeline_asset(
        key=asset_key(pipeline, PARQUET_CURRENT),
        deps=[asset_key(pipeline, name) for name in (PARQUET_SNAPSHOT, *upstream)],
        description=(
            "The table as it is now, one row for each item: the newest full export, and the "
            + ("changes of the stream as they land." if from_stream else "incremental exports.")
            + " The catalog table is switched from one version to the next by one write."
        ),
        pipeline=pipeline,
        kinds={"parquet", "s3"},
        pool=f"current_{pipeline.name}",
        io_manager_key=PARQUET_IO_MANAGER,
        metadata=dataset_metadata(settings, pipeline, readers_table(pipeline), CURRENT_PREFIX),
        freshness_policy=fresh_within(pipeline),
    )
    def parquet_current(
        context: dg.AssetExecutionContext, cloud: CloudResource, config: CurrentConfig
    ) -> dg.MaterializeResult[None]:
        try:
            here = cloud.for_pipeline(pipeline)
            return make_current(context, here, settings, pipeline, config)
        except DdbPipelineError as error:
            raise dg.Failure(str(error)) from error

    return parquet_current


def readers_table(pipeline: PipelineConfig) -> TableReference:
    """The catalog table of the view."""
    table = current_table(pipeline)
    return iceberg_table(pipeline, table) if is_iceberg(pipeline) else table


def make_current(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    settings: Settings,
    pipeline: PipelineConfig,
    config: CurrentConfig,
) -> dg.MaterializeResult[None]:
    """Update the view and publish it.

    Raises:
        DdbPipelineError: it cannot be updated; the version before stays.
        dagster.Failure: the Spark job failed; the version before stays.
    """
    view = View(context.instance, cloud, pipeline)
    store = store_of(cloud, pipeline)
    before = store.read().manifest
    request = view.request(before)
    if request is None:
        updated, merged_by = Updated(before, published=False, rewritten=0), "no one: no change"
    else:
        size = update_size(before, request)
        merger = chosen_merger(context, cloud, settings, pipeline, config.engine, size)
        updated = merger.updated(store, before, request)
        merged_by = "Spark" if isinstance(merger, BySpark) else "one machine"
    manifest = updated.manifest
    if not manifest.version:
        context.log.info("There is no full export yet to begin with, or the stream is behind it.")
        return dg.MaterializeResult(metadata={"dagster/row_count": 0})
    location, metadata = publish(cloud, pipeline, store, manifest)
    return dg.MaterializeResult(
        metadata={
            **current_metadata(pipeline, updated, location),
            **current_lineage(pipeline, manifest),
            **current_preview(pipeline, store, manifest),
            **metadata,
            "merged_by": merged_by,
        },
        data_version=dg.DataVersion(f"{manifest.version}-{manifest.run}"),
    )


def publish(
    cloud: CloudResource, pipeline: PipelineConfig, store: BucketStore, manifest: Manifest
) -> tuple[str, Mapping[str, Any]]:
    """Have readers read a version; returns its location, and metadata."""
    if is_iceberg(pipeline):
        return publish_current(cloud, pipeline, store)
    table = current_table(pipeline)
    location = publish_version(cloud.s3, cloud.glue, pipeline.lake, table, manifest, time.time())
    return location, {TABLE_NAME: str(table)}


def store_of(cloud: CloudResource, pipeline: PipelineConfig) -> BucketStore:
    """Where the pipeline's view is stored."""
    return BucketStore(
        cloud.filesystem(),
        pipeline.lake.path(CURRENT_PREFIX),
        S3Manifest(cloud.s3, pipeline.lake, f"{CURRENT_PREFIX}{MANIFEST}"),
    )


def current_metadata(
    pipeline: PipelineConfig, updated: Updated, location: str
) -> Mapping[str, Any]:
    """What an update did, for the asset's page."""
    manifest, counts = updated.manifest, updated.counts
    snapshot = manifest.snapshot
    return {
        COLUMN_SCHEMA: column_schema((*manifest.columns, *ORIGIN_COLUMNS)),
        "dagster/row_count": manifest.rows,
        "dagster/uri": location,
        "as_of": dg.MetadataValue.timestamp(moment(manifest.as_of)),
        "full_export": snapshot.export if snapshot else "",
        "version": manifest.version,
        "buckets": manifest.buckets,
        "buckets_rewritten": updated.rewritten,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "deleted": counts.deleted,
        "too_late": counts.too_late,
        "seconds": round(updated.seconds, 3),
    }


def current_lineage(pipeline: PipelineConfig, manifest: Manifest) -> Mapping[str, Any]:
    """The metadata that the columns are those of the snapshot and of the changes."""
    from_stream = pipeline.current is CurrentView.STREAM
    names = [column.name for column in manifest.columns]
    upstream = (PARQUET_SNAPSHOT, PARQUET_STREAM if from_stream else PARQUET_CHANGES)
    return same_columns(names, {asset_key(pipeline, name): names for name in upstream})


def current_preview(
    pipeline: PipelineConfig, store: BucketStore, manifest: Manifest
) -> Mapping[str, Any]:
    """The first rows of the view."""
    for file in manifest.files:
        if file.path:
            return preview_metadata(pipeline, store.filesystem, f"{store.path}/{file.path}")
    return {}


@dataclass(frozen=True, slots=True)
class View:
    """A pipeline's view, and what it lacks."""

    instance: dg.DagsterInstance
    cloud: CloudResource
    pipeline: PipelineConfig

    def request(self, state: Manifest) -> Request | None:
        """The update that the configuration asks for; None if there is nothing to do."""
        from_stream = self.pipeline.current is CurrentView.STREAM
        found = self.stream_request(state) if from_stream else self.exports_request(state)
        # Iceberg defines no INT96.
        return found and replace(found, int96=not is_iceberg(self.pipeline))

    def exports_request(self, state: Manifest) -> Request | None:
        """The update by exports: those that continue the view, or a newer full one after a gap."""
        found = found_exports(self.cloud, self.pipeline, state)
        if found.full is None and not state.version:
            return None
        exports = Exports(
            found.full,
            found.changes,
            key=self._key_names,
            decisions=self.pipeline.type_decisions,
            known=self._lake_columns if self.pipeline.type_decisions else (),
        )
        return plan_exports(state, exports).request

    @property
    def _lake_columns(self) -> tuple[Column, ...]:
        return item_columns(read_table(self.cloud.glue, lake_table(self.pipeline)).columns)

    def stream_request(self, state: Manifest) -> Request | None:
        """The update by a newer full export, objects of the stream and healed gaps."""
        now = time.time()
        self._check_table(state)
        delivered = self.delivered_until(now)
        full = self._full_export(state, delivered)
        base = snapshot_of(full[1]) if full is not None and not state.version else None
        if full is None and not state.version:
            return None
        changed, events = self._changed_hours(state)
        s3, lake = self.cloud.s3, self.pipeline.lake
        marks = state.marks
        found = LakeChanges(
            table=self._identity,
            key=self._key,
            columns=self._lake_columns,
            full=full,
            objects=unmerged(
                lambda hour: hour_objects(s3, lake, hour),
                hours_to_list(state, now, changed, base),
                marks,
            ),
            healed=dict(self._healed(state, base)),
            delivered_until=delivered,
            events=events,
            decisions=self.pipeline.type_decisions,
        )
        return plan_lake_changes(state, found, self.cloud.filesystem(), lake)

    def delivered_until(self, now: float) -> float:
        """The moment up to which the reconciliation found every change delivered, or healed."""
        found = reconcile(
            source(self.cloud, self.pipeline), time.time, gap_reports(self.cloud, self.pipeline)
        )
        until = min([found.until, *(each.moment for each in found.missing)])
        return delivered_until(read_gaps(self.cloud.s3, self.pipeline.lake), min(until, now))

    def _full_export(self, state: Manifest, delivered: float) -> Opened | None:
        """The newest full export, if the view is not based on it and the stream has reached it."""
        found: Found = found_exports(self.cloud, self.pipeline, state, newest_full=True)
        full = found.full
        if full is None:
            return None
        snapshot = snapshot_of(full[1])
        known = state.snapshot
        if known is not None and (known.export == name_of(full[1]) or known.time >= snapshot.time):
            return None
        return full if snapshot.time <= delivered * MICROS else None

    def _healed(self, state: Manifest, base: Snapshot | None) -> Iterator[tuple[str, Opened]]:
        """Exports that healed gaps since the full export, and that the view has not merged."""
        known = set(state.marks.get(HEALED, ())) if base is None else set()
        base = base or state.snapshot
        for gap in read_gaps(self.cloud.s3, self.pipeline.lake):
            for cure in gap.cures:
                is_older = base is not None and cure.end * MICROS <= base.position
                if not (cure.full or is_older or cure.export in known):
                    yield cure.export, opened_export(self.cloud, self.pipeline, cure.export)

    def _changed_hours(self, state: Manifest) -> tuple[list[DeliveryHour], int]:
        """The hours that were materialised since the last update, and the position after that."""
        mark = int(state.marks.get(EVENTS, 0))
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=asset_key(self.pipeline, PARQUET_STREAM), after_storage_id=mark
            ),
            limit=MAX_EVENTS,
            ascending=True,
        ).records
        hours = [
            DeliveryHour.from_partition_key(record.partition_key)
            for record in records
            if record.partition_key
        ]
        return hours, max([mark, *(record.storage_id for record in records)])

    def _check_table(self, state: Manifest) -> None:
        identity = self._identity
        if state.table.id and identity.id and state.table.id != identity.id:
            raise OtherTableError(
                f"DynamoDB table {self.pipeline.dynamodb_table!r} was created again since the "
                "current view was built. Delete the objects under "
                f"{self.pipeline.lake.uri(CURRENT_PREFIX)}: the next run builds the view of the "
                "new table."
            )

    @property
    def _identity(self) -> TableIdentity:
        table = describe_table(self.cloud.dynamodb, self.pipeline.dynamodb_table)
        return TableIdentity(table.arn, table.table_id)

    @property
    def _key(self) -> tuple[KeyAttribute, ...]:
        types = key_types(self.cloud.dynamodb, self.pipeline.dynamodb_table)
        return tuple(KeyAttribute(name, types[name]) for name in sorted(types))

    @property
    def _key_names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self._key)


class OtherTableError(DdbPipelineError):
    """The view is of a table that no longer exists."""
