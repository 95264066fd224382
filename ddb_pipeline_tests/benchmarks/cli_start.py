"""CPU seconds until a command starts to work, compared with the imports it cannot do without.

    python -m ddb_pipeline_tests.benchmarks.cli_start [--runs 9]

Prints the median of the runs. Goals: ``--help`` below 2 times ``import click``; ``convert-export``
below 3 times ``import click, pyarrow``.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ddb_pipeline_tests.support.exports import write_local_export

COMMAND = ("-m", "ddb_pipeline.cli.main")


def cpu_seconds(arguments: Sequence[str]) -> float:
    """CPU seconds, user and system, of one Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compared(name: str, arguments: Sequence[str], imports: str, runs: int) -> str:
    """One line: CPU seconds of the command and of the imports, and their ratio."""
    pairs = [(cpu_seconds(arguments), cpu_seconds(("-c", imports))) for _ in range(runs)]
    command, least = (median(seconds) for seconds in zip(*pairs, strict=True))
    return f"{name:<28}{command:>8.3f} s  {imports:<24}{least:>8.3f} s  ratio {command / least:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs: int = parser.parse_args().runs
    click, pyarrow = "import click", "import click, pyarrow"
    with tempfile.TemporaryDirectory() as temporary:
        # Without items, all that is measured is the start and the publication.
        source = write_local_export(Path(temporary, "export"), [])
        schema = Path(temporary, "schema.json")
        schema.write_text('{"id": "string"}')
        convert = (*COMMAND, "convert-export", str(source), str(Path(temporary, "lake")))
        for name, arguments, imports in (
            ("--help", (*COMMAND, "--help"), click),
            ("convert-export --help", (*COMMAND, "convert-export", "--help"), pyarrow),
            ("convert-export", (*convert, "--schema", str(schema)), pyarrow),
        ):
            print(compared(name, arguments, imports, runs), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
