"""The job that converts an export of a DynamoDB table to Parquet on Spark's executors.

    spark-submit --py-files modules.zip export_job.py \\
        --source URI --destination URI --schema URI [--partition-by EXPRESSION]
    spark-submit --py-files modules.zip export_job.py --source URI --infer-to URI

Source and destination are ``s3://`` or ``file://`` URIs, the schema is JSON: ``[["name", "type"],
...]``. The converter, its files and their publication are those of ``ddb_pipeline.export.convert``:
a job that was stopped continues where it stopped, and readers see nothing before the dataset is
complete. The Python workers access files with pyarrow and the default credentials (on EMR, the job
role's); they need pyarrow, numpy and isal.
"""

import sys
from typing import TYPE_CHECKING

import pyarrow.fs

from ddb_pipeline.arrow_types import NoParquetTypeError, arrow_schema
from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.export.columns_file import read_columns_file, write_columns_file
from ddb_pipeline.export.convert import OnProgress, Progress, convert_export, infer_export
from ddb_pipeline.export.source import open_export
from ddb_pipeline.hive.infer import InferenceOptions, inferred_schema
from ddb_pipeline.hive.infer import notes as schema_notes
from ddb_pipeline.hive.type_decisions import parse_decisions
from ddb_pipeline.hive.types import HiveTypeError
from ddb_pipeline.parquet.partition_by import parse_partition_by
from ddb_pipeline.parquet.parts import PartOptions
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline.spark.executors import ExecutorError, on_spark
from ddb_pipeline.spark.export_arguments import ExportArguments, ExportJobError, parse
from ddb_pipeline.spark.reporting import Reporter
from ddb_pipeline.spark.session import run_job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXPECTED = (DdbPipelineError, ExecutorError, HiveTypeError, NoParquetTypeError)
"""Errors whose message explains what to do."""


def run(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    """Run the job: infer the columns or convert the export.

    Raises:
        ExportJobError: the job failed for a reason that the message explains.
    """
    try:
        if arguments.infer_to:
            infer(spark, arguments, reporter)
        else:
            convert(spark, arguments, reporter)
    except EXPECTED as error:
        raise ExportJobError(f"{type(error).__name__}: {error}") from error


def infer(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    """Infer the columns from all items and write them to ``arguments.infer_to``."""
    open_object, export = open_export(*located(arguments.source))
    found = infer_export(
        open_object, export, run_tasks=on_spark(spark), on_progress=log_progress(reporter, "Read")
    )
    decisions = parse_decisions(arguments.type_conflicts)
    schema = inferred_schema(found, InferenceOptions(decisions=decisions))
    for note in schema_notes(schema):
        reporter.warn(note)
    write_columns_file(*located(arguments.infer_to), schema.columns)
    reporter.log(
        f"Wrote {len(schema.columns)} columns, inferred from {found.items} items, to "
        f"{arguments.infer_to}"
    )


def convert(spark: "SparkSession", arguments: ExportArguments, reporter: Reporter) -> None:
    """Convert the export to a dataset at ``arguments.destination``."""
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
        decisions=parse_decisions(arguments.type_conflicts),
        run_tasks=on_spark(spark),
        on_progress=log_progress(reporter, "Converted"),
    )
    reporter.log(
        f"Wrote {conversion.rows} rows in {len(conversion.parts)} files to "
        f"{arguments.destination}; {conversion.rejected} line(s) were rejected."
    )


def log_progress(reporter: Reporter, done: str) -> OnProgress:
    """Return a callback that logs progress whenever another tenth of the items is done."""
    logged = -1

    def log(progress: Progress) -> None:
        nonlocal logged
        tenths = 10 * progress.items // max(progress.total_items, 1)
        if tenths > logged:
            logged = tenths
            reporter.log(f"{done} {progress.items} of {progress.total_items} items.")

    return log


def located(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the file system of a URI and the path in it.

    Raises:
        ExportJobError: the URI is not one of a file system that pyarrow supports.
    """
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as error:
        raise ExportJobError(f"{uri!r}: {error}. Give an s3:// or file:// URI.") from error
    return filesystem, path.rstrip("/")


if __name__ == "__main__":
    run_job("export_job", sys.argv[1:], parse, run)
