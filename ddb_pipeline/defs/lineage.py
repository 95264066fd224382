"""Column lineage: which columns of other assets the columns of a dataset come from."""

from collections.abc import Iterable, Mapping

import dagster as dg

COLUMN_LINEAGE = "dagster/column_lineage"
"""The metadata key under which Dagster's UI finds the lineage of an asset's columns."""


def same_columns(
    columns: Iterable[str], upstream: Mapping[dg.AssetKey, Iterable[str]]
) -> dict[str, dg.MetadataValue]:
    """The metadata that each column comes from those of the same name in other assets.

    Args:
        columns: the dataset's columns.
        upstream: the columns of the assets that it is made of.
    """
    names = {key: frozenset(found) for key, found in upstream.items()}
    deps = {
        column: [
            dg.TableColumnDep(asset_key=key, column_name=column)
            for key, found in names.items()
            if column in found
        ]
        for column in columns
    }
    lineage = dg.TableColumnLineage(deps_by_column={c: found for c, found in deps.items() if found})
    return {COLUMN_LINEAGE: dg.MetadataValue.column_lineage(lineage)}
