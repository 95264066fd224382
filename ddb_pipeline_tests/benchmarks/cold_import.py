"""Milliseconds of CPU that the import of a function's module takes beyond boto3's own import.

    python -m ddb_pipeline_tests.benchmarks.cold_import [--rounds 7]

Each round is a new process. For ``bytecode`` the modules are compiled beforehand; for ``source``
they are compiled during the import, as in Lambda with the zips of this project.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from ddb_pipeline.deploy.bundle import FUNCTIONS

CODE = """
import time
import boto3, botocore.config, botocore.exceptions, botocore.httpsession, botocore.session
start = time.process_time()
import ddb_pipeline.functions.{name}
print(time.process_time() - start)
"""


def milliseconds(name: str, cache: str, *, bytecode: bool) -> float:
    """The CPU time of one import in a new process with ``cache`` as its bytecode directory."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not bytecode:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-c", CODE.format(name=name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        for name in FUNCTIONS:
            source = [milliseconds(name, f"{cache}/none", bytecode=False) for _ in range(rounds)]
            milliseconds(name, cache, bytecode=True)
            compiled = [milliseconds(name, cache, bytecode=True) for _ in range(rounds)]
            print(  # noqa: T201
                f"{name:20}bytecode {statistics.median(compiled):5.1f} ms, "
                f"source {statistics.median(source):5.1f} ms"
            )


if __name__ == "__main__":
    main()
