"""The rows of the current view, and changes in the one form in which they are merged.

A row of the view has the item's columns and ``ORIGIN_COLUMNS``. An incoming row has them too, and
says in ``REMOVED`` whether the change deleted the item.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.arrow_types import arrow_schema
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.rows.changes import REMOVE
from ddb_pipeline.hive.epoch import MILLISECONDS_FROM
from ddb_pipeline.hive.names import (
    EVENT_ID,
    EVENT_NAME,
    EVENT_TIME,
    HEALED,
    KEYS,
    SEQUENCE_NUMBER,
    WRITE_TIME,
)
from ddb_pipeline.hive.types import Column
from ddb_pipeline.lake.current.keys import KeyAttribute, canonical_texts, texts_of_columns
from ddb_pipeline.lake.current.types import widened

UPDATED_AT: Final = "ddb_updated_at"
"""When the item was last written: the time of its newest change, or of the full export."""
SOURCE: Final = "ddb_source"
"""Where the row comes from: one of the three below."""
FULL_EXPORT: Final = "full_export"
INCREMENTAL_EXPORT: Final = "incremental_export"
STREAM: Final = "stream"

REMOVED: Final = "ddb_removed"
"""Column of an incoming row: whether the change deleted the item."""

ORIGIN_COLUMNS: Final = (
    Column(KEYS, "string"),
    Column(UPDATED_AT, "timestamp"),
    Column(SOURCE, "string"),
    Column(SEQUENCE_NUMBER, "string"),
)
"""Columns of each row after those of the item. Only a row from the stream has a sequence number."""

TOMBSTONE_COLUMNS: Final = tuple(ORIGIN_COLUMNS)
"""A deleted item is stored as its key and the delete's place in the order of changes."""

DELIVERY_PARTITIONS: Final = ("delivery_date", "delivery_hour")
"""Columns of the stream's partitions, which say nothing of the item."""

MICROS: Final = pa.timestamp("us")
Int64s = npt.NDArray[np.int64]


class ChangeRowError(DdbPipelineError):
    """A change that the view cannot hold: without a key or a time, or of other columns or types."""


def state_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of the view's files for the item's columns."""
    return arrow_schema([*columns, *ORIGIN_COLUMNS])


def incoming_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of incoming rows for the item's columns."""
    return state_schema(columns).append(pa.field(REMOVED, pa.bool_()))


def tombstone_schema() -> pa.Schema:
    """The schema of tombstones."""
    return arrow_schema(TOMBSTONE_COLUMNS)


