"""Files as Spark's own Hadoop file systems see them: the same for folders and for S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddb_pipeline.spark.arguments import RelevanceError


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file under a URI; ``size`` in bytes, ``modified`` in epoch milliseconds."""

    uri: str
    size: int
    modified: int


class Storage:
    """Lists, reads and writes through the JVM of a Spark session; needs no other client."""

    def __init__(self, spark: Any) -> None:
        self._jvm = spark._jvm
        self._gateway = spark.sparkContext._gateway
        self._configuration = spark._jsc.hadoopConfiguration()

    def files(self, folder: str) -> list[StoredFile]:
        """Parquet files under a folder at any depth, in order; none where there is no folder.

        Names that begin with ``_`` or ``.`` are not data, as for every reader of such folders.
        """
        path = self._path(folder)
        filesystem = self._filesystem(path)
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
        """The names of the folders directly under a folder; none where it is not there."""
        path = self._path(folder)
        filesystem = self._filesystem(path)
        if not filesystem.exists(path):
            return []
        return sorted(s.getPath().getName() for s in filesystem.listStatus(path) if s.isDirectory())

    def read_text(self, uri: str) -> str | None:
        """A file's text; None where there is none."""
        path = self._path(uri)
        filesystem = self._filesystem(path)
        if not filesystem.exists(path):
            return None
        stream = filesystem.open(path)
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, uri: str, text: str) -> None:
        """Replace a file as a whole: readers see the one before or this one.

        S3 does that by itself. Elsewhere a file beside it is renamed over it, which only a
        ``FileContext`` does in one step.
        """
        path = self._path(uri)
        target = path if uri.startswith("s3") else self._path(f"{uri}.new")
        stream = self._filesystem(path).create(target, True)
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
        path = self._path(uri)
        self._filesystem(path).delete(path, True)

    def _path(self, uri: str) -> Any:
        if "://" not in uri and not uri.startswith(("/", "file:")):
            raise RelevanceError(f"{uri!r} is neither a URI nor an absolute path.")
        return self._jvm.org.apache.hadoop.fs.Path(uri)

    def _filesystem(self, path: Any) -> Any:
        return path.getFileSystem(self._configuration)
