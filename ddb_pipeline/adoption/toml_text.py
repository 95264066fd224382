"""A proposed configuration as commented TOML."""

import json
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Any

from ddb_pipeline.adoption.proposal import Note, Proposal, Setting

WIDTH = 96
MARK = "DECIDE: "
HEAD = """\
# Pipelines of DynamoDB tables, written by ddb-pipeline init on {date}.
# What init could not decide is marked {mark}. The values are usable as they are. Where a pipeline
# has a bucket of its own, its stack creates it; init --bucket has all use one that exists.
# Often added to a pipeline (README): current = "stream" for the table as it is now, with one row
# for each item; export_schedule = "0 4 * * *" for snapshots.
# ddb-pipeline check compares all with the account, ddb-pipeline deploy creates the stacks.
region = {region}
"""


def configuration(proposals: Sequence[Proposal], region: str, date: str) -> str:
    """The text of a configuration file."""
    head = HEAD.format(date=date, mark=MARK.strip(" :"), region=toml_value(region))
    return head + pipelines_text(proposals)


def pipelines_text(proposals: Iterable[Proposal]) -> str:
    """The text of the pipelines, which can follow any configuration file."""
    return "".join(f"\n{text}" for text in map(pipeline_text, proposals))


def pipeline_text(proposal: Proposal) -> str:
    """The text of one pipeline."""
    lines = [line for text in proposal.header for line in comment(text)]
    if proposal.off:
        lines += comment(proposal.off, MARK)
    lead = "# " if proposal.off else ""
    lines.append(f"{lead}[[pipelines]]")
    for setting in proposal.settings:
        lines += _why(setting)
        lines.append(f"{lead}{setting.key} = {toml_value(setting.value)}")
    for note in proposal.notes:
        lines += comment(note.text, MARK if note.decide else "")
    return "\n".join(lines) + "\n"


def _why(setting: Setting | Note) -> Iterator[str]:
    if isinstance(setting, Setting) and setting.why:
        yield from comment(setting.why, MARK if setting.decide else "")


def comment(text: str, mark: str = "") -> Iterator[str]:
    """A comment's lines; lines of the text after its first stay as they are, to be copied."""
    first, *others = text.split("\n")
    yield from (f"# {line}" for line in wrap(mark + first, WIDTH, break_long_words=False))
    for line in others:
        yield f"#   {line}"


def toml_value(value: Any) -> str:
    """A text, a number or a truth value in TOML."""
    # JSON's texts are basic strings of TOML, but for DEL, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
