"""The check ``current_equals_source``: a sample of keys in the table and in the current view."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.asset_keys import PARQUET_CURRENT, asset_key
from ddb_pipeline.defs.checks import configured_redaction
from ddb_pipeline.defs.current import store_of
from ddb_pipeline.defs.pipeline_asset import pipeline_check
from ddb_pipeline.defs.stream_delivery import delivery_rules, function_settings
from ddb_pipeline.dynamodb.tables import describe_table
from ddb_pipeline.dynamodb.values import Item, item_json
from ddb_pipeline.hive.names import KEYS
from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.current.keys import bucket_numbers
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.source_comparison import (
    STATE_KEY,
    Difference,
    differing_columns,
    item_digest,
    judged,
    parse,
    render,
    rows_of_items,
)
from ddb_pipeline.lake.source_items import items_by_key, key_item, key_text
from ddb_pipeline.resources.cloud import CloudResource
from ddb_pipeline.resources.table_metadata import markdown_table

SAMPLE = 100
"""Keys drawn from each side."""
MAX_BUCKETS = 4
"""Buckets of the view that a run reads."""
COUNTED_BYTES = 64 * 1024 * 1024
"""Size of a table up to which its items are counted; of a larger one DynamoDB's own count is shown,
which it updates every six hours."""
ITEM_COUNT = "(item count)"
SEGMENTS = 1_000_000
SHOWN = 20
MICROS = 1_000_000


def current_equals_source_check(pipeline: PipelineConfig) -> dg.AssetChecksDefinition:
    """``current_equals_source``: a sample of keys compared by consistent reads, both ways."""

    @pipeline_check(
        asset=asset_key(pipeline, PARQUET_CURRENT),
        name="current_equals_source",
        description=(
            "A sample of the table's items and of the view's rows, drawn anew each time, is equal, "
            "and so is the number of items. A difference counts when it is found again after the "
            "view has passed the moment at which it was first seen."
        ),
    )
    def current_equals_source(cloud: CloudResource) -> dg.AssetCheckResult:
        cloud = cloud.for_pipeline(pipeline)
        manifest = store_of(cloud, pipeline).read().manifest
        if not manifest.version:
            return dg.AssetCheckResult(passed=True, metadata={"rows": 0})
        comparison = Comparison(cloud, pipeline, manifest)
        return comparison.result()

    return current_equals_source


class Comparison:
    """One run of the check: both samples, and what was different before."""

    def __init__(self, cloud: CloudResource, pipeline: PipelineConfig, manifest: Manifest) -> None:
        self._cloud = cloud
        self._pipeline = pipeline
        self._manifest = manifest
        self._table = pipeline.dynamodb_table
        self._now = time.time()

    def result(self) -> dg.AssetCheckResult:
        """Compare, store what may be in flight, and report the rest."""
        s3, lake = self._cloud.s3, self._pipeline.lake
        stored = conditional.read_if_exists(s3, lake, STATE_KEY)
        earlier = parse(stored.content) if stored is not None else {}
        from_view = self._rows_of_view()
        items = self._items_of_table()
        rows = {**self._rows_of([*items, *earlier]), **from_view}
        items |= self._items_of([key for key in rows.keys() | earlier.keys() if key not in items])
        found = [*self._differences(items, rows), *self._count()]
        as_of = self._manifest.as_of / MICROS
        real, remembered = judged(found, earlier, as_of)
        s3.put_object(Bucket=lake.bucket, Key=lake.object_key(STATE_KEY), Body=render(remembered))
        return dg.AssetCheckResult(
            passed=not real,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={
                "compared": len(items.keys() | rows.keys()),
                "rows": self._manifest.rows,
                "differences": len(real),
                "in_flight": len(remembered) - len(real),
                "items": dg.MetadataValue.md(self._listed(real)),
                "as_of": dg.MetadataValue.timestamp(as_of),
            },
        )

    def _differences(
        self, items: Mapping[str, Item | None], rows: Mapping[str, dict[str, Any]]
    ) -> list[Difference]:
        """The keys of which item and row differ, among those looked up on both sides."""
        present = {key: item for key, item in items.items() if item is not None}
        columns = self._manifest.columns
        made = rows_of_items(list(present.values()), columns, self._pipeline.type_decisions)
        expected = dict(zip(present, made, strict=True))
        found = []
        for key, item in items.items():
            names = differing_columns(item, expected.get(key), rows.get(key), columns)
            if names:
                found.append(Difference(key, names, item_digest(item), self._now))
        return found

    def _rows_of_view(self) -> dict[str, dict[str, Any]]:
        """Rows of a bucket, drawn at random, by key."""
        files = [file for file in self._manifest.files if file.rows]
        if not files:
            return {}
        (file,) = random.choices(files, [each.rows for each in files])
        table = self._read(file.path)
        chosen = random.sample(range(len(table)), min(SAMPLE, len(table)))
        return _by_key(table.take(pa.array(chosen, pa.int64())))

    def _rows_of(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The view's rows of these keys."""
        found: dict[str, dict[str, Any]] = {}
        texts = pa.array([key for key in keys if key != ITEM_COUNT], pa.string())
        numbers = bucket_numbers(texts, self._manifest.buckets)
        for bucket in sorted(set(numbers.tolist())):
            table = self._read(self._manifest.files[bucket].path)
            found |= _by_key(table.filter(pc.is_in(table.column(KEYS), value_set=texts)))
        return found

    def _read(self, path: str) -> pa.Table:
        store = store_of(self._cloud, self._pipeline)
        return pq.read_table(
            f"{store.path}/{path}",
            filesystem=store.filesystem,
            partitioning=None,
            coerce_int96_timestamp_unit="us",
        )

    def _items_of_table(self) -> dict[str, Item | None]:
        """Items of a random part of the table, of at most ``MAX_BUCKETS`` buckets, by key."""
        segments = min(SEGMENTS, max(1, self._manifest.rows // (10 * SAMPLE)))
        page = self._cloud.dynamodb.scan(
            TableName=self._table,
            Segment=random.randrange(segments),
            TotalSegments=segments,
            Limit=SAMPLE,
            ConsistentRead=True,
        )
        found: dict[str, Item] = {self._key_text(item): item for item in page["Items"]}
        texts = list(found)
        numbers = bucket_numbers(pa.array(texts, pa.string()), self._manifest.buckets).tolist()
        chosen = set(sorted(set(numbers), key=numbers.count, reverse=True)[:MAX_BUCKETS])
        return {
            text: found[text]
            for text, number in zip(texts, numbers, strict=True)
            if number in chosen
        }

    def _items_of(self, keys: Sequence[str]) -> dict[str, Item | None]:
        """The table's items of these keys, None where there is none."""
        wanted = [key for key in keys if key != ITEM_COUNT]
        return items_by_key(self._cloud.dynamodb, self._table, self._manifest.key, wanted)

    def _key_text(self, item: Item) -> str:
        return key_text({attribute.name: item[attribute.name] for attribute in self._manifest.key})

    def _count(self) -> list[Difference]:
        """The number of items, where counting is cheap: a difference if the view has another."""
        table = describe_table(self._cloud.dynamodb, self._table)
        if table.size_bytes > COUNTED_BYTES:
            return []
        pages = self._cloud.dynamodb.get_paginator("scan").paginate(
            TableName=self._table, Select="COUNT", ConsistentRead=True
        )
        count = sum(page["Count"] for page in pages)
        if count == self._manifest.rows:
            return []
        return [Difference(ITEM_COUNT, (ITEM_COUNT,), str(count), self._now)]

    def _listed(self, real: Sequence[Difference]) -> str:
        """A Markdown table of differences, with pseudonyms for keys where these are redacted."""
        if not real:
            return "No difference."
        rows = [
            (self._shown(difference.key), ", ".join(difference.columns))
            for difference in real[:SHOWN]
        ]
        return markdown_table(("key", "columns"), rows)

    def _shown(self, key: str) -> str:
        names = tuple(attribute.name for attribute in self._manifest.key)
        if key == ITEM_COUNT or not configured_redaction(self._pipeline).includes(names):
            return key
        rules = delivery_rules(self._cloud, function_settings(self._cloud, self._pipeline))
        return item_json(rules.redaction.keys(key_item(key, self._manifest.key)))


def _by_key(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row[KEYS]: row for row in table.to_pylist()}
