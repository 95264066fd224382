"""The account and region under which ministack keeps its state, set where no request does."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def request_scope(account: str, region: str) -> Iterator[None]:
    """As within a request of that account in that region."""
    from ministack.core import responses

    account_token = responses._request_account_id.set(account)
    region_token = responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(account_token)
        responses._request_region.reset(region_token)
