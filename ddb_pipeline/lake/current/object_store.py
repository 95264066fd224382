"""The manifest of a view in S3, written on the condition that no one else has written it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddb_pipeline.lake.conditional import create, read_if_exists, replace
from ddb_pipeline.lake.root import LakeRoot

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class S3Manifest:
    """A ``store.ManifestObject``; what identifies a content is the object's ETag."""

    s3: "S3Client"
    lake: LakeRoot
    key: str

    def read(self) -> tuple[bytes, str] | None:
        """As ``ManifestObject.read``."""
        found = read_if_exists(self.s3, self.lake, self.key)
        return None if found is None else (found.content, found.etag)

    def write(self, content: bytes, token: str) -> bool:
        """As ``ManifestObject.write``."""
        if not token:
            return create(self.s3, self.lake, self.key, content) is not None
        return replace(self.s3, self.lake, self.key, content, token) is not None
