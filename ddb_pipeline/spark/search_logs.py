"""Reads search logs from the lake and converts them to one schema, one row an event.

The types of the lake's columns follow from what a crawl saw: a number can be a bigint, a double or
text, a list an array or JSON. A row that cannot be used has the reason in the column ``problem``.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from ddb_pipeline.hive.names import EVENT_ID, EVENT_NAME, EXPIRED, SEQUENCE_NUMBER
from ddb_pipeline.spark.arguments import LogColumns, RelevanceError
from ddb_pipeline.spark.manifest import HISTORY
from ddb_pipeline.spark.storage import StoredFile

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SEQUENCE_DIGITS = 40
"""DynamoDB's sequence numbers have 21 to 40 digits (DynamoDB Streams API reference)."""

RESULT = T.StructType().add("document", T.StringType()).add("position", T.IntegerType())
CLICK = T.StructType([*RESULT.fields, T.StructField("dwell_ms", T.DoubleType())])
MERGE_ERRORS = ("CANNOT_MERGE_SCHEMAS", "Failed merging schema", "Failed to merge")
"""In the messages by which Spark 3 and 4 report files whose types differ."""

NO_KEY, NO_QUERY, NO_RESULTS, NO_TIME = "no_log_key", "no_query", "no_results", "no_search_time"
PROBLEMS = (NO_KEY, NO_QUERY, NO_RESULTS, NO_TIME)
"""The reasons why a row cannot be used; a row has the first that applies."""


def read_logs(
    spark: "SparkSession", files: Sequence[StoredFile], columns: LogColumns, *, drop_expired: bool
) -> "DataFrame":
    """Read the events in these files.

    Args:
        spark: the Spark session.
        files: Parquet files of the stream or the history.
        columns: where the logs have what the job reads.
        drop_expired: whether to read removals by time to live, too, which take logs out.

    Returns:
        ``hour``: the delivery hour, such as ``2026-11-24-10``, or ``history``;
        ``counted_hour``: the hour since the epoch in which the search counts;
        ``log_key``: identifies the log; ``event_order``: greater for a later event of the log;
        ``removed``: whether the event removes the log; ``problem``: why the row cannot be used;
        ``user``, ``query``, ``results`` and ``clicks``.

    Raises:
        RelevanceError: no file has a column that is needed, or a column has another type.
    """
    frames = list(_read_parquet(spark, files))
    _check_columns(frames, columns)
    events = [_events(frame, columns, drop_expired) for frame in frames]
    return reduce(lambda one, other: one.unionByName(other), events)


def _read_parquet(spark: "SparkSession", files: Sequence[StoredFile]) -> Iterator["DataFrame"]:
    """Read the files into few DataFrames, each with files whose types can be merged.

    A column's type changes at some time, so files in the order of time are divided in halves.
    """
    ordered = sorted(files, key=lambda file: file.modified)
    reader = spark.read.option("mergeSchema", "true")
    try:
        yield reader.parquet(*(file.uri for file in ordered))
    except (PySparkException, Py4JJavaError) as error:
        if not any(text in str(error) for text in MERGE_ERRORS) or len(ordered) == 1:
            raise
        middle = len(ordered) // 2
        yield from _read_parquet(spark, ordered[:middle])
        yield from _read_parquet(spark, ordered[middle:])


def _check_columns(frames: Sequence["DataFrame"], columns: LogColumns) -> None:
    found = {name.lower() for frame in frames for name in frame.columns}
    needed = {
        "key": columns.keys,
        "user": (columns.user,),
        "query": (columns.query,),
        "results": (columns.results,),
    }
    for option, names in needed.items():
        missing = [name for name in names if name.lower() not in found]
        if missing:
            raise RelevanceError(
                f"No file of the logs has the column {missing[0]!r}. Name the right one with "
                f"--column-{option}; the columns are: {', '.join(sorted(found))}."
            )


