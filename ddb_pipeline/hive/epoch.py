"""Epoch times: whether a number is seconds or milliseconds."""

from typing import Final

MILLISECONDS_FROM: Final = 10**12
"""Firehose reads an epoch time of at least this size as milliseconds, a smaller one as seconds (as
probed on the service: ``vectors/firehose_probed.json`` of the tests)."""


def epoch_seconds(time: int) -> float:
    """An epoch time in seconds, whichever of the two it is given in."""
    return time / 1000 if abs(time) >= MILLISECONDS_FROM else float(time)
