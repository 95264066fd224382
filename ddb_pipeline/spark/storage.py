"""Lists, reads and writes files through Spark's Hadoop file systems, the same for folders and S3.

This module is the only one that uses private names of pyspark: ``SparkContext._gateway`` and
``SparkContext._jsc``, read in pyspark 4.3.0. pyspark has no public API for Hadoop's file systems,
and another library's S3 client would need its own configuration and credentials.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.spark.arguments import RelevanceError


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file: its URI, its size in bytes, its time of change in epoch milliseconds."""

    uri: str
    size: int
    modified: int


class Storage:
    """The files that a Spark session can access."""

    def __init__(self, spark: Any) -> None:
        self._gateway = spark.sparkContext._gateway
        self._jvm = self._gateway.jvm
        self._configuration = spark.sparkContext._jsc.hadoopConfiguration()

    def files(self, folder: str) -> list[StoredFile]:
        """List the files under a folder at any depth, sorted; [] if the folder does not exist.

        Empty files and names that begin with ``_`` or ``.`` are left out: they are not data.
        """
        path, filesystem = self._located(folder)
        if not filesystem.exists(path):
            return []
        return sorted(self._listed(filesystem.listFiles(path, True)))

    def _listed(self, found: Any) -> Iterator[StoredFile]:
        while found.hasNext():
            status = found.next()
            name = status.getPath().getName()
            if status.getLen() and not name.startswith(("_", ".")):
                yield StoredFile(
                    status.getPath().toString(), status.getLen(), status.getModificationTime()
                )

    def folders(self, folder: str) -> list[str]:
        """List the names of a folder's direct subfolders; [] if the folder does not exist."""
        path, filesystem = self._located(folder)
        if not filesystem.exists(path):
            return []
        return sorted(s.getPath().getName() for s in filesystem.listStatus(path) if s.isDirectory())

    def read_text(self, uri: str) -> str | None:
        """Read a file as UTF-8 text; None if it does not exist."""
        path, filesystem = self._located(uri)
        if not filesystem.exists(path):
            return None
        stream = filesystem.open(path)
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, uri: str, text: str) -> None:
        """Replace a file atomically: a reader sees the previous text or this one.

        S3 replaces objects atomically. On other file systems a new file is renamed to the name,
        which only ``FileContext`` does in one step.
        """
        path, filesystem = self._located(uri)
        target = path if uri.startswith("s3") else self._located(f"{uri}.new")[0]
        stream = filesystem.create(target, True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()
        if target is not path:
            hadoop = self._jvm.org.apache.hadoop.fs
            kind = getattr(hadoop, "Options$Rename")
            rename = self._gateway.new_array(kind, 1)
            rename[0] = kind.OVERWRITE
            context = hadoop.FileContext.getFileContext(path.toUri(), self._configuration)
            context.rename(target, path, rename)

    def delete_folder(self, uri: str) -> None:
        """Delete a folder and everything below it."""
        path, filesystem = self._located(uri)
        filesystem.delete(path, True)

    def _located(self, uri: str) -> tuple[Any, Any]:
        """A URI's path and its file system."""
        if "://" not in uri and not uri.startswith(("/", "file:")):
            raise RelevanceError(f"{uri!r} is neither a URI nor an absolute path.")
        path = self._jvm.org.apache.hadoop.fs.Path(uri)
        return path, path.getFileSystem(self._configuration)
