"""Glue crawlers: start one and wait until its run is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ddb_pipeline.client_errors import DENIED_CODES, error_code
from ddb_pipeline.errors import DdbPipelineError

if TYPE_CHECKING:
    from mypy_boto3_glue.client import GlueClient
    from mypy_boto3_glue.type_defs import CrawlerTypeDef


class CrawlError(DdbPipelineError):
    """A crawl cannot run or failed; the message names the crawler or the table."""


class CrawlTimeoutError(CrawlError):
    """The crawler was still running when the timeout was over."""


@dataclass(frozen=True, slots=True)
class CrawlerRun:
    """One finished run of a Glue crawler; ``seconds`` is how long the caller waited for it."""

    crawler: str
    seconds: float
    status: str


def run_crawler(
    glue: "GlueClient",
    crawler: str,
    *,
    timeout_seconds: float = 3600.0,
    poll_seconds: float = 5.0,
    on_progress: Callable[[str, float], None] = lambda state, seconds: None,
) -> CrawlerRun:
    """Start a Glue crawler and wait until it is READY again.

    A run in progress may have read the items before the change for which the caller crawls, so
    another one is started after it.

    Args:
        on_progress: called once a poll with the crawler's state and the seconds waited so far.

    Raises:
        CrawlError: no such crawler, not permitted, or the run failed (with Glue's message).
        CrawlTimeoutError: the crawler is still running after ``timeout_seconds``.
    """
    started = time.monotonic()

    def pause(state: str) -> None:
        seconds = time.monotonic() - started
        on_progress(state, seconds)
        if seconds >= timeout_seconds:
            raise CrawlTimeoutError(
                f"Crawler {crawler!r} is still {state} after {timeout_seconds:.0f} s. "
                "Give it more time or look at its log."
            )
        time.sleep(poll_seconds)

    try:
        while not _started(glue, crawler):
            _wait(glue, crawler, pause)
        finished = _wait(glue, crawler, pause)
    except ClientError as error:
        raise _crawler_error(error, crawler) from error
    return _run_of(finished, time.monotonic() - started)


def _wait(glue: "GlueClient", crawler: str, pause: Callable[[str], None]) -> "CrawlerTypeDef":
    while (found := glue.get_crawler(Name=crawler)["Crawler"])["State"] != "READY":
        pause(found["State"])
    return found


def _run_of(finished: "CrawlerTypeDef", seconds: float) -> CrawlerRun:
    crawler, last = finished["Name"], finished.get("LastCrawl") or {}
    status = last.get("Status") or "UNKNOWN"
    if status in ("FAILED", "CANCELLED"):
        raise CrawlError(
            f"Crawler {crawler!r} {status.lower()}: {last.get('ErrorMessage') or 'no message'}. "
            f"Its log: {last.get('LogGroup', '')} {last.get('LogStream', '')}"
        )
    return CrawlerRun(crawler, seconds, status)


def _started(glue: "GlueClient", crawler: str) -> bool:
    try:
        glue.start_crawler(Name=crawler)
    except ClientError as error:
        if error_code(error) == "CrawlerRunningException":
            return False
        raise
    return True


def _crawler_error(error: ClientError, crawler: str) -> CrawlError:
    code = error_code(error)
    if code == "EntityNotFoundException":
        return CrawlError(
            f"Glue crawler {crawler!r} does not exist. Deploy the template, or name the crawler "
            "in the pipeline's configuration."
        )
    if code in DENIED_CODES:
        return CrawlError(
            f"Running Glue crawler {crawler!r} is denied. "
            "Grant glue:StartCrawler and glue:GetCrawler on it to this role."
        )
    return CrawlError(f"Glue crawler {crawler!r} could not be run: {error}")