def of_stream(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Incoming rows from rows as the delivery stream lands them, with new images and metadata.

    Rows that redelivery added to heal a gap come from an export: they have no sequence number, and
    their place in the order of changes is that of an export's change.

    Raises:
        ChangeRowError: a row has no ``ddb_keys``, sequence number or event time.
    """
    healed = _healed(table)
    _require(table, (KEYS, EVENT_TIME))
    if not pc.all(healed).as_py():
        _require(table.filter(pc.invert(healed)), (SEQUENCE_NUMBER,))
    numbers = pa.nulls(len(table), pa.string())
    if SEQUENCE_NUMBER in table.schema.names:
        numbers = _one_array(table, SEQUENCE_NUMBER).cast(pa.string())
    return _incoming(
        table,
        columns,
        keys=canonical_texts(_one_array(table, KEYS)),
        micros=epoch_micros(table),
        source=pc.if_else(healed, INCREMENTAL_EXPORT, STREAM),
        numbers=pc.if_else(healed, pa.scalar(None, pa.string()), numbers),
        removed=pc.equal(_one_array(table, EVENT_NAME), REMOVE),
    )


def _healed(table: pa.Table) -> pa.Array:
    """Which rows come from an export."""
    if EVENT_ID not in table.schema.names:
        return pa.array(np.zeros(len(table), np.bool_))
    return pc.fill_null(pc.starts_with(_one_array(table, EVENT_ID), HEALED), False)


def epoch_micros(table: pa.Table) -> Int64s:
    """The event times of rows of the stream in microseconds of the epoch.

    A number is in seconds or milliseconds, a timestamp is itself.
    """
    moments = _one_array(table, EVENT_TIME)
    if pa.types.is_timestamp(moments.type):
        moments = moments.cast(pa.timestamp("ms"), safe=False)
    found: Int64s = moments.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.int64)
    return found * np.where(found >= MILLISECONDS_FROM, 1_000, 1_000_000)


def of_incremental_export(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Incoming rows from the changes of an incremental export.

    Raises:
        ChangeRowError: a row has no ``ddb_keys`` or write time.
    """
    _require(table, (KEYS, WRITE_TIME))
    times = _one_array(table, WRITE_TIME).cast(MICROS).cast(pa.int64())
    return _incoming(
        table,
        columns,
        keys=canonical_texts(_one_array(table, KEYS)),
        micros=times.to_numpy(),
        source=pa.repeat(pa.scalar(INCREMENTAL_EXPORT), len(table)),
        numbers=pa.nulls(len(table), pa.string()),
        removed=pc.equal(_one_array(table, EVENT_NAME), REMOVE),
    )


def of_full_export(
    table: pa.Table, columns: Sequence[Column], key: Sequence[KeyAttribute], micros: int
) -> pa.Table:
    """Incoming rows from the items of a full export.

    Args:
        table: the items, with ``ddb_keys`` or without.
        columns: the item's columns of the result.
        key: the key's attributes in the order of their names, for a table without ``ddb_keys``;
            none if the key is not known yet.
        micros: the time of the export in microseconds of the epoch.

    Raises:
        KeyColumnError: a row has no value in a column of the key.
    """
    if KEYS in table.schema.names:
        keys = canonical_texts(_one_array(table, KEYS))
    else:
        keys = texts_of_columns(table, key) if key else pa.nulls(len(table), pa.string())
    return _incoming(
        table,
        columns,
        keys=keys,
        micros=np.full(len(table), micros, np.int64),
        source=pa.repeat(pa.scalar(FULL_EXPORT), len(table)),
        numbers=pa.nulls(len(table), pa.string()),
        removed=pa.array(np.zeros(len(table), np.bool_)),
    )


def _incoming(
    table: pa.Table,
    columns: Sequence[Column],
    *,
    keys: pa.Array,
    micros: Int64s,
    source: pa.Array,
    numbers: pa.Array,
    removed: pa.Array,
) -> pa.Table:
    schema = incoming_schema(columns)
    items = _item_arrays(table, schema, columns)
    origin = [
        keys,
        pa.array(micros, pa.int64()).cast(MICROS),
        source,
        numbers,
        removed,
    ]
    return pa.Table.from_arrays([*items, *origin], schema=schema)


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns and types of ``schema``; nulls in columns that it lacks.

    Raises:
        ChangeRowError: a value does not fit its column's type.
    """
    if table.schema.equals(schema):
        return table
    arrays = [
        _as_type(table, field)
        if field.name in table.schema.names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_type(table: pa.Table, field: pa.Field) -> pa.Array:
    values = _one_array(table, field.name)
    try:
        return widened(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ChangeRowError(
            f"Column {field.name!r} is {values.type} in the incoming rows, which {field.type} of "
            f"the view does not hold: {str(error)[:200]}. Widen the view's columns by theirs."
        ) from error


def _item_arrays(table: pa.Table, schema: pa.Schema, columns: Sequence[Column]) -> list[pa.Array]:
    for name in table.schema.names:
        is_item = not name.startswith("ddb_") and name not in DELIVERY_PARTITIONS
        if is_item and name not in schema.names and table.column(name).null_count < len(table):
            raise ChangeRowError(
                f"The incoming rows have a column {name!r}, which the view does not have: its "
                "values would be lost. Widen the view's columns by theirs."
            )
    items = pa.schema([schema.field(position) for position in range(len(columns))])
    return list(with_columns(table, items).columns)


def _one_array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _require(table: pa.Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.schema.names or table.column(name).null_count:
            raise ChangeRowError(
                f"A change has no {name}, so that its place in the order of changes is not known. "
                "The current view needs the metadata of each change (METADATA=true in the "
                "function's settings), and new images."
            )
