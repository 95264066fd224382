"""The export job's arguments: parsed from a command line and converted to one."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


class ExportJobError(Exception):
    """The job cannot run or has failed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ExportArguments:
    """The arguments of one run: ``infer_to`` to infer a schema, the others to convert.

    Attributes:
        source: URI of the export's folder.
        destination: URI of the dataset's folder.
        schema: URI of the file with the dataset's columns, JSON.
        infer_to: URI of the file to which columns inferred from all items are written.
        partition_by: partitioning as ``parse_partition_by`` reads it; empty for none.
        compression, file_mb: codec and size of the Parquet files.
        type_conflicts: decisions about types as ``parse_decisions`` reads them; empty for none.
    """

    source: str
    destination: str = ""
    schema: str = ""
    infer_to: str = ""
    partition_by: str = ""
    compression: str = "zstd"
    file_mb: int = 256
    type_conflicts: str = ""

    def __post_init__(self) -> None:
        if bool(self.infer_to) == bool(self.destination and self.schema):
            raise ExportJobError(
                "Give --destination and --schema to convert, or --infer-to to infer the columns."
            )

    def command_line(self) -> list[str]:
        """Return the words from which :func:`parse` builds these arguments."""
        words: list[str] = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value != "":
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words


def parse(argv: Sequence[str]) -> ExportArguments:
    """Parse a command line.

    Raises:
        ExportJobError: it asks for neither or both of inference and conversion.
        SystemExit: an argument is unknown or missing; argparse has printed which.
    """
    parser = argparse.ArgumentParser(
        prog="export_job", description="Convert an export of a DynamoDB table to Parquet."
    )
    parser.add_argument("--source", required=True)
    for name in ("destination", "schema", "infer-to", "partition-by", "type-conflicts"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--file-mb", type=int, default=256)
    return ExportArguments(**vars(parser.parse_args(list(argv))))
