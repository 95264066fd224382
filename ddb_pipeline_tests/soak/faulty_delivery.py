"""Items to the lake through a proxy that injects faults, while processes are killed: none is lost.

``python -m ddb_pipeline_tests.soak.faulty_delivery [ITEMS]``

Half of the items go through the streaming Lambda function, half through the consumer job. Dagster's
daemon crawls and redelivers, as some items have attributes without a column. The processes of the
function, the consumer, the daemon and the embedded AWS are killed meanwhile.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.config.pipeline import PipelineConfig
from ddb_pipeline.config.settings import Settings
from ddb_pipeline.defs.asset_keys import STAGE_TAG
from ddb_pipeline.dynamodb.stream_checkpoints import Checkpoints
from ddb_pipeline.embedded.clients import client_arguments, shared_client
from ddb_pipeline.embedded.home import EmbeddedError
from ddb_pipeline.embedded.process import Endpoint, connect, status, stop
from ddb_pipeline.embedded.stacks import connect_with_stacks
from ddb_pipeline.firehose.error_objects import read_error_object
from ddb_pipeline.glue.crawler import run_crawler
from ddb_pipeline.lake.layout import ERROR_PREFIX, STREAM_PREFIX
from ddb_pipeline.lake.objects import list_objects
from ddb_pipeline.lake.parquet_objects import file_columns
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline.resources.filesystem import s3_filesystem
from ddb_pipeline_tests.soak.faulty_daemon import PIPELINES, Daemon, requests_through
from ddb_pipeline_tests.support.fault_proxy import FaultProxy, fault_proxy

BATCH = 25
FIRST_ITEMS = 25
"""Items written before the first crawl."""
ITEMS_OF_AN_ATTRIBUTE = 10_000
"""After so many items the next ones have a new attribute, which has no column yet."""
FAULT_SHARE = 0.05
DAEMON = "daemon"
KILL_SECONDS = {"function": 5.0, "consumer": 30.0, "embedded AWS": 25.0, DAEMON: 90.0}
"""The mean time between two kills of each."""
LEASE_SECONDS = 15.0
"""After this time a run takes over the shards of a killed one: shorter than a user's 5 minutes."""
WRITTEN_FIRST = 0.5
"""This share of the items is written before a process of each kind must have been killed."""
DELIVERED_SHARE = 0.9
"""Processes are killed until this share of the items is delivered."""
POLL_SECONDS = 4.0
CONNECT_ATTEMPTS = 10
DEAD_LETTER_PREFIX = "dead-letters/"


@dataclass
class Run:
    """One run: its home, the proxy, and what was killed."""

    settings: Settings
    proxy: FaultProxy
    daemon: Daemon | None = None
    kills: Counter[str] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def home(self) -> Path:
        """The home folder of the embedded AWS."""
        return self.settings.home / "embedded"

    def client(self, service: str) -> Any:
        """Return a client through the proxy, of the embedded AWS that runs now."""
        return proxied_client(self.connect(), service, self.proxy.url)

    def connect(self) -> Endpoint:
        """Return the endpoint of the embedded AWS; its start may take long on a busy machine."""
        for _ in range(CONNECT_ATTEMPTS):
            with suppress(EmbeddedError):
                return connect(self.home)
        return connect(self.home)


def proxied_client(endpoint: Endpoint, service: str, proxy: str) -> Any:
    """Return a client that sends its requests through the proxy."""
    arguments = client_arguments(endpoint)
    arguments["config"] = arguments["config"].merge(
        Config(proxies={"http": proxy}, read_timeout=10, connect_timeout=3)
    )
    make: Any = boto3.session.Session().client
    return make(service, **arguments)


def write_all(run: Run, table: str, numbers: Iterator[int]) -> None:
    """Write items until each is acknowledged."""
    client = run.client("dynamodb")
    while batch := list(islice(numbers, BATCH)):
        pending = {table: [{"PutRequest": {"Item": item(number)}} for number in batch]}
        while pending:
            try:
                pending = client.batch_write_item(RequestItems=pending)["UnprocessedItems"]
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
                client = run.client("dynamodb")


def item(number: int) -> dict[str, Any]:
    """Return the item with this number."""
    text = f"text of {number}"
    later = f"attribute_{number // ITEMS_OF_AN_ATTRIBUTE}"
    return {
        "log_id": {"S": f"{number:09d}"},
        "n": {"N": str(number)},
        "text": {"S": text},
        later: {"S": text},
    }


def send_function_through_proxy(run: Run, endpoint: Endpoint) -> None:
    """Let the streaming function use the proxy."""
    functions = shared_client(endpoint, "lambda")
    for function in functions.list_functions()["Functions"]:
        variables = function.get("Environment", {}).get("Variables", {})
        if "DELIVERY_STREAM" in variables:
            proxies = {"http_proxy": run.proxy.url, "no_proxy": "", "NO_PROXY": ""}
            functions.update_function_configuration(
                FunctionName=function["FunctionName"],
                Environment={"Variables": {**variables, **proxies}},
            )


