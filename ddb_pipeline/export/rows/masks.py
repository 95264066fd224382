"""Masks of rows as numpy arrays of booleans; None is a mask without any row."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def to_mask(values: pa.Array) -> Mask:
    """A boolean array without nulls as a mask."""
    mask: Mask = values.to_numpy(zero_copy_only=False).astype(np.bool_, copy=False)
    return mask


def valid(array: pa.Array) -> Mask:
    """Rows that are not null."""
    return to_mask(pc.is_valid(array))


def some(mask: Mask) -> Mask | None:
    """The mask; None if no row is in it."""
    return mask if mask.any() else None


def either(one: Mask | None, other: Mask | None) -> Mask | None:
    """Rows that are in at least one of two masks."""
    if one is None or other is None:
        return other if one is None else one
    both: Mask = one | other
    return both


def parents(elements: Mask | None, ends: npt.NDArray[np.integer]) -> Mask | None:
    """Lists that have an element in a mask.

    Args:
        elements: mask of the elements of all lists.
        ends: positions between the elements at which the lists begin and end, one more than lists.
    """
    if elements is None:
        return None
    before = np.concatenate(([0], np.cumsum(elements)))
    found: Mask = before[ends[1:]] > before[ends[:-1]]
    return found
