"""The tables and the histogram that Dagster's UI shows."""

import base64
import re
import xml.etree.ElementTree as ET

from ddb_pipeline.spark.presentation import (
    Mover,
    examination_table,
    histogram_image,
    histogram_svg,
    movers_table,
)


def test_the_table_of_movers_escapes_and_shortens_queries() -> None:
    table = movers_table(
        [
            Mover(query="a|b", document="7", before=None, score=0.5, confidence=0.25),
            Mover(query="q" * 60, document="8", before=0.75, score=0.5, confidence=1.0),
        ],
        "none",
    )
    assert "| a\\|b | 7 | – | 0.500 | new | 0.25 |" in table
    assert f"| {'q' * 40}… | 8 | 0.750 | 0.500 | -0.250 | 1.00 |" in table
    assert movers_table([], "none") == "none"


def test_the_table_of_examination_has_a_note_without_an_estimate() -> None:
    assert "| examination | 1.00 | 0.43 |" in examination_table((1.0, 0.43), True)
    assert "Too few clicks" in examination_table((1.0, 0.5), False)


def test_the_bars_of_a_histogram_are_proportional_to_the_counts() -> None:
    (path,) = [e for e in ET.fromstring(histogram_svg([0, 5, 10], 0.0, 1.0)) if "d" in e.attrib]
    heights = [int(height) for height in re.findall(r"v-(\d+)", path.attrib["d"])]
    assert heights == [55, 110]
    markdown = histogram_image([1], 0.0, 1.0, "one")
    found = re.fullmatch(r"!\[one\]\(data:image/svg\+xml;base64,(.*)\)\n\none", markdown)
    assert found is not None
    ET.fromstring(base64.b64decode(found.group(1)))


def test_a_histogram_is_small_enough_to_be_shown_at_once() -> None:
    """Dagster's UI hides Markdown of a thousand characters and more behind a click."""
    counts = [123_456 * (1 + index % 7) for index in range(20)]
    assert len(histogram_image(counts, -0.25, 1.25, "1,234,567 pairs by score")) < 1000
