"""Conditional writes: what S3's answers mean."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_pipeline.lake import conditional
from ddb_pipeline.lake.root import LakeRoot
from ddb_pipeline_tests.support.interleaved_s3 import InterleavedS3, MemoryBucket, refused


@pytest.fixture
def bucket(tmp_path: Any) -> MemoryBucket:
    bucket = MemoryBucket(tmp_path)
    bucket.put("present", b"old")
    return bucket


def test_another_writers_object_is_never_overwritten(bucket: MemoryBucket) -> None:
    s3: Any = InterleavedS3(bucket)
    read = conditional.read_if_exists(s3, LakeRoot("b"), "present")
    assert read is not None
    assert read.content == b"old"
    assert conditional.read_if_exists(s3, LakeRoot("b"), "absent") is None
    assert not conditional.create(s3, LakeRoot("b"), "present", b"new")
    assert conditional.create(s3, LakeRoot("b"), "absent", b"new")
    bucket.put("present", b"of another")
    assert conditional.replace(s3, LakeRoot("b"), "present", b"new", read.etag) is None
    assert not conditional.delete(s3, LakeRoot("b"), "present", read.etag)
    assert conditional.replace(s3, LakeRoot("b"), "gone", b"new", read.etag) is None
    assert not conditional.delete(s3, LakeRoot("b"), "gone", read.etag)
    etag = bucket.etag("present")
    replaced = conditional.replace(s3, LakeRoot("b"), "present", b"new", etag)
    assert replaced == bucket.etag("present") != etag
    assert conditional.delete(s3, LakeRoot("b"), "present", replaced)
    assert bucket.bodies == {"absent": b"new"}


def failing(code: str, times: int) -> Callable[[str], None]:
    """Refuses the first requests with an error code."""
    left = iter(range(times))

    def before(request: str) -> None:
        if next(left, None) is not None:
            raise refused(code, 409)

    return before


def test_a_conflict_with_a_write_in_progress_is_tried_again(bucket: MemoryBucket) -> None:
    s3: Any = InterleavedS3(bucket, failing(conditional.CONFLICT_CODE, 3))
    assert conditional.create(s3, LakeRoot("b"), "absent", b"new")
    s3 = InterleavedS3(bucket, failing(conditional.CONFLICT_CODE, 99))
    with pytest.raises(ClientError):
        conditional.create(s3, LakeRoot("b"), "other", b"new")


def test_other_errors_are_raised(bucket: MemoryBucket) -> None:
    s3: Any = InterleavedS3(bucket, failing("AccessDenied", 1))
    with pytest.raises(ClientError):
        conditional.create(s3, LakeRoot("b"), "absent", b"new")
