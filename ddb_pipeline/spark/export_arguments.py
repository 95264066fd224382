"""What the export job is asked for, on its command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


class ExportJobError(Exception):
    """The job cannot be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ExportArguments:
    """What the job is asked for; either ``infer_to``, or ``destination`` and ``schema``.

    Attributes:
        source: URI of the export's folder.
        destination: URI of the dataset's folder.
        schema: URI of the columns.
        infer_to: URI where the columns that all items tell of are to be written.
        partition_by: as ``parse_partition_by`` takes it; empty for none.
        compression, file_mb: of the Parquet files.
    """

    source: str
    destination: str = ""
    schema: str = ""
    infer_to: str = ""
    partition_by: str = ""
    compression: str = "zstd"
    file_mb: int = 256

    def __post_init__(self) -> None:
        if bool(self.infer_to) == bool(self.destination and self.schema):
            raise ExportJobError(
                "Give --destination and --schema to convert, or --infer-to to infer the columns."
            )

    def command_line(self) -> list[str]:
        """The arguments that :func:`parse` reads this from."""
        words: list[str] = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value != "":
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words


def parse(argv: Sequence[str]) -> ExportArguments:
    """Read a command line.

    Raises:
        ExportJobError: what was asked for is not one thing.
        SystemExit: an argument is unknown or missing; argparse has said which.
    """
    parser = argparse.ArgumentParser(
        prog="export_job", description="A DynamoDB export to Parquet by Spark."
    )
    parser.add_argument("--source", required=True)
    for name in ("destination", "schema", "infer-to", "partition-by"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--file-mb", type=int, default=256)
    return ExportArguments(**vars(parser.parse_args(list(argv))))
