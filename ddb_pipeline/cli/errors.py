"""Errors that a command does not expect at one place: of access to AWS, and of the file system.

Each becomes one line that says what is wrong and what to do. Nothing here imports botocore: an
error of botocore exists only where it is imported already.
"""

import errno
import sys

from ddb_pipeline.errors import DdbPipelineError

DISK_ERRORS = {
    errno.ENOSPC: "Free space on that disk, or use a folder on another.",
    errno.EDQUOT: "Free space on that disk, or use a folder on another.",
    errno.EROFS: "Use a folder that can be written; DDB_PIPELINE_HOME names the pipelines' own.",
    errno.EACCES: "Use a folder that can be written; DDB_PIPELINE_HOME names the pipelines' own.",
    errno.EPERM: "Use a folder that can be written; DDB_PIPELINE_HOME names the pipelines' own.",
    errno.EISDIR: "A file is needed there, not a folder.",
    errno.ENOTDIR: "A folder is needed there, not a file.",
    errno.EEXIST: "A folder is needed there, not a file.",
    errno.ENOENT: "Correct the path.",
    errno.ENAMETOOLONG: "Use a shorter path.",
}
"""What to do about errors of the file system."""


def one_line(error: Exception) -> str:
    """What to print of an error; empty for one that is a defect of the program."""
    if isinstance(error, DdbPipelineError):
        return str(error)
    if "botocore" in sys.modules:
        from ddb_pipeline.client_errors import access_error

        text = access_error(error)
        if text:
            return text
    return " ".join(_file_error(error).split()) if isinstance(error, OSError) else ""


def _file_error(error: OSError) -> str:
    # pyarrow's errors have their whole text as the only argument.
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    advice = DISK_ERRORS.get(error.errno or 0, "")
    return f"{where}{what.rstrip('.')}. {advice}"
