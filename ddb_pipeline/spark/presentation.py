"""Scores for a reader: tables as Markdown, the distribution as an image. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 44
BAR, AXIS, GRID = "#4f6bd6", "#6b7280", "#d1d5db"
LONGEST_QUERY = 40


@dataclass(frozen=True, slots=True)
class Mover:
    """A pair's score now and in the scores before; ``before`` None where it had none."""

    query: str
    document: str
    before: float | None
    score: float
    confidence: float


def movers_table(movers: Sequence[Mover], nothing: str) -> str:
    """Pairs as a Markdown table; ``nothing`` where there are none."""
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
    """The chance to look at each position as a Markdown table."""
    shown = " | ".join(f"{value:.2f}" for value in examination)
    head = " | ".join(str(position) for position in range(1, len(examination) + 1))
    note = "" if estimated else "\n\nToo few clicks to estimate from: 1 / position is taken."
    line = "|".join(["---", *["--:"] * len(examination)])
    return f"| position | {head} |\n|{line}|\n| examination | {shown} |{note}"


def histogram_image(counts: Sequence[int], low: float, high: float, title: str) -> str:
    """A histogram of equal bins from ``low`` to ``high`` as a Markdown image."""
    return (
        f"![{title}](data:image/svg+xml;base64,{_encoded(histogram_svg(counts, low, high, title))})"
    )


def histogram_svg(counts: Sequence[int], low: float, high: float, title: str) -> str:
    """The same as an SVG document."""
    top = max([*counts, 1])
    wide = (WIDTH - LEFT - RIGHT) / max(len(counts), 1)
    floor = HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11" fill="{AXIS}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = floor - share * (floor - TOP)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{top * share:,.0f}</text>'
        )
    for index, count in enumerate(counts):
        tall = count / top * (floor - TOP)
        parts.append(
            f'<rect x="{LEFT + index * wide + 1:.1f}" y="{floor - tall:.1f}" '
            f'width="{max(wide - 2, 1):.1f}" height="{tall:.1f}" fill="{BAR}"/>'
        )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        value = low + share * (high - low)
        parts.append(f'<text x="{x}" y="{floor + 16}" text-anchor="middle">{value:.2f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">score</text></svg>')
    return "".join(parts)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
