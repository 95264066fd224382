"""The job that updates a current view on Spark's executors.

    spark-submit --py-files modules.zip current_job.py \\
        --destination URI --request URI --run NAME

The destination is an ``s3://`` or ``file://`` URI. The request is a file that
``lake.current.prepared.write_request`` wrote. The merge, its files and their publication are those
of ``ddb_pipeline.lake.current.update``: each bucket is merged in one of Spark's Python workers.

In a folder the job publishes the new version. In a bucket it prepares it: the switch is a
conditional write, which pyarrow does not have, so whoever submitted the job publishes it with
``lake.current.prepared.publish_prepared``. The Python workers need pyarrow, numpy and isal.
"""

import argparse
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.fs

from ddb_pipeline.errors import DdbPipelineError
from ddb_pipeline.lake.current.prepared import PreparingStore, read_request, write_prepared
from ddb_pipeline.lake.current.steps import Result, RunSteps, Step
from ddb_pipeline.lake.current.store import LocalStore, Store
from ddb_pipeline.lake.current.update import Updated, update
from ddb_pipeline.spark.executors import ExecutorError, collected
from ddb_pipeline.spark.export_job import located
from ddb_pipeline.spark.reporting import Reporter
from ddb_pipeline.spark.session import run_job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class CurrentJobError(Exception):
    """The job failed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CurrentArguments:
    """The arguments of one run.

    Attributes:
        destination: URI of the view's folder.
        request: URI of the file with the request.
        run: name of the run, by which a prepared version is published.
    """

    destination: str
    request: str
    run: str

    def command_line(self) -> list[str]:
        """The words from which ``parse`` builds these arguments."""
        return [
            *("--destination", self.destination),
            *("--request", self.request),
            *("--run", self.run),
        ]


def parse(argv: Sequence[str]) -> CurrentArguments:
    """Parse a command line.

    Raises:
        SystemExit: an argument is unknown or missing; argparse has printed which.
    """
    parser = argparse.ArgumentParser(prog="current_job", description="Update a current view.")
    for name in ("destination", "request", "run"):
        parser.add_argument(f"--{name}", required=True)
    return CurrentArguments(**vars(parser.parse_args(list(argv))))


def on_executors(spark: "SparkSession") -> RunSteps:
    """Runs the steps of an update on Spark's executors.

    A step that Spark runs twice writes the same files with the same bytes.
    """

    def run(steps: Sequence[Step[Result]]) -> Iterator[Result]:
        if not steps:
            return
        shared = spark.sparkContext.broadcast(tuple(steps))

        def run_one(number: int) -> bytes:
            return pickle.dumps(shared.value[number].run())

        for result in collected(spark, len(steps), run_one):
            # As trusted as Spark's own protocol, which pickles what its executors return.
            yield pickle.loads(result)  # nosec B301

    return run


def run(spark: "SparkSession", arguments: CurrentArguments, reporter: Reporter) -> Updated:
    """Run the job.

    Raises:
        CurrentJobError: the job failed for a reason that the message explains.
    """
    filesystem, path = located(arguments.destination)
    try:
        request = read_request(*located(arguments.request), filesystem)
        local = isinstance(filesystem, pyarrow.fs.LocalFileSystem)
        store: Store = LocalStore(path) if local else PreparingStore(filesystem, path)
        updated = update(store, request.checked, on_executors(spark), run=arguments.run)
        if not local:
            write_prepared(filesystem, path, arguments.run, request.base, updated)
    except (DdbPipelineError, ExecutorError) as error:
        raise CurrentJobError(f"{type(error).__name__}: {error}") from error
    done = "Published" if local else "Prepared"
    reporter.log(
        f"{done} {updated.manifest.rows} rows in {updated.manifest.buckets} bucket(s), of which "
        f"{updated.rewritten} were written, for {arguments.destination}"
    )
    return updated


if __name__ == "__main__":
    run_job("current_job", sys.argv[1:], parse, run)
