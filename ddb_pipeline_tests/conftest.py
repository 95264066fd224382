"""Fixtures that rooms share: one embedded AWS for the whole test run."""

from collections.abc import Iterator

import pytest

from ddb_pipeline.embedded.process import Endpoint, connect, stop


@pytest.fixture(scope="session")
def embedded_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The embedded AWS, empty at first; tests share it, so names are to be their own."""
    home = tmp_path_factory.mktemp("embedded-aws")
    yield connect(home)
    stop(home)
