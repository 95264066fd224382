"""The regions of the embedded AWS, whose services have a state of their own in each."""

from ddb_pipeline.embedded.process import REGION


def embedded_region(region: str, home: str) -> str:
    """The region in which the embedded AWS has what a configuration has in ``region``.

    It has the resources of the settings' region in ``us-east-1``, whatever that region is: a home
    folder stays usable when the setting is changed. The two regions are exchanged.

    Args:
        region: a pipeline's region; empty for the settings'.
        home: the settings' region.
    """
    exchanged = {home: REGION, REGION: home}
    return exchanged.get(region or home, region)
