"""The files in which ministack's S3 stores objects: a data file and a file of its properties each.

ministack writes the data first, then the properties. A process killed between leaves the new data
with the length and entity tag of the old; one killed while it writes leaves a temporary file.
"""

import json
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
PROPERTIES_SUFFIX = ".meta.json"
COMPUTED_MEMBERS = ("size", "etag", "checksums")
"""Properties that ministack computes from the data when it starts, where they are missing."""


def repair_objects(folder: Path) -> int:
    """Repair what a killed process left in ``folder``; return the number of files repaired."""
    repaired = 0
    for path in folder.rglob("*"):
        properties = path.with_name(path.name + PROPERTIES_SUFFIX)
        if path.name.endswith(TEMPORARY_SUFFIX) and path.is_file() and not properties.exists():
            path.unlink()
            repaired += 1
        elif not path.name.endswith(PROPERTIES_SUFFIX) and _is_newer(path, properties):
            _drop_computed(properties)
            repaired += 1
    return repaired


def _is_newer(data: Path, properties: Path) -> bool:
    try:
        return data.is_file() and data.stat().st_mtime_ns > properties.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _drop_computed(properties: Path) -> None:
    document = json.loads(properties.read_text("utf-8"))
    kept = {name: value for name, value in document.items() if name not in COMPUTED_MEMBERS}
    partial = properties.with_name(properties.name + TEMPORARY_SUFFIX)
    partial.write_text(json.dumps(kept), "utf-8")
    partial.replace(properties)
