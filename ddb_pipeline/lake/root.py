"""Where a lake lies: a bucket, and a prefix in it that other lakes of the bucket do not have.

The functions of the lake take and return keys without this prefix, as a process in a folder of its
own uses paths: the layout, stored states and listings are the same wherever the lake lies. The
prefix is added where S3, a file system or the catalog is called, and nowhere else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LakeRoot:
    """The bucket of a lake, and what all its object keys begin with.

    Attributes:
        bucket: the bucket's name.
        prefix: empty, or ends with a slash.

    >>> LakeRoot("lake", "sales/orders/").uri("stream/")
    's3://lake/sales/orders/stream/'
    """

    bucket: str
    prefix: str = ""

    def object_key(self, key: str) -> str:
        """The key in the bucket of what has this key in the lake."""
        return self.prefix + key

    def key_of(self, object_key: str) -> str | None:
        """The key in the lake of an object of the bucket; None where it is not of the lake."""
        if not object_key.startswith(self.prefix):
            return None
        return object_key.removeprefix(self.prefix)

    def path(self, key: str = "") -> str:
        """``bucket/key``, as pyarrow's file systems take it, without a slash at the end."""
        return f"{self.bucket}/{self.prefix}{key}".rstrip("/")

    def uri(self, key: str = "") -> str:
        """The ``s3://`` URI of a key of the lake."""
        return f"s3://{self.bucket}/{self.prefix}{key}"