def _events(frame: "DataFrame", columns: LogColumns, drop_expired: bool) -> "DataFrame":
    path = F.col("_metadata.file_path")
    expired = F.coalesce(_scalar(frame, EXPIRED).cast("boolean"), F.lit(False))
    removed = F.coalesce(_scalar(frame, EVENT_NAME) == "REMOVE", F.lit(False))
    events = frame.select(
        _hour_of(path).alias("hour"),
        path.alias("path"),
        _log_key(frame, columns).alias("log_key"),
        removed.alias("removed"),
        (removed & expired).alias("expired"),
        F.coalesce(_scalar(frame, SEQUENCE_NUMBER).cast("string"), F.lit("")).alias("sequence"),
        _text(frame, columns.user).alias("user"),
        _query(_scalar(frame, columns.query)).alias("query"),
        _epoch_hour(_scalar(frame, columns.searched_at)).alias("searched_hour"),
        _results(frame, columns).alias("results"),
        _clicks(frame, columns).alias("clicks"),
    )
    if not drop_expired:
        events = events.where(~F.col("expired"))
    delivered = (F.unix_timestamp(F.col("hour"), "yyyy-MM-dd-HH") / 3600).cast("long")
    counted = F.when(F.col("hour") == HISTORY, F.col("searched_hour")).otherwise(delivered)
    names = ("hour", "counted_hour", "log_key", "removed", "user", "query", "results", "clicks")
    return events.withColumn("counted_hour", counted).select(
        *names, _event_order().alias("event_order"), _problem().alias("problem")
    )


def _hour_of(path: "Column") -> "Column":
    """The delivery hour in a file's path, or ``history`` if it has none."""
    hour = F.concat_ws(
        "-",
        F.regexp_extract(path, r"delivery_date(?:=|%3D)(\d{4}-\d{2}-\d{2})/", 1),
        F.regexp_extract(path, r"delivery_hour(?:=|%3D)(\d{2})/", 1),
    )
    return F.when(F.length(hour) == 13, hour).otherwise(F.lit(HISTORY))


def _event_order() -> "Column":
    """Orders by sequence number, then by hour and file name, then by the number of clicks."""
    position = F.concat(
        F.when(F.col("hour") == HISTORY, F.lit("")).otherwise(F.col("hour")),
        F.lit(" "),
        F.substring_index("path", "/", -1),
    )
    return F.struct(
        F.lpad("sequence", SEQUENCE_DIGITS, "0").alias("sequence"),
        position.alias("position"),
        F.coalesce(F.size("clicks"), F.lit(0)).alias("clicks"),
    )


def _problem() -> "Column":
    """The first of ``PROBLEMS`` that applies to a row; null for a row that can be used."""
    usable = F.coalesce(F.size("results"), F.lit(0)) > 0
    return (
        F.when(F.col("log_key").isNull(), NO_KEY)
        .when(F.col("removed"), F.lit(None))
        .when(F.col("query").isNull(), NO_QUERY)
        .when(~usable, NO_RESULTS)
        .when(F.col("counted_hour").isNull(), NO_TIME)
    )


def _log_key(frame: "DataFrame", columns: LogColumns) -> "Column":
    """The key columns as one text, or else the event's id; null if it has neither."""
    parts = [_text(frame, name) for name in columns.keys]
    complete = reduce(lambda one, other: one & other, [part.isNotNull() for part in parts])
    key = parts[0] if len(parts) == 1 else F.to_json(F.array(*parts))
    return F.when(complete, key).otherwise(_scalar(frame, EVENT_ID).cast("string"))


def _text(frame: "DataFrame", name: str) -> "Column":
    """An identifier as text; null if it is missing or empty."""
    field = _field(frame.schema, name)
    text = (
        _scalar(frame, name) if field is None else _identifier(_scalar(frame, name), field.dataType)
    )
    return F.when(F.length(text) > 0, text)


def _scalar(frame: "DataFrame", name: str) -> "Column":
    """A column of the frame; null if it has none of that name."""
    if _field(frame.schema, name) is None:
        return F.lit(None).cast("string")
    return F.col(f"`{name}`")


def _query(column: "Column") -> "Column":
    """A query in lower case and with single spaces; null if it has no other characters."""
    text = F.lower(F.trim(F.regexp_replace(column.cast("string"), r"\s+", " ")))
    return F.when(F.length(text) > 0, text)


