"""When a delivery is due, and what it writes without the catalog table."""

import base64

import pytest

from ddb_pipeline.embedded.services.firehose.configuration import BufferingHints, SchemaReference
from ddb_pipeline.embedded.services.firehose.delivery import (
    BufferedRecord,
    is_due,
    table_not_found,
)

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "waited", "expected"),
    [
        (1, 59.9, False),
        (1, 60, True),
        (64 * MEBIBYTE - 3, 0, False),
        (64 * MEBIBYTE, 0, True),
    ],
)
def test_is_due_by_size_or_interval(size: int, waited: float, expected: bool) -> None:
    entries = [BufferedRecord("r", bytes(size), 1_000_000).to_state()]
    assert is_due(entries, BufferingHints(64, 60), 1000 + waited) is expected


def test_a_buffered_record_is_saved_and_restored() -> None:
    record = BufferedRecord("r", b"\x00\xff", 7)
    assert record.to_state()["data"] == base64.b64encode(b"\x00\xff").decode()
    assert BufferedRecord.of_state(record.to_state()) == record


def test_every_record_fails_without_the_catalog_table() -> None:
    schema = SchemaReference(database_name="shop", table_name="orders", role_arn="role")
    (failure,) = table_not_found([b"{}"], schema).failures
    assert failure.code == "DataFormatConversion.EntityNotFoundException"
    assert "shop.orders" in failure.message
