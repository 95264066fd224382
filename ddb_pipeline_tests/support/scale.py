"""How many random cases the tests try: ``DDB_PIPELINE_TEST_SCALE`` times as many as the gate."""

import os

SCALE = int(os.environ.get("DDB_PIPELINE_TEST_SCALE", "1"))


def scaled(count: int) -> int:
    """The number of cases, of which the gate tries ``count``."""
    return count * SCALE
