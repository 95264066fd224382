"""Search logs as they lie in the lake, made uniform: one row an event, whatever types it has.

A lake's columns are typed by what a crawl saw: numbers come as bigint, double or text, lists as
arrays or JSON. Everything is cast here with care, and rows that cannot be used carry the reason.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from ddb_pipeline.spark.arguments import LogColumns, RelevanceError
from ddb_pipeline.spark.manifest import HISTORY
from ddb_pipeline.spark.storage import StoredFile

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

EVENT_ID, EVENT_NAME = "ddb_event_id", "ddb_event_name"
SEQUENCE, EXPIRED = "ddb_sequence_number", "ddb_expired"
SEQUENCE_DIGITS = 40
"""DynamoDB's sequence numbers have 21 to 40 digits (DynamoDB Streams API reference)."""

RESULT = "array<struct<document:string,position:int>>"
CLICK = "array<struct<document:string,position:int,dwell_ms:double>>"
MERGE_ERRORS = ("CANNOT_MERGE_SCHEMAS", "Failed merging schema", "Failed to merge")

NO_KEY, NO_QUERY, NO_RESULTS, NO_TIME = "no_log_key", "no_query", "no_results", "no_search_time"
PROBLEMS = (NO_KEY, NO_QUERY, NO_RESULTS, NO_TIME)
"""Why a row cannot be used, the first that applies."""


def read_logs(
    spark: "SparkSession", files: Sequence[StoredFile], columns: LogColumns, *, drop_expired: bool
) -> "DataFrame":
    """The events in these files: ``hour``, ``counted_hour``, ``log_key``, ``event_order``,
    ``removed``, ``problem``, ``user``, ``query``, ``results`` and ``clicks``.

    ``hour`` is the delivery hour (``2026-11-24-10``) or ``history``; ``counted_hour`` the hour
    since the epoch in which the search counts. ``event_order`` is greater for later events of a
    log. Removals by time to live are left out unless ``drop_expired``.

    Raises:
        RelevanceError: none of the files has a column that is needed.
    """
    frames = list(_frames(spark, files))
    _check_columns(frames, columns)
    events = [_uniform(frame, columns, drop_expired) for frame in frames]
    return reduce(lambda one, other: one.unionByName(other), events)


def _frames(spark: "SparkSession", files: Sequence[StoredFile]) -> Iterator["DataFrame"]:
    """The files in as few frames as their types allow: types drift with time, so by halves."""
    ordered = sorted(files, key=lambda file: file.modified)
    reader = spark.read.option("mergeSchema", "true")
    try:
        yield reader.parquet(*(file.uri for file in ordered))
    except (PySparkException, Py4JJavaError) as error:
        if not any(text in str(error) for text in MERGE_ERRORS) or len(ordered) == 1:
            raise
        middle = len(ordered) // 2
        yield from _frames(spark, ordered[:middle])
        yield from _frames(spark, ordered[middle:])


def _check_columns(frames: Sequence["DataFrame"], columns: LogColumns) -> None:
    there = {name.lower() for frame in frames for name in frame.columns}
    needed = {
        "key": columns.keys,
        "user": (columns.user,),
        "query": (columns.query,),
        "results": (columns.results,),
    }
    for option, names in needed.items():
        missing = [name for name in names if name.lower() not in there]
        if missing:
            raise RelevanceError(
                f"No file of the logs has the column {missing[0]!r}. Say with --column-{option} "
                f"which one it is; there are: {', '.join(sorted(there))}."
            )