def _epoch_hour(column: "Column") -> "Column":
    """The hour since the epoch of a time: seconds, milliseconds, a timestamp, or text of these."""
    text = column.cast("string")
    number = text.cast("double")
    seconds = F.when(F.abs(number) >= 1e12, number / 1000).otherwise(number)
    moment = F.coalesce(seconds, F.to_timestamp(text).cast("double"))
    return F.floor(moment / 3600).cast("long")


def _identifier(column: "Column", kind: T.DataType) -> "Column":
    """An identifier as text; whole numbers have neither exponent nor fraction."""
    if isinstance(kind, (T.DoubleType, T.FloatType, T.DecimalType)):
        whole = column.cast(T.DecimalType(38, 0))
        return F.when(column == whole, whole.cast("string")).otherwise(column.cast("string"))
    return column.cast("string")


def _results(frame: "DataFrame", columns: LogColumns) -> "Column":
    """The results shown, with positions; null if the column is missing."""
    fields = {"document": columns.result_document, "position": columns.result_position}
    entries = _entries(frame, columns.results, fields, RESULT)
    numbered = F.transform(
        entries,
        lambda entry, index: F.struct(
            entry["document"].alias("document"),
            F.coalesce(entry["position"], (index + 1).cast("int")).alias("position"),
        ),
    )
    return F.filter(
        numbered, lambda entry: entry["document"].isNotNull() & (entry["position"] >= 1)
    )


def _clicks(frame: "DataFrame", columns: LogColumns) -> "Column":
    """The clicks; null if the column is missing."""
    fields = {
        "document": columns.click_document,
        "position": columns.click_position,
        "dwell_ms": columns.click_dwell_ms,
    }
    return _entries(frame, columns.clicks, fields, CLICK)


def _entries(
    frame: "DataFrame", name: str, fields: dict[str, str], target: T.StructType
) -> "Column":
    """Convert a column to an array of structs; null if the column is missing.

    Args:
        frame: the frame with the column.
        name: the column's name.
        fields: the target's field names, each with the name that it has in the column.
        target: the type of the structs.
    """
    field = _field(frame.schema, name)
    if field is None:
        return F.lit(None).cast(T.ArrayType(target))
    column, element = _array(field, fields)
    parts: list[Column] = []
    for part in target.fields:
        source = _field(element, fields[part.name])
        if source is not None:
            values, kind = column[source.name], source.dataType
        elif part.name != "document":
            values, kind = F.transform(column, lambda _: F.lit(None).cast("string")), None
        elif isinstance(element, T.StructType):
            raise RelevanceError(
                f"The elements of {name!r} are {element.simpleString()}, without the field "
                f"{fields[part.name]!r}."
            )
        else:
            values, kind = column, element
        parts.append(_cast_elements(values, kind, part.dataType).alias(part.name))
    return F.arrays_zip(*parts).cast(T.ArrayType(target))


def _array(field: T.StructField, fields: dict[str, str]) -> tuple["Column", T.DataType]:
    """A column as an array, with the type of its elements; text is parsed as JSON."""
    column, kind = F.col(f"`{field.name}`"), field.dataType
    if isinstance(kind, T.StringType):
        kind = _json_type(fields)
        column = F.from_json(column, kind)
    if not isinstance(kind, T.ArrayType):
        raise RelevanceError(
            f"Column {field.name!r} is {kind.simpleString()}; it must be an array, or JSON of one."
        )
    return column, kind.elementType


def _cast_elements(values: "Column", kind: T.DataType | None, target: T.DataType) -> "Column":
    if isinstance(target, T.StringType) and kind is not None:
        return F.transform(values, lambda value: _identifier(value, kind))
    # First to double, because Spark does not cast the text "3.0" to int.
    return F.transform(values, lambda value: value.cast("double").cast(target))


def _json_type(fields: dict[str, str]) -> T.ArrayType:
    """The type of JSON text: an array of documents or of structs with text fields."""
    if not fields["document"]:
        return T.ArrayType(T.StringType())
    return T.ArrayType(
        T.StructType([T.StructField(name, T.StringType()) for name in fields.values() if name])
    )


def _field(kind: T.DataType, name: str) -> T.StructField | None:
    """A struct's field by its name in any case; None if there is none."""
    fields = kind.fields if isinstance(kind, T.StructType) else []
    return next((field for field in fields if field.name.lower() == name.lower()), None)
