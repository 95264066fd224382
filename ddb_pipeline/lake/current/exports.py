"""A view from exports: from a full one and a chain of incremental ones, without a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ddb_pipeline.dynamodb.values import Item
from ddb_pipeline.export.convert import infer_export
from ddb_pipeline.export.layout import Export
from ddb_pipeline.export.read import read_changes, read_items
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.export.tasks import TASK_ITEMS, plan_tasks
from ddb_pipeline.hive.decided_columns import known_types
from ddb_pipeline.hive.infer import Inference, InferenceOptions, inferred_schema, merge
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.type_decisions import NO_DECISIONS, TypeDecisions
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.chain import Chain, next_chain
from ddb_pipeline.lake.current.keys import KeyAttribute, KeyColumnError, have_own_columns
from ddb_pipeline.lake.current.manifest import Manifest
from ddb_pipeline.lake.current.sources import ExportPart, Source
from ddb_pipeline.lake.current.types import joined_columns
from ddb_pipeline.lake.current.update import Request

Opened = tuple[ExportFolder, Export]
"""An export as ``export.source.open_export`` returns it."""
Key = tuple[KeyAttribute, ...]


@dataclass(frozen=True, slots=True)
class Exports:
    """Exports given to a view.

    Attributes:
        full: the full export; None to continue a view.
        changes: incremental exports.
        key: names of the table's key attributes; none if the incremental exports are to state them.
        buckets: number of buckets; None to keep it, or to choose it by size.
        workers: number of threads that infer types; None for one for each core.
        decisions: what is decided about values of several types.
        known: columns of the lake table, whose types decided attributes have here, too.
    """

    full: Opened | None = None
    changes: tuple[Opened, ...] = ()
    key: tuple[str, ...] = ()
    buckets: int | None = None
    workers: int | None = None
    decisions: TypeDecisions = NO_DECISIONS
    known: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What exports mean for a view.

    Attributes:
        request: the update; None if there is nothing to do.
        chain: which of the exports it applies.
        conflicts: columns whose types have no common wider type, a line each for a person.
    """

    request: Request | None
    chain: Chain
    conflicts: tuple[str, ...] = ()


def plan_exports(state: Manifest, exports: Exports) -> ExportPlan:
    """What is to be done to apply exports to a view.

    Raises:
        ChainError: the exports do not continue the view or each other.
        ExportError: an export is damaged.
        KeyColumnError: the key is another one than the view's.
    """
    full = exports.full
    chain = next_chain(
        state, full[1] if full is not None else None, [export for _, export in exports.changes]
    )
    grows = exports.buckets is not None and exports.buckets != state.buckets
    if chain.empty and not grows:
        return ExportPlan(None, chain)
    applied = [exports.changes[position] for position in chain.changes]
    base = full if chain.full else None
    key = _key(state, exports, applied)
    both = [base, *applied] if base is not None else applied
    decisions = exports.decisions
    options = InferenceOptions(
        tuple(attribute.name for attribute in key),
        decisions=decisions,
        known=known_types((*state.columns, *exports.known), decisions),
    )
    inferred = inferred_columns(both, options, exports.workers)
    joined = joined_columns(state.columns, inferred, decisions)
    if not chain.full:
        _check_learned(state, key)
    manifest = replace(chain.manifest, key=key, columns=joined.columns)
    request = Request(
        manifest,
        tuple(_sources(both, key, decisions)),
        replaces=base is not None,
        buckets=exports.buckets,
        complete=(chain.overlap.start, chain.overlap.end) if chain.overlap else None,
    )
    return ExportPlan(request, chain, joined.conflicts)


def inferred_columns(
    exports: Sequence[Opened], options: InferenceOptions, workers: int | None = None
) -> tuple[Column, ...]:
    """The columns for all values of exports, those of the key first.

    Raises:
        ExportError: an export is damaged.
    """
    found = Inference.empty()
    for opened in exports:
        found = merge(found, infer_export(*opened, workers=workers))
    schema = inferred_schema(found, options)
    return tuple(Column(column.name, replace_sets(column.type)) for column in schema.columns)


def _key(state: Manifest, exports: Exports, applied: Sequence[Opened]) -> Key:
    """The key's attributes in the order of their names; none if nothing states them."""
    known = tuple(attribute.name for attribute in state.key)
    given = tuple(sorted(exports.key))
    if given and known and given != known:
        raise KeyColumnError(
            f"The key {list(exports.key)} is given, and the view has the key {list(known)}. Leave "
            "--key out, or build the view in another folder."
        )
    if known:
        return state.key
    if not given:
        return next(filter(None, (_stated_key(*opened) for opened in applied)), ())
    for opened in (*applied, *((exports.full,) if exports.full else ())):
        found = _given_key(opened, given)
        if found:
            return found
    return ()


def _stated_key(folder: ExportFolder, export: Export) -> Key:
    """The key of the first change of an incremental export; none if it has no change."""
    for file in export.files:
        for change in read_changes(folder, file, export.format):
            return _attributes(change.keys)
    return ()


def _given_key(opened: Opened, names: tuple[str, ...]) -> Key:
    """Attributes with the types that they have in the first item; none if there is no item."""
    folder, export = opened
    if export.summary.incremental:
        return _stated_key(folder, export)
    for file in export.files:
        for item in read_items(folder, file, export.format):
            missing = [name for name in names if name not in item]
            if missing:
                raise KeyColumnError(
                    f"An item has no {missing[0]!r}, so that this is no attribute of the key. Give "
                    "the table's key with --key."
                )
            return _attributes({name: item[name] for name in names})
    return ()


def _attributes(keys: Item) -> Key:
    return tuple(KeyAttribute(name, next(iter(keys[name]))) for name in sorted(keys))


def _check_learned(state: Manifest, key: Key) -> None:
    """Check that a view whose key was not known has the key's values in the key's columns."""
    names = [column.name for column in state.columns]
    if state.version and not state.key and not have_own_columns(key, names):
        raise KeyColumnError(
            f"The key attributes {[attribute.name for attribute in key]} share a column name with "
            "other attributes of the items, so that the view's rows cannot be identified. Delete "
            "the view, and build it again from the full export, with --key."
        )


def _sources(exports: Sequence[Opened], key: Key, decisions: TypeDecisions) -> list[Source]:
    found: list[Source] = []
    for folder, export in exports:
        for task in plan_tasks(export.files, TASK_ITEMS):
            part = Export(export.summary, task.files)
            found.append(ExportPart(folder, part, key, decisions))
    return found
