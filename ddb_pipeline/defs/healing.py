"""One window of a gap healed: exported, and its net changes handed to redelivery."""

import time
from collections.abc import Iterable, Iterator
from hashlib import sha256

import dagster as dg

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.defs.checks import configured_redaction
from ddb_pipeline.defs.stream_delivery import delivery_rules, function_settings
from ddb_pipeline.dynamodb.stream import UndecodableRecordError, change_document, lambda_record
from ddb_pipeline.dynamodb.tables import describe_table, key_types
from ddb_pipeline.dynamodb.targets import AS_WRITTEN
from ddb_pipeline.dynamodb.values import Writing
from ddb_pipeline.export.layout import NEW_AND_OLD_IMAGES, Export, ItemChange
from ddb_pipeline.export.read import read_changes
from ddb_pipeline.export.request import (
    ExportState,
    start_export,
    wait_for_export,
)
from ddb_pipeline.export.source import ExportFolder, open_export
from ddb_pipeline.export.window import Window
from ddb_pipeline.functions.changes import Change, Problem
from ddb_pipeline.functions.dead_letters import write_dead_letters
from ddb_pipeline.functions.rules import destination, edited
from ddb_pipeline.lake.current.keys import KeyAttribute
from ddb_pipeline.lake.gaps import Cure
from ddb_pipeline.lake.healed_changes import HealedChanges, event_id, healed_record
from ddb_pipeline.lake.healing_windows import seconds_of
from ddb_pipeline.lake.hour_generations import hour_objects
from ddb_pipeline.lake.layout import DeliveryHour
from ddb_pipeline.lake.short_lived import (
    ExportedKeys,
    deletion,
    delivered_in,
    left_in_lake,
)
from ddb_pipeline.lake.source_items import items_by_key, key_item, key_text
from ddb_pipeline.resources.cloud import CloudResource

FAILED = "FAILED"
MAX_LETTERS = 1000
"""Dead letters in memory."""


def heal_window(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    window: Window,
) -> Cure:
    """Export a window and write its changes as redelivery's input.

    Raises:
        ExportRequestError: the export was refused or has failed.
        WindowRefusedError: the service makes no export of this window.
        ExportError: the export is damaged.
    """
    state = wait_for_export(
        cloud.dynamodb,
        requested(context, cloud, pipeline, window).arn,
        poll_seconds=1.0 if cloud.embedded else 30.0,
    )
    opened = open_export(cloud.filesystem(), state.folder)
    changes = add_changes(cloud, pipeline, changes_of(cloud, pipeline, window, *opened))
    return Cure(
        state.export_id,
        seconds_of(window.from_time),
        seconds_of(window.to_time),
        time.time(),
        changes,
    )


def requested(
    context: dg.AssetExecutionContext,
    cloud: CloudResource,
    pipeline: PipelineConfig,
    window: Window,
) -> ExportState:
    """The export of a window: the one that an earlier run has requested, unless it has failed."""
    arn = describe_table(cloud.dynamodb, pipeline.dynamodb_table).arn

    def start(*names: str) -> ExportState:
        token = sha256("\n".join([arn, str(window), *names]).encode()).hexdigest()[:32]
        return start_export(
            cloud.dynamodb,
            arn,
            pipeline.bucket,
            pipeline.bucket_export_prefix,
            window=window,
            view=NEW_AND_OLD_IMAGES,
            client_token=token,
        )

    state = start()
    return start(context.run_id) if state.status == FAILED else state


def changes_of(
    cloud: CloudResource,
    pipeline: PipelineConfig,
    window: Window,
    folder: ExportFolder,
    export: Export,
) -> Iterator[ItemChange]:
    """The changes of a window: those of its export, then the deletes of which it has nothing.

    Without these where the lake has pseudonyms for keys, with which the table cannot be asked.
    """
    types = key_types(cloud.dynamodb, pipeline.dynamodb_table)
    exported = ExportedKeys()
    for file in export.files:
        for change in read_changes(folder, file, export.format):
            exported.add(key_text(change.keys))
            yield change
    if not configured_redaction(pipeline).includes(tuple(types)):
        key = tuple(KeyAttribute(name, types[name]) for name in sorted(types))
        yield from short_lived_deletes(cloud, pipeline, window, key, exported)


def short_lived_deletes(
    cloud: CloudResource,
    pipeline: PipelineConfig,
    window: Window,
    key: tuple[KeyAttribute, ...],
    exported: ExportedKeys,
) -> Iterator[ItemChange]:
    """The deletes of items that the window created and deleted, and whose creation was delivered.

    Args:
        exported: the keys of the window's export.
    """
    window_end = seconds_of(window.to_time)
    start, end = span = delivered_in((seconds_of(window.from_time), window_end))
    # Changes are delivered some time after they happened.
    hours = DeliveryHour.of(start).until(DeliveryHour.of(end).plus(2))
    paths = [
        pipeline.lake.path(path)
        for hour in hours
        for path in hour_objects(cloud.s3, pipeline.lake, hour).keys(hour)
    ]
    delivered = left_in_lake(cloud.filesystem(), paths, span, exported.sorted())
    items = items_by_key(cloud.dynamodb, pipeline.dynamodb_table, key, sorted(delivered))
    for text, item in items.items():
        if item is None:
            yield deletion(key_item(text, key), window_end)


def add_changes(
    cloud: CloudResource, pipeline: PipelineConfig, changes: Iterable[ItemChange]
) -> int:
    """Write changes as the streaming function would deliver them.

    Returns their number, without those that the function's settings filter out.
    """
    settings = function_settings(cloud, pipeline)
    rules = delivery_rules(cloud, settings)
    healed = HealedChanges(cloud.s3, pipeline.lake)
    letters: list[Change] = []
    for change in changes:
        record = healed_record(change, pipeline.dynamodb_table)
        try:
            if destination(record, settings) != settings.routing.default:
                continue
            delivered = edited(record, rules)
            if delivered is None:
                continue
            name = event_id(delivered.keys, change.written_micros)
            delivered = delivered._replace(event_id=name)
            document = change_document(delivered, settings.options, Writing(AS_WRITTEN))
        except UndecodableRecordError as error:
            problem = Problem("undecodable", str(error))
            letters.append(Change(lambda_record(record), 0, record, problem))
            if len(letters) >= MAX_LETTERS:
                write_dead_letters(cloud.s3, rules, letters)
                letters.clear()
            continue
        if document:
            healed.add(delivered, document)
    if letters:
        write_dead_letters(cloud.s3, rules, letters)
    healed.flush()
    return healed.changes
