"""Fuzz the parsers in child processes: ``python -m ddb_pipeline_tests.soak.fuzz [--inputs N]``."""

import argparse
import random
import sys
import time

import click

from ddb_pipeline_tests.soak.forked import findings
from ddb_pipeline_tests.soak.parsers import PARSERS, names


def fuzz(name: str, seed: object, inputs: int) -> bool:
    """Run inputs of one parser and print what was found. Returns whether there was nothing."""
    started = time.monotonic()
    count = 0
    parser = PARSERS[name]
    blocks = -(-inputs // parser.inputs)
    for finding in findings(lambda number: parser.check(seed, number), blocks):
        count += 1
        click.echo(f"{name}: input {finding.number}: {finding.kind}: {finding.detail}")
    seconds = time.monotonic() - started
    click.echo(f"{name}: {inputs:,} inputs, {count} finding(s), {seconds:.0f} s")
    return not count


def main() -> None:
    """Run the command; exit status 1 if anything was found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("parsers", nargs="*", help=f"of {', '.join(PARSERS)}; default: all")
    arguments.add_argument("--inputs", type=int, default=1_000_000, help="inputs of each parser")
    arguments.add_argument("--seed", default="0")
    arguments.add_argument("--show", type=int, help="print one input, by its number, and parse it")
    given = arguments.parse_args()
    if given.show is not None:
        show(names(given.parsers)[0], given.seed, given.show)
        return
    clean = [fuzz(name, given.seed, given.inputs) for name in names(given.parsers)]
    sys.exit(0 if all(clean) else 1)


def show(name: str, seed: object, number: int) -> None:
    """Print one input and parse it."""
    click.echo(repr(PARSERS[name].make(random.Random(f"{seed}:{number}")))[:5000])
    PARSERS[name].check(seed, number)


if __name__ == "__main__":
    main()
