"""Tables of rows in the forms that assets give and take: Arrow, pandas, polars, DuckDB.

Everything is converted through Arrow, which holds each value exactly. Only pandas needs rules: a
frame that was written from pandas gets its dtypes back; any other column becomes Arrow-backed,
since NumPy has no integers with nulls, no decimals, no dates and no lists.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.parquet.dataset import scanner

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds

ARROW_BACKED: Final = b"ddb_pipeline.arrow_backed"
"""Schema metadata: names of the columns that had Arrow-backed dtypes in pandas. pyarrow's own
metadata calls such decimals ``object`` and names lists in a form that it cannot read again."""
_PANDAS: Final = b"pandas"
_NUMPY_WITHOUT_NULLS: Final = re.compile(r"u?int\d+|bool")


class FrameError(DdbPipelineError):
    """An object cannot be written as Parquet, or an input's annotation is not supported."""


def kind_of(annotation: Any) -> str:
    """How this module names a type: its package and its name, such as ``pandas.DataFrame``."""
    package = getattr(annotation, "__module__", "").partition(".")[0]
    return f"{package}.{getattr(annotation, '__qualname__', annotation)}"


def rows_of(frame: Any, *, unnamed_index: bool = True) -> pa.RecordBatchReader:
    """The rows of an object in any of the supported forms.

    Args:
        frame: the object.
        unnamed_index: whether the levels of a pandas index that have no name become columns, as a
            frame has them after it was sorted or filtered. Only pandas knows what they are.

    Raises:
        FrameError: the object has another form, or values of several types in one column.
    """
    kind = kind_of(type(frame))
    try:
        if kind == "pandas.DataFrame":
            return _from_pandas(frame if unnamed_index else _without_unnamed(frame)).to_reader()
        if kind == "polars.LazyFrame":
            frame = frame.collect()
        if isinstance(frame, pa.RecordBatchReader):
            return _storable(frame)
        if hasattr(frame, "__arrow_c_stream__"):
            return _storable(pa.RecordBatchReader.from_stream(frame))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FrameError(f"The {kind} has no form in Arrow: {error}") from error
    raise FrameError(
        f"A {kind} cannot be written as Parquet. Return one of {', '.join(READERS)}, or annotate "
        "the asset with None if it returns nothing."
    )


def frame_of(
    annotation: Any,
    dataset: "ds.Dataset",
    columns: Sequence[str] | None = None,
    filters: Sequence[Any] | None = None,
) -> Any:
    """Rows of a dataset in the form that an annotation names; Arrow's table where it is ``Any``.

    Raises:
        FrameError: the form is not supported.
        RowFilterError: the columns or filters do not fit the dataset.
    """
    kind = kind_of(annotation)
    if kind == "typing.Any":
        kind = "pyarrow.Table"
    read = READERS.get(kind)
    if read is None:
        raise FrameError(f"An input cannot be a {kind}. Annotate it with {', '.join(READERS)}.")
    if kind == "pandas.DataFrame" and columns is not None:
        columns = [*columns, *(i for i in _index_columns(dataset.schema) if i not in columns)]
    return read(scanner(dataset, columns, filters), dataset.schema)


def _storable(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows with types that Parquet has: view types become the ordinary ones."""
    schema = pa.schema(
        [field.with_type(_without_views(field.type)) for field in reader.schema],
        metadata=reader.schema.metadata,
    )
    if schema.equals(reader.schema):
        return reader
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader))


def _without_views(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_without_views(kind.key_type), _without_views(kind.item_type))
    if types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_without_views(kind.value_type)))
    if types.is_fixed_size_list(kind):
        field = kind.value_field.with_type(_without_views(kind.value_type))
        return pa.list_(field, kind.list_size)
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind


def _without_unnamed(frame: "pd.DataFrame") -> "pd.DataFrame":
    unnamed = [level for level, name in enumerate(frame.index.names) if name is None]
    return frame.reset_index(level=unnamed, drop=True) if unnamed else frame


def _from_pandas(frame: "pd.DataFrame") -> pa.Table:
    import pandas as pd

    table = pa.Table.from_pandas(frame)
    backed = [str(n) for n, kind in frame.dtypes.items() if isinstance(kind, pd.ArrowDtype)]
    metadata = {**(table.schema.metadata or {}), ARROW_BACKED: json.dumps(backed).encode()}
    return table.replace_schema_metadata(metadata)


def _index_columns(schema: pa.Schema) -> list[str]:
    document = json.loads((schema.metadata or {}).get(_PANDAS, b"{}"))
    names = document.get("index_columns", ())
    return [name for name in names if isinstance(name, str) and name in schema.names]


def _to_pandas(found: "ds.Scanner", schema: pa.Schema) -> "pd.DataFrame":
    import pandas as pd

    table = found.to_table()
    metadata = schema.metadata or {}
    document = json.loads(metadata.get(_PANDAS, b"{}"))
    recorded = {entry["field_name"]: entry["numpy_type"] for entry in document.get("columns", ())}
    backed = set(json.loads(metadata.get(ARROW_BACKED, b"[]")))
    index = set(_index_columns(schema))
    series: dict[str, Any] = {}
    for name in table.column_names:
        column, dtype = table.column(name), recorded.get(name)
        if name in index:
            continue
        if name in backed or dtype is None or _has_no_nulls(dtype, column):
            series[name] = pd.arrays.ArrowExtensionArray(column)
        elif dtype == "object" and pa.types.is_nested(column.type):
            # As Python lists and dicts; pyarrow would give NumPy arrays.
            series[name] = pd.array(column.to_pylist(), dtype="object")
    plain = table.drop_columns(list(series))
    document["columns"] = [
        entry for entry in document.get("columns", ()) if entry["field_name"] in plain.column_names
    ]
    if recorded:
        plain = plain.replace_schema_metadata({_PANDAS: json.dumps(document).encode()})
    rest = plain.to_pandas()
    names = [name for name in table.column_names if name not in index]
    data = {name: series[name] if name in series else rest[name] for name in names}
    same = len(rest) == len(table)
    return pd.DataFrame(data, index=rest.index if same else pd.RangeIndex(len(table)))


def _has_no_nulls(dtype: str, column: pa.ChunkedArray) -> bool:
    """Whether the NumPy dtype has no nulls where the column has some, as another partition may."""
    return column.null_count > 0 and _NUMPY_WITHOUT_NULLS.fullmatch(dtype) is not None


def _to_polars(found: "ds.Scanner", schema: pa.Schema) -> Any:
    import polars

    return polars.from_arrow(found.to_table())


def _to_duckdb(found: "ds.Scanner", schema: pa.Schema) -> Any:
    import duckdb

    return duckdb.connect().from_arrow(found.to_table())


READERS: Final[Mapping[str, Callable[["ds.Scanner", pa.Schema], Any]]] = {
    "pyarrow.Table": lambda found, schema: found.to_table(),
    "pyarrow.RecordBatchReader": lambda found, schema: found.to_reader(),
    "pandas.DataFrame": _to_pandas,
    "polars.DataFrame": _to_polars,
    "polars.LazyFrame": lambda found, schema: _to_polars(found, schema).lazy(),
    "duckdb.DuckDBPyRelation": _to_duckdb,
}
"""The supported forms, each with the function that reads it."""
