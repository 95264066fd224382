"""Parquet files of several schemas, read as rows of one.

The files of a lake were written over time, each with the types of its day. Here they are read with
the types of one schema: columns and fields that a file lacks are null, narrower numbers become the
wider ones, exactly. Columns that the schema lacks are not read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    # Half a second: it imports pandas.
    import pyarrow.dataset as ds

Operator: TypeAlias = Literal["=", "==", "!=", "<", "<=", ">", ">=", "in", "not in"]
Predicate: TypeAlias = tuple[str, Operator, Any]
"""A column, an operator, and the value to compare with; a collection for ``in`` and ``not in``."""

_COMPARISONS: Final[Mapping[str, Any]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


class RowFilterError(DdbPipelineError):
    """Columns or a filter that the data does not allow; the message lists what it allows."""


@dataclass(frozen=True, slots=True)
class PartitionFiles:
    """Files with the same values of the partition columns, which are not in the files.

    Attributes:
        paths: of the files, in the file system that they are read from.
        values: by partition column; empty if the dataset has none.
    """

    paths: tuple[str, ...]
    values: Mapping[str, str]


def parquet_dataset(
    filesystem: pyarrow.fs.FileSystem, files: Iterable[PartitionFiles], schema: pa.Schema
) -> "ds.Dataset":
    """The files as one dataset with the columns of ``schema``, partition columns included.

    Rows are read in the order of the files.
    """
    import pyarrow.dataset as ds

    file_format = _file_format()
    fragments = [
        file_format.make_fragment(path, filesystem, _is_partition(partition.values, schema))
        for partition in files
        for path in partition.paths
    ]
    return ds.FileSystemDataset(fragments, schema, file_format, filesystem)


@lru_cache(maxsize=1)
def _file_format() -> "ds.ParquetFileFormat":
    import pyarrow.dataset as ds

    # Nanoseconds, pyarrow's default for INT96, end in the year 2262 and wrap around.
    options = ds.ParquetReadOptions(coerce_int96_timestamp_unit="us")
    return ds.ParquetFileFormat(read_options=options)


def scanner(
    dataset: "ds.Dataset",
    columns: Sequence[str] | None = None,
    filters: Sequence[Any] | None = None,
) -> "ds.Scanner":
    """Reads some columns and rows of a dataset; all where None is given.

    Args:
        dataset: what is read.
        columns: names, in the wanted order.
        filters: as ``pandas.read_parquet`` takes them: a list of predicates that all hold, or a
            list of such lists, of which one holds. Values may be text where the column has another
            type: ``("day", ">=", "2026-11-24")``; None with ``=`` and ``!=`` is null.

    Raises:
        RowFilterError: there is no such column, or a predicate does not fit its column.
    """
    if columns is not None:
        _check_columns(columns, dataset.schema)
    found = row_filter(filters, dataset.schema)
    return dataset.scanner(columns=None if columns is None else list(columns), filter=found)


def alternatives(filters: Sequence[Any] | None) -> list[list[Predicate]]:
    """Filters in the form of a list of alternatives, each a list of predicates that all hold.

    Raises:
        RowFilterError: they have another form.
    """
    if not filters:
        return []
    lists = [filters] if _is_predicate(filters[0]) else filters
    try:
        if all(_is_predicate(predicate) for each in lists for predicate in each) and all(lists):
            return [[cast(Predicate, tuple(predicate)) for predicate in each] for each in lists]
    except TypeError:
        pass
    raise RowFilterError(
        f"The filters {filters!r} cannot be read. Give a list of [column, operator, value], "
        'such as [["score", ">", 0.5]], or a list of such lists, of which one is to hold.'
    )


def row_filter(filters: Sequence[Any] | None, schema: pa.Schema) -> pc.Expression | None:
    """Filters as an expression on columns of these types; None where there are none.

    Raises:
        RowFilterError: see :func:`scanner`.
    """
    expression = None
    for predicates in alternatives(filters):
        every = None
        for predicate in predicates:
            one = _expression(predicate, schema)
            every = one if every is None else every & one
        expression = every if expression is None else expression | every
    return expression


def may_match(filters: Sequence[Any] | None, values: Mapping[str, str], keys: pa.Schema) -> bool:
    """Whether a partition with these values can have rows for which the filters hold.

    Only predicates on partition columns decide; ``keys`` has the types of these columns.

    Raises:
        RowFilterError: a predicate on a partition column does not fit its type.
    """
    found = alternatives(filters)
    partition = pa.table({name: pa.array([values[name]]) for name in values}).cast(keys)
    for predicates in found:
        on_keys = [predicate for predicate in predicates if predicate[0] in values]
        if not on_keys or len(partition.filter(row_filter(on_keys, keys))):
            return True
    return not found


def _is_partition(values: Mapping[str, str], schema: pa.Schema) -> pc.Expression:
    expression = pc.scalar(True)
    for name, value in values.items():
        if name in schema.names:
            typed = pa.scalar(value).cast(schema.field(name).type)
            expression = expression & (pc.field(name) == typed)
    return expression


def _is_predicate(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 3 and isinstance(entry[0], str)


def _check_columns(names: Iterable[str], schema: pa.Schema) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise RowFilterError(
            f"There is no column {', '.join(map(repr, missing))}. "
            f"The columns are {', '.join(schema.names)}."
        )


def _expression(predicate: Predicate, schema: pa.Schema) -> pc.Expression:
    column, operator, value = predicate
    _check_columns([column], schema)
    field, kind = pc.field(column), schema.field(column).type
    try:
        if operator in ("in", "not in"):
            if isinstance(value, str):
                raise TypeError("the value is no list")
            among = field.isin(pa.array([_typed(one, kind).as_py() for one in value], kind))
            return among if operator == "in" else ~among
        if value is None:
            return {"=": field.is_null(), "==": field.is_null(), "!=": field.is_valid()}[operator]
        return _COMPARISONS[operator](field, _typed(value, kind))
    except KeyError:
        known = "=, !=" if value is None else f"{', '.join(_COMPARISONS)}, in, not in"
        reason = f"the operators are {known}"
    except (pa.ArrowException, TypeError, ValueError, OverflowError, InvalidOperation) as error:
        reason = f"the column is of type {kind}: {error}"
    raise RowFilterError(f"{list(predicate)!r} is no filter of {column}: {reason}.")


def _typed(value: Any, kind: pa.DataType) -> pa.Scalar:
    """A value as the column's type; text is parsed where the column has another type."""
    if not isinstance(value, str) and pa.types.is_string(kind):
        raise TypeError(f"{value!r} is no text")
    if pa.types.is_nested(kind):
        return pa.scalar(value, kind)
    if pa.types.is_decimal(kind):
        return pa.scalar(Decimal(str(value)), kind)
    # pyarrow would convert 1.5 to the integer 1; a cast refuses to.
    return pa.scalar(value).cast(kind)