@contextmanager
def killing(
    run: Run,
    consumers: list[subprocess.Popen[bytes]],
    seed: int,
    mean_seconds: Mapping[str, float],
    longer_each_time: float,
) -> Iterator[None]:
    """Kill processes in the context, at random times whose means grow by a factor."""
    daemon, randomness = run.daemon, random.Random(seed)
    kills: dict[str, Callable[[], bool]] = {
        "function": lambda: killed(function_process(run)),
        "consumer": lambda: killed(psutil.Process(consumers[-1].pid) if consumers else None),
        "embedded AWS": lambda: killed(server_process(run)),
    }
    if daemon is not None:
        kills[DAEMON] = lambda: daemon.kill(children=randomness.random() < 0.5)

    quiet = threading.Event()

    def kill(name: str) -> None:
        times, mean = random.Random(f"{seed}{name}"), mean_seconds[name]
        while not quiet.wait(times.expovariate(1 / mean)):
            mean *= longer_each_time
            with suppress(psutil.Error, OSError):
                run.kills[name] += kills[name]()

    threads = [threading.Thread(target=kill, args=(name,)) for name in kills]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        quiet.set()
        for thread in threads:
            thread.join()


def killed(process: psutil.Process | None) -> bool:
    """Kill a process, if there is one; returns whether there was."""
    if process is not None:
        process.send_signal(signal.SIGKILL)
    return process is not None


def server_process(run: Run) -> psutil.Process | None:
    """Return the process of the embedded AWS."""
    running = status(run.home)
    return None if running is None else psutil.Process(running.pid)


def function_process(run: Run) -> psutil.Process | None:
    """Return a process of a Lambda function."""
    server = server_process(run)
    children = [] if server is None else server.children()
    return children[-1] if children else None


def consume_until_ended(run: Run, consumers: list[subprocess.Popen[bytes]], log: Path) -> None:
    """Run the consumer job in one process after another, as its sensor does."""
    command = [sys.executable, "-m", __spec__.name, "--consume", run.proxy.url]
    while not run.ended.is_set():
        run.connect()
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, str(run.settings.home)], stdout=output, stderr=output
            )
        consumers.append(process)
        process.wait()


def consume(home: Path, proxy: str) -> None:
    """Run the consumer job again and again, until it fails."""
    from ddb_pipeline.definitions import build_defs
    from ddb_pipeline.defs import consume as consume_module

    settings = Settings(home=home, pipelines=PIPELINES)
    requests_through(proxy)
    short_leases = partial(Checkpoints, lease_seconds=LEASE_SECONDS)
    setattr(consume_module, "Checkpoints", short_leases)  # noqa: B010
    job = build_defs(settings).resolve_job_def("consume_stream")
    config = {"pipeline": PIPELINES[1].name, "max_seconds": 20.0}
    while True:
        job.execute_in_process(run_config={"ops": {"consume_stream_records": {"config": config}}})
        time.sleep(0.5)


def rows(endpoint: Endpoint, pipeline: PipelineConfig) -> Counter[str]:
    """Return the keys of all rows."""
    found: Counter[str] = Counter()
    objects = list_objects(shared_client(endpoint, "s3"), pipeline.lake, STREAM_PREFIX)
    keys = [stored.key for stored in objects]
    filesystem = s3_filesystem(client_arguments(endpoint))
    for table in file_columns(filesystem, pipeline.lake, keys, ["log_id"]):
        found.update(table.column("log_id").to_pylist())
    return found


def delivered(endpoint: Endpoint, pipeline: PipelineConfig) -> Counter[str]:
    """Return the keys of all delivered records: rows, failed and held records, dead letters."""
    s3, bucket = shared_client(endpoint, "s3"), pipeline.bucket
    found = rows(endpoint, pipeline)
    for stored in list_objects(s3, LakeRoot(bucket), ERROR_PREFIX):
        body = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read()
        for record in read_error_object(body).records:
            for line in record.raw_data.splitlines():
                found[json.loads(line)["log_id"]] += 1
    for stored in list_objects(s3, LakeRoot(bucket), DEAD_LETTER_PREFIX):
        text = s3.get_object(Bucket=bucket, Key=stored.key)["Body"].read().decode()
        found.update(f"{int(n):09d}" for n in text.split('"') if len(n) == 9 and n.isdecimal())
    return found


