"""Formats scores for Dagster's UI: tables in Markdown, the distribution as an image. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, FLOOR = 400, 110
"""Width of the histogram and height of its longest bar, in pixels."""
BAR, AXIS = "#4f6bd6", "#6b7280"
LONGEST_QUERY = 40


@dataclass(frozen=True, slots=True)
class Mover:
    """A pair's score now and in the previous version of the scores (None if it had none)."""

    query: str
    document: str
    before: float | None
    score: float
    confidence: float


def movers_table(movers: Sequence[Mover], nothing: str) -> str:
    """Format pairs as a Markdown table, or return ``nothing`` if there are none."""
    if not movers:
        return nothing
    lines = [
        "| query | document | before | now | change | confidence |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for mover in movers:
        before = "–" if mover.before is None else f"{mover.before:.3f}"
        change = "new" if mover.before is None else f"{mover.score - mover.before:+.3f}"
        query = mover.query
        if len(query) > LONGEST_QUERY:
            query = query[:LONGEST_QUERY] + "…"
        cells = (_cell(query), _cell(mover.document), before, f"{mover.score:.3f}", change)
        lines.append("| " + " | ".join(cells) + f" | {mover.confidence:.2f} |")
    return "\n".join(lines)


def examination_table(examination: Sequence[float], estimated: bool) -> str:
    """Format the examination of each position as a Markdown table."""
    shown = " | ".join(f"{value:.2f}" for value in examination)
    head = " | ".join(str(position) for position in range(1, len(examination) + 1))
    note = "" if estimated else "\n\nToo few clicks for an estimate; 1 / position is assumed."
    line = "|".join(["---", *["--:"] * len(examination)])
    return f"| position | {head} |\n|{line}|\n| examination | {shown} |{note}"


def histogram_image(counts: Sequence[int], low: float, high: float, title: str) -> str:
    """Draw a histogram of equal bins from ``low`` to ``high`` as a Markdown image and title."""
    image = _encoded(histogram_svg(counts, low, high))
    return f"![{title}](data:image/svg+xml;base64,{image})\n\n{title}"


def histogram_svg(counts: Sequence[int], low: float, high: float) -> str:
    """Draw a histogram as an SVG document, so small that Dagster's UI shows it at once."""
    top = max([*counts, 1])
    wide = WIDTH // max(len(counts), 1)
    bars = "".join(
        f"M{index * wide} {FLOOR}v-{count * FLOOR // top}h{wide - 1}V{FLOOR}"
        for index, count in enumerate(counts)
        if count
    )
    labels = "".join(
        f'<text x="{share * WIDTH:.0f}" y="{FLOOR + 14}" text-anchor="{anchor}">'
        f"{low + share * (high - low):g}</text>"
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {FLOOR + 18}" '
        f'width="{WIDTH}" font-size="11" fill="{AXIS}"><path d="{bars}" fill="{BAR}"/>'
        f"{labels}</svg>"
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
