"""Rows brought to wider types: each value stays what it is, or the cast is refused.

A file of the lake has the types of the table when it was written. Since types only widen
(``hive.widening``), a later reader casts integers to larger integers or decimals, ``float`` to
``double``, structs to structs with more fields, and adds columns. No other cast is made here: it
would change values, or fail on some of them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ddb_pipeline.errors import DdbPipelineError

_INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}


class TypeConflictError(DdbPipelineError):
    """A column, or a field in it, has a type that the wanted type cannot hold.

    Attributes:
        path: the column and, inside of it, ``.field``, ``[]`` and ``{}``.
    """

    def __init__(self, path: str, found: pa.DataType | None, wanted: pa.DataType | None) -> None:
        self.path = path
        if wanted is None:
            reason = "has values, but there is no such column"
        else:
            reason = f"is {found} in the file, which {wanted} cannot hold"
        super().__init__(f"{path} {reason}. Widen the table's column, then run again.")


def cast_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of ``schema``, in its order; columns that are missing are null.

    Raises:
        TypeConflictError: a value would change or be lost.
    """
    for name in table.column_names:
        if name not in schema.names and table.column(name).null_count < len(table):
            raise TypeConflictError(name, table.schema.field(name).type, None)
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table.column(field.name)
        chunks = [cast_array(chunk, field.type, field.name) for chunk in column.chunks]
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.table(columns, schema=schema)


def cast_array(array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
    """An array with a wider type; ``path`` names it in an error.

    Raises:
        TypeConflictError: a value would change or be lost.
    """
    found = array.type
    if found.equals(wanted):
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), wanted)
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        return _cast_struct(array, wanted, path)
    if pa.types.is_map(found) and pa.types.is_map(wanted):
        return _cast_map(array, wanted, path)
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        values = cast_array(array.flatten(), wanted.value_type, f"{path}[]")
        return pa.ListArray.from_arrays(_offsets(array), values, wanted, mask=array.is_null())
    if not _holds(wanted, found):
        raise TypeConflictError(path, found, wanted)
    return array.cast(wanted)


def _cast_struct(array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
    names = [field.name for field in array.type]
    for index, field in enumerate(array.type):
        inside = array.field(index) if not array.null_count else array.flatten()[index]
        if wanted.get_field_index(field.name) < 0 and inside.null_count < len(array):
            raise TypeConflictError(f"{path}.{field.name}", field.type, None)
    fields = array.flatten()
    children = [
        cast_array(fields[names.index(field.name)], field.type, f"{path}.{field.name}")
        if field.name in names
        else pa.nulls(len(array), field.type)
        for field in wanted
    ]
    return pa.StructArray.from_arrays(children, fields=list(wanted), mask=array.is_null())


def _cast_map(array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
    first, last = _bounds(array)
    keys = cast_array(array.keys[first:last], wanted.key_type, f"{path}{{key}}")
    items = cast_array(array.items[first:last], wanted.item_type, f"{path}{{}}")
    offsets = pc.subtract(array.offsets, pa.scalar(first, pa.int32()))
    found = pa.MapArray.from_arrays(offsets, keys, items, wanted)
    return pc.if_else(array.is_null(), pa.nulls(len(array), wanted), found)


def _offsets(array: pa.Array) -> pa.Array:
    """The offsets of a list array into its values without those of null lists."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    return pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())]
    )


def _bounds(array: pa.Array) -> tuple[int, int]:
    return array.offsets[0].as_py(), array.offsets[-1].as_py()


def _holds(wanted: pa.DataType, found: pa.DataType) -> bool:
    """Whether each value of a type has the same value in another, as in ``hive.widening``."""
    types = pa.types
    if types.is_decimal(wanted):
        digits, scale = _digits(found)
        fits = wanted.precision - wanted.scale >= digits - scale and wanted.scale >= scale
        return digits > 0 and fits
    if types.is_integer(found) and types.is_integer(wanted):
        return bool(wanted.bit_width >= found.bit_width)
    if types.is_timestamp(found) and types.is_timestamp(wanted):
        return True
    return bool(types.is_float32(found) and types.is_float64(wanted))


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Precision and scale of a decimal or integer type; 0, 0 of any other."""
    if pa.types.is_decimal(kind):
        return kind.precision, kind.scale
    return (_INTEGER_DIGITS[kind.bit_width], 0) if pa.types.is_signed_integer(kind) else (0, 0)
