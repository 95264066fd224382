"""The types inferred from blocks are those inferred from the single items."""

import random
from collections.abc import Iterable

import pyarrow as pa
import pytest

from ddb_pipeline.export.rows.exact import exported_item
from ddb_pipeline.export.rows.inference import ExportInference
from ddb_pipeline.export.rows.number_ranges import range_of_numbers
from ddb_pipeline.hive.infer import Inference, inferred_schema
from ddb_pipeline.hive.numbers import number_range
from ddb_pipeline.hive.observation import MAX_ATTRIBUTES, MAX_MAP_KEYS, Observation, observe_item
from ddb_pipeline.hive.undecodable import UndecodableValueError
from ddb_pipeline_tests.soak.mutation import mutated_bytes
from ddb_pipeline_tests.support.native_library import require_reader
from ddb_pipeline_tests.support.random_items import NUMBERS, random_columns, random_line
from ddb_pipeline_tests.support.scale import scaled


@pytest.fixture(params=[True, False], ids=["native", "arrow"])
def native(request: pytest.FixtureRequest) -> bool:
    """Whether the walk in C is tested, or the reader without it."""
    return require_reader(request.param)


def test_blocks_are_observed_as_single_items_are(native: bool) -> None:
    rng = random.Random(5)
    for _ in range(scaled(20)):
        columns = random_columns(rng)
        misfits = rng.choice((0.0, 0.0, 0.001, 0.02, 0.2))
        blocks = []
        for size in (1, 30, 400):
            blocks.append([random_line(rng, columns, misfits) for _ in range(size)])
        inferred_schema(compared(blocks, native))


def compared(blocks: list[list[bytes]], native: bool) -> Inference:
    """The inference from blocks, compared with that from the single lines."""
    inference, expected = ExportInference(native=native), Observation()
    refused = items = 0
    for lines in blocks:
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
    assert inference.items == items
    assert inference.inference == Inference(items, expected)
    return inference.inference


def test_mutated_lines_are_observed_as_single_items_are(native: bool) -> None:
    rng = random.Random(8)
    for _ in range(scaled(15)):
        columns = random_columns(rng)
        lines = []
        for _ in range(60):
            text = mutated_bytes(rng, random_line(rng, columns, 0.1))
            lines += [part for part in text.split(b"\n") if part.strip()]
        compared([lines, lines[:5], GOOD + lines], native)


GOOD = [b'{"Item":{"a":{"N":"%d"},"b":{"L":[{"S":""},{"M":{}}]}}}' % number for number in range(90)]


def with_keys(keys: Iterable[str], rest: str = "") -> bytes:
    members = ",".join(f'"{key}":{{"M":{{"n":{{"N":"1"}}}}}}' for key in keys)
    return f'{{"Item":{{"m":{{"M":{{"x":{{"M":{{{members}}}}}}}}}{rest}}}}}'.encode()


@pytest.mark.parametrize("over", [-1, 0, 1, 500])
def test_keys_that_are_data_are_forgotten(over: int, native: bool) -> None:
    few = [with_keys([f"k{number}"]) for number in range(MAX_MAP_KEYS - 1)]
    more = [with_keys(f"K{one * 100 + other}" for other in range(3)) for one in range(1 + over)]
    refused = with_keys((f"z{number}" for number in range(3_000)), ',"no":1')
    twice = with_keys(["k1", "k1"])
    compared([few, more[:1], [refused, twice], more, few, [twice, with_keys(["q1", "Q1"])]], native)
    compared([[refused], few[:5], [twice], more, few], native)


def test_names_in_two_spellings_and_names_that_are_data_at_the_top(native: bool) -> None:
    lines = [
        b'{"Item":{"%s%d":{"NS":["1","2.5"]}}}' % (b"aA"[number % 2 :][:1], number // 3)
        for number in range(400)
    ]
    compared([lines, lines, [b'{"Item":{"a1":{"N":"1"},"A1":{"S":"x"}}}']], native)
    many = [
        b'{"Item":{%s}}' % b",".join(b'"t%d":{"N":"1"}' % (100 * one + two) for two in range(100))
        for one in range(MAX_ATTRIBUTES // 100 + 1)
    ]
    compared([many[:50], many[50:], GOOD], native)


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


def test_large_integers_and_fractions_of_zeros_have_the_range_of_their_number(native: bool) -> None:
    """One item whose attributes are the numbers, so that each range is seen individually."""
    rng = random.Random(8)
    near = [*(2**power for power in range(50, 64)), *(10**power for power in range(14, 20))]
    whole = [one + off for one in near for off in (*range(-5, 6), rng.randrange(10**13))]
    texts = [f"{sign}{number}{end}" for number in whole for sign in ("", "-") for end in ("", ".0")]
    texts += ["0.0", "-0.00", "007.0", "100.000", "0.050", "10.50"]
    members = ",".join(f'"n{place}":{{"N":"{text}"}}' for place, text in enumerate(texts))
    fields = compared([[f'{{"Item":{{{members}}}}}'.encode()]], native).seen.fields or {}
    found = {text: fields[f"n{place}"].numbers for place, text in enumerate(texts)}
    assert found == {text: number_range(text) for text in texts}


def is_number(text: str) -> bool:
    try:
        number_range(text)
    except ValueError:
        return False
    return text.isascii()
