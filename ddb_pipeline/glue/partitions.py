"""Single partitions of a catalog table: where their data is, and with which columns they are read.

A partition keeps the columns that it was created with; a change of the table does not reach it
(Amazon Athena user guide, "Updates and partitions"). The one write of :func:`point_partition`
therefore sets both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import error_code
from ddb_pipeline.glue.catalog import CatalogError, TableReference, catalog_error
from ddb_pipeline.glue.lake_table import storage_descriptor
from ddb_pipeline.hive.types import Column

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import PartitionInputTypeDef

MISSING = "EntityNotFoundException"
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class CatalogPartition:
    """A partition of a catalog table: its values, the location of its data, its columns."""

    values: tuple[str, ...]
    location: str
    columns: tuple[Column, ...]


def find_partition(
    glue: "GlueClient", reference: TableReference, values: Sequence[str]
) -> CatalogPartition | None:
    """Read a partition; None where the table has none of these values.

    Raises:
        CatalogError: it cannot be read.
    """
    try:
        found = glue.get_partition(
            DatabaseName=reference.database,
            TableName=reference.name,
            PartitionValues=list(values),
        )["Partition"]
    except ClientError as error:
        if error_code(error) == MISSING:
            return None
        raise catalog_error(error, reference, "glue:GetPartition") from error
    descriptor = found.get("StorageDescriptor", {})
    columns = tuple(Column(c["Name"], c.get("Type", "")) for c in descriptor.get("Columns", ()))
    return CatalogPartition(tuple(values), descriptor.get("Location", ""), columns)


def point_partition(
    glue: "GlueClient", reference: TableReference, partition: CatalogPartition
) -> bool:
    """Have a partition read at this location with these columns, by one write of the catalog.

    Creates the partition where there is none. Returns whether anything was written.

    Raises:
        CatalogError: it cannot be written.
    """
    if find_partition(glue, reference, partition.values) == partition:
        return False
    definition: PartitionInputTypeDef = {
        "Values": list(partition.values),
        "StorageDescriptor": storage_descriptor(partition.location, partition.columns),
    }
    for _ in range(ATTEMPTS):
        # Another writer may create or delete the partition between the two requests.
        if _update(glue, reference, definition) or _create(glue, reference, definition):
            return True
    raise CatalogError(
        f"Partition {'/'.join(partition.values)} of {reference} is created and deleted by another "
        "writer all the time. Find it, then run again."
    )


def delete_partition(glue: "GlueClient", reference: TableReference, values: Sequence[str]) -> bool:
    """Remove a partition from the catalog, not its data; returns whether there was one.

    Raises:
        CatalogError: it cannot be removed.
    """
    try:
        glue.delete_partition(
            DatabaseName=reference.database,
            TableName=reference.name,
            PartitionValues=list(values),
        )
    except ClientError as error:
        if error_code(error) == MISSING:
            return False
        raise catalog_error(error, reference, "glue:DeletePartition") from error
    return True


def _update(
    glue: "GlueClient", reference: TableReference, definition: "PartitionInputTypeDef"
) -> bool:
    """Update a partition; returns False where there is none."""
    operation, values = "BatchUpdatePartition", definition["Values"]
    try:
        response = glue.batch_update_partition(
            DatabaseName=reference.database,
            TableName=reference.name,
            Entries=[{"PartitionValueList": values, "PartitionInput": definition}],
        )
        for failed in response.get("Errors", ()):
            detail = failed.get("ErrorDetail", {})
            code, message = detail.get("ErrorCode", ""), detail.get("ErrorMessage", "")
            if code == MISSING:
                return False
            raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
    except ClientError as error:
        raise catalog_error(error, reference, f"glue:{operation}") from error
    return True


def _create(
    glue: "GlueClient", reference: TableReference, definition: "PartitionInputTypeDef"
) -> bool:
    """Create a partition; returns False where it exists."""
    try:
        glue.create_partition(
            DatabaseName=reference.database, TableName=reference.name, PartitionInput=definition
        )
    except ClientError as error:
        if error_code(error) == "AlreadyExistsException":
            return False
        raise catalog_error(error, reference, "glue:CreatePartition") from error
    return True
