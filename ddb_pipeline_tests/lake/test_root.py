"""A key of the lake and its key in the bucket, wherever the lake lies."""

import pytest

from ddb_pipeline.lake.root import LakeRoot


@pytest.mark.parametrize("prefix", ["", "sales/", "sales/orders/"])
@pytest.mark.parametrize("key", ["stream/a.parquet", "", "errors/"])
def test_a_key_of_the_lake_is_found_again(prefix: str, key: str) -> None:
    lake = LakeRoot("bucket", prefix)
    assert lake.object_key(key) == prefix + key
    assert lake.key_of(lake.object_key(key)) == key
    assert lake.uri(key) == f"s3://bucket/{prefix}{key}"
    assert lake.path(key) == f"bucket/{prefix}{key}".rstrip("/")


def test_objects_of_others_have_no_key() -> None:
    assert LakeRoot("bucket", "sales/").key_of("sales-archive/stream/a") is None
    assert LakeRoot("bucket", "sales/").key_of("stream/a") is None
