"""The types inferred from blocks are those inferred from the single items."""

import random

import pyarrow as pa
import pytest

from ddb_pipeline.export.rows.exact import exported_item
from ddb_pipeline.export.rows.inference import ExportInference, range_of_numbers
from ddb_pipeline.hive.infer import inferred_schema
from ddb_pipeline.hive.numbers import number_range
from ddb_pipeline.hive.observation import Observation, observe_item
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.support.random_items import NUMBERS, random_columns, random_line


def test_blocks_are_observed_as_single_items_are() -> None:
    rng = random.Random(5)
    for _ in range(60):
        columns = random_columns(rng)
        misfits = rng.choice((0.0, 0.0, 0.001, 0.02, 0.2))
        inference, expected, refused, items = ExportInference(), Observation(), 0, 0
        for size in (1, 30, 400):
            lines = [random_line(rng, columns, misfits) for _ in range(size)]
            refused -= inference.add(b"\n".join(lines))
            for line in lines:
                one = Observation()
                try:
                    observe_item(one, exported_item(line))
                except UndecodableValueError:
                    refused += 1
                else:
                    expected.absorb(one)
                    items += 1
        assert refused == 0
        assert inference.inference.items == items
        assert inference.inference.seen == expected, columns
        inferred_schema(inference.inference)


@pytest.mark.parametrize("seed", range(60))
def test_range_of_a_column_is_that_of_its_numbers(seed: int) -> None:
    rng = random.Random(seed)
    valid = [text for text in NUMBERS if is_number(text)]
    texts = [rng.choice(valid) for _ in range(rng.randint(1, 6))]
    texts += [f"{rng.random():.{rng.randint(1, 18)}f}" for _ in range(rng.randint(0, 3))]
    texts += [str(rng.randrange(-(10**18), 10**18)) for _ in range(rng.randint(0, 3))]
    if seed % 2:
        texts = [text for text in texts if "e" not in text.lower() and "+" not in text] or ["0.0"]
    expected = number_range(texts[0])
    for text in texts:
        expected = expected.merged(number_range(text))
    assert range_of_numbers(pa.array(texts)) == expected, texts


def is_number(text: str) -> bool:
    try:
        number_range(text)
    except ValueError:
        return False
    return text.isascii()
