"""The job: an export of a DynamoDB table to Parquet, its data files converted by Spark's executors.

    spark-submit --py-files modules.zip export_job.py \\
        --source URI --destination URI --schema URI [--partition-by EXPRESSION]
    spark-submit --py-files modules.zip export_job.py --source URI --infer-to URI

Source and destination are ``s3://`` or ``file://`` URIs, the schema is JSON: ``[["name", "type"],
...]``. The converter, the files that it writes and their publication are those of one machine
(``ddb_pipeline.export.convert``): a job that was stopped goes on where it was, and nothing is
visible before all of it is. Python workers read and write by pyarrow with the credentials that
they find (the job role's on EMR), and need pyarrow, numpy, isal and amazon.ion.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.fs

from ddb_pipeline.arrow_types import NoParquetTypeError, arrow_schema
from ddb_pipeline.export.columns_file import read_columns_file, write_columns_file
from ddb_pipeline.export.convert import (
    ConversionFailedError,
    Progress,
    convert_export,
    infer_export,
)
from ddb_pipeline.export.manifest import ExportError
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.infer import notes as schema_notes
from ddb_pipeline.hive.types import HiveTypeError
from ddb_pipeline.parquet.partition_by import PartitionError, parse_partition_by
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination, PublishError
from ddb_pipeline.spark.executors import ExecutorError, on_spark
from ddb_pipeline.spark.export_arguments import ExportArguments, ExportJobError, parse
from ddb_pipeline.spark.reporting import Reporter, open_reporter
from ddb_pipeline.spark.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXPECTED = (
    ConversionFailedError,
    ExecutorError,
    ExportError,
    HiveTypeError,
    NoParquetTypeError,
    PartitionError,
    PublishError,
)


def run(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    """Do what is asked for.

    Raises:
        ExportJobError: it cannot be done.
    """
    try:
        if arguments.infer_to:
            infer(spark, arguments, reporter)
        else:
            convert(spark, arguments, reporter)
    except EXPECTED as error:
        raise ExportJobError(f"{type(error).__name__}: {error}") from error


def infer(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    open_object, export = open_export(*located(arguments.source))
    found = infer_export(
        open_object, export, run_tasks=on_spark(spark), on_progress=telling(reporter, "Read")
    )
    schema = inferred_schema(found)
    told = list(schema_notes(schema))
    for note in told:
        reporter.warn(note)
    write_columns_file(*located(arguments.infer_to), schema.columns)
    reporter.log(f"{found.items} items, {len(schema.columns)} columns: {arguments.infer_to}")


def convert(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    try:
        columns = read_columns_file(*located(arguments.schema))
    except (FileNotFoundError, ValueError) as error:
        raise ExportJobError(f"The schema {arguments.schema} cannot be read: {error}") from error
    open_object, export = open_export(*located(arguments.source))
    by = arguments.partition_by
    conversion = convert_export(
        open_object,
        export,
        columns,
        Destination(*located(arguments.destination)),
        options=PartOptions(
            compression=arguments.compression,
            file_bytes=arguments.file_mb * 1024 * 1024,
            partition_by=parse_partition_by(by, arrow_schema(columns)) if by else None,
        ),
        run_tasks=on_spark(spark),
        on_progress=telling(reporter, "Converted"),
    )
    reporter.log(
        f"{conversion.rows} rows in {len(conversion.parts)} files, {conversion.rejected} lines "
        f"rejected: {arguments.destination}"
    )


def telling(reporter: Reporter, done: str) -> Any:
    """Progress as log lines, one each time that a tenth more is done."""
    told = -1

    def tell(progress: Progress) -> None:
        nonlocal told
        tenths = 10 * progress.items // max(progress.total_items, 1)
        if tenths > told:
            told = tenths
            reporter.log(f"{done} {progress.items} of {progress.total_items} items.")

    return tell


def located(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a URI, and the path in it.

    Raises:
        ExportJobError: it is no URI of a file system that pyarrow knows.
    """
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as error:
        raise ExportJobError(f"{uri!r}: {error}. Give an s3:// or file:// URI.") from error
    return filesystem, path.rstrip("/")


def main(argv: Sequence[str]) -> None:
    with open_reporter() as reporter:
        arguments = parse(argv)
        spark = open_session("export_job")
        try:
            run(spark, arguments, reporter)
        finally:
            spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