def run_all(
    home: Path,
    items: int,
    *,
    seed: int = 0,
    seconds: float = 900.0,
    kill_seconds: Mapping[str, float] = KILL_SECONDS,
    longer_each_time: float = 1.0,
) -> dict[str, Any]:
    """Deliver the items through faults and kills; return figures of the run.

    Args:
        home: the home folder of the pipelines.
        items: the number of items.
        seed: determines the faults and the times of the kills.
        seconds: how long to wait for the next delivered item.
        kill_seconds: the mean time between two kills, for each kind of process. Without the daemon
            in it there is none, and records that wait for redelivery count as delivered.
        longer_each_time: the factor by which this time grows with each kill, for machines so slow
            that a process would be killed before it has done anything.

    Raises:
        AssertionError: an item is lost.
    """
    settings = Settings(home=home, pipelines=PIPELINES)
    endpoint = connect_with_stacks(settings)
    keys = endpoint.credentials
    with fault_proxy(
        keys.access_key_id, keys.secret_access_key, share=FAULT_SHARE, seed=seed
    ) as proxy:
        run = Run(settings, proxy)
        send_function_through_proxy(run, endpoint)
        step = len(PIPELINES)
        for start, pipeline in enumerate(PIPELINES):
            first = iter(range(start, FIRST_ITEMS * step, step))
            write_all(run, pipeline.dynamodb_table, first)
            run_crawler(shared_client(endpoint, "glue"), pipeline.crawler, poll_seconds=0.2)
        with readers(run, with_daemon=DAEMON in kill_seconds) as consumers:
            with killing(run, consumers, seed, kill_seconds, longer_each_time):
                before_kills = int(WRITTEN_FIRST * items)
                write_to_all(run, range(before_kills))
                wait_for_kills(run, kill_seconds, seconds)
                write_to_all(run, range(before_kills, items))
                wait_for(run, int(DELIVERED_SHARE * items), seconds)
            proxy.share = 0.0
            return check(run, items, seconds)


@contextmanager
def readers(run: Run, *, with_daemon: bool) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run the consumer and the daemon in the context; yield the consumer's processes so far."""
    consumers: list[subprocess.Popen[bytes]] = []
    log = run.settings.home / "consumer.log"
    consuming = threading.Thread(target=consume_until_ended, args=(run, consumers, log))
    consuming.start()
    if with_daemon:
        run.daemon = Daemon(run.settings.home, run.proxy.url)
    try:
        yield consumers
    finally:
        run.ended.set()
        if run.daemon is not None:
            run.daemon.end()
        for process in consumers[-1:]:
            process.kill()
        consuming.join()


def wait_for_kills(run: Run, names: Iterable[str], seconds: float) -> None:
    """Wait until a process of each kind was killed, which a fast machine may not have seen yet.

    Raises:
        AssertionError: some kind was not killed within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not all(run.kills[name] for name in names):
        assert time.monotonic() < deadline, f"Killed so far: {dict(run.kills)}"
        time.sleep(0.1)


def write_to_all(run: Run, numbers: range) -> None:
    """Write the items with these numbers, each to one of the tables in turn."""
    step = len(PIPELINES)
    with ThreadPoolExecutor(step) as pool:
        writers = [
            pool.submit(write_all, run, pipeline.dynamodb_table, iter(numbers[start::step]))
            for start, pipeline in enumerate(PIPELINES)
        ]
        for writer in writers:
            writer.result()


def delivered_by_all(run: Run) -> Counter[str]:
    """Return the keys of the delivered records of all pipelines; empty if they cannot be read.

    With the daemon, which redelivers, only rows count as delivered.
    """
    keys_of = delivered if run.daemon is None else rows
    try:
        endpoint = run.connect()
        return sum((keys_of(endpoint, pipeline) for pipeline in PIPELINES), Counter[str]())
    except (OSError, BotoCoreError, ClientError):
        return Counter()


def wait_for(run: Run, items: int, seconds: float) -> Counter[str]:
    """Wait until so many items are delivered, and return their keys.

    Raises:
        AssertionError: no further item was delivered for so many seconds.
    """
    most, deadline = 0, time.monotonic() + seconds
    while len(found := delivered_by_all(run)) < items:
        if len(found) > most:
            most, deadline = len(found), time.monotonic() + seconds
        assert time.monotonic() < deadline, f"{most} of {items} items are delivered, and no more."
        time.sleep(POLL_SECONDS)
    return found


def check(run: Run, items: int, seconds: float) -> dict[str, Any]:
    """Wait until every item is delivered, and return figures of the run."""
    found = wait_for(run, items, seconds)
    missing = {f"{number:09d}" for number in range(items)} - found.keys()
    assert not missing, (len(missing), sorted(missing)[:10])
    return {
        "items": items,
        "lost": len(missing),
        "repeats": sum(found.values()) - len(found),
        "requests": run.proxy.requests,
        "faults": dict(run.proxy.faults),
        "kills": dict(run.kills),
        "runs": run_counts(run),
    }


def run_counts(run: Run) -> dict[str, int]:
    """Return the number of Dagster's runs by stage and status."""
    runs = run.daemon.runs() if run.daemon is not None else ()
    return dict(Counter(f"{each.tags.get(STAGE_TAG, '')} {each.status.value}" for each in runs))


def main() -> None:
    """Run with the number of items that the command line requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--consume", nargs=2, metavar=("PROXY", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.consume:
        consume(Path(arguments.consume[1]), arguments.consume[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        home, started = Path(folder) / "home", time.monotonic()
        try:
            figures = run_all(home, arguments.items, seed=arguments.seed)
        finally:
            stop(home / "embedded")
    figures["seconds"] = round(time.monotonic() - started)
    print(json.dumps(figures, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