def _uniform(frame: "DataFrame", columns: LogColumns, drop_expired: bool) -> "DataFrame":
    path = F.col("_metadata.file_path")
    hour = F.concat_ws(
        "-",
        F.regexp_extract(path, r"delivery_date(?:=|%3D)(\d{4}-\d{2}-\d{2})/", 1),
        F.regexp_extract(path, r"delivery_hour(?:=|%3D)(\d{2})/", 1),
    )
    hour = F.when(F.length(hour) == 13, hour).otherwise(F.lit(HISTORY))
    expired = F.coalesce(_scalar(frame, EXPIRED).cast("boolean"), F.lit(False))
    removed = F.coalesce(_scalar(frame, EVENT_NAME) == "REMOVE", F.lit(False))
    events = frame.select(
        hour.alias("hour"),
        path.alias("path"),
        _log_key(frame, columns).alias("log_key"),
        removed.alias("removed"),
        (removed & expired).alias("expired"),
        F.coalesce(_scalar(frame, SEQUENCE).cast("string"), F.lit("")).alias("sequence"),
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
    return events.withColumn("counted_hour", counted).select(
        "hour",
        "counted_hour",
        "log_key",
        _event_order().alias("event_order"),
        "removed",
        _problem().alias("problem"),
        "user",
        "query",
        "results",
        "clicks",
    )


def _event_order() -> "Column":
    """Sequence number, else hour and file, else what has been clicked since."""
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
    usable = F.coalesce(F.size("results"), F.lit(0)) > 0
    return (
        F.when(F.col("log_key").isNull(), NO_KEY)
        .when(F.col("removed"), F.lit(None))
        .when(F.col("query").isNull(), NO_QUERY)
        .when(~usable, NO_RESULTS)
        .when(F.col("counted_hour").isNull(), NO_TIME)
    )


def _log_key(frame: "DataFrame", columns: LogColumns) -> "Column":
    """The key columns as one text, else the event's id; null where neither is there."""
    parts = [_text(frame, name) for name in columns.keys]
    complete = reduce(lambda one, other: one & other, [part.isNotNull() for part in parts])
    key = parts[0] if len(parts) == 1 else F.to_json(F.array(*parts))
    return F.when(complete, key).otherwise(_scalar(frame, EVENT_ID).cast("string"))


def _text(frame: "DataFrame", name: str) -> "Column":
    """An identifier as text; null where it is missing or empty."""
    kind = _type(frame.schema, name)
    text = F.lit(None).cast("string") if kind is None else _identifier(F.col(f"`{name}`"), kind)
    return F.when(F.length(text) > 0, text)


def _scalar(frame: "DataFrame", name: str) -> "Column":
    if _type(frame.schema, name) is None:
        return F.lit(None).cast("string")
    return F.col(f"`{name}`")


def _query(column: "Column") -> "Column":
    """A query as it is compared: lower case, single spaces; null where nothing is left."""
    text = F.lower(F.trim(F.regexp_replace(column.cast("string"), r"\s+", " ")))
    return F.when(F.length(text) > 0, text)


def _epoch_hour(column: "Column") -> "Column":
    """Hours since the epoch of seconds, milliseconds, a timestamp or the text of any of them."""
    text = column.cast("string")
    number = text.cast("double")
    seconds = F.when(F.abs(number) >= 1e12, number / 1000).otherwise(number)
    moment = F.coalesce(seconds, F.to_timestamp(text).cast("double"))
    return F.floor(moment / 3600).cast("long")


def _identifier(column: "Column", kind: T.DataType) -> "Column":
    """An identifier as text: numbers without exponent or fraction."""
    if isinstance(kind, (T.DoubleType, T.FloatType, T.DecimalType)):
        whole = column.cast(T.DecimalType(38, 0))
        return F.when(column == whole, whole.cast("string")).otherwise(column.cast("string"))
    return column.cast("string")


def _results(frame: "DataFrame", columns: LogColumns) -> "Column":
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
    fields = {
        "document": columns.click_document,
        "position": columns.click_position,
        "dwell_ms": columns.click_dwell_ms,
    }
    return _entries(frame, columns.clicks, fields, CLICK)


def _entries(frame: "DataFrame", name: str, fields: dict[str, str], kind: str) -> "Column":
    """An array column as an array of ``kind``'s structs; null where it is missing."""
    target = T._parse_datatype_string(kind)
    assert isinstance(target, T.ArrayType)
    assert isinstance(target.elementType, T.StructType)
    found = _type(frame.schema, name)
    if found is None:
        return F.lit(None).cast(target)
    column = F.col(f"`{name}`")
    if isinstance(found, T.StringType):
        found = _json_type(fields)
        column = F.from_json(column, found)
    if not isinstance(found, T.ArrayType):
        raise RelevanceError(
            f"Column {name!r} is {found.simpleString()}; it must be an array, or JSON of one."
        )
    element = found.elementType
    parts: list[Column] = []
    for field in target.elementType.fields:
        source = fields[field.name]
        inner = _type(element, source) if source and isinstance(element, T.StructType) else None
        if inner is not None:
            values = column[_exact(element, source)]
        elif field.name == "document" and not isinstance(element, T.StructType):
            values, inner = column, element
        elif field.name == "document":
            raise RelevanceError(
                f"An element of {name!r} is {element.simpleString()}, without {source!r}."
            )
        else:
            # A null for every element.
            values, inner = F.transform(column, lambda _: F.lit(None).cast("string")), None
        parts.append(_cast_all(values, inner, field.dataType).alias(field.name))
    zipped = F.arrays_zip(*parts)
    return zipped.cast(target)


def _cast_all(values: "Column", found: T.DataType | None, wanted: T.DataType) -> "Column":
    if isinstance(wanted, T.StringType) and found is not None:
        return F.transform(values, lambda value: _identifier(value, found))
    # By way of double: "3.0" is no int for Spark.
    return F.transform(values, lambda value: value.cast("double").cast(wanted))


def _json_type(fields: dict[str, str]) -> T.ArrayType:
    if not fields["document"]:
        return T.ArrayType(T.StringType())
    return T.ArrayType(
        T.StructType([T.StructField(name, T.StringType()) for name in fields.values() if name])
    )


def _type(kind: T.DataType, name: str) -> T.DataType | None:
    """The type of a field by its name in any case; None where there is none."""
    if isinstance(kind, T.StructType):
        for field in kind.fields:
            if field.name.lower() == name.lower():
                return field.dataType
    return None


def _exact(kind: T.DataType, name: str) -> str:
    assert isinstance(kind, T.StructType)
    return next(field.name for field in kind.fields if field.name.lower() == name.lower())
