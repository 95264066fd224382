"""Files whose schema is not the expected one."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from ddb_pipeline.parquet.footers import differing_schemas
from ddb_pipeline.parquet.publish import Destination

SCHEMA = pa.schema([("id", pa.string()), ("at", pa.timestamp("us")), ("day", pa.string())])
ROW = {"id": ["a"], "at": [datetime(2026, 11, 24)], "day": ["2026-11-24"]}


@pytest.mark.parametrize(
    ("case", "path", "fields", "options", "differs"),
    [
        ("the schema itself", "part.parquet", SCHEMA, {}, False),
        ("timestamps as INT96", "p.parquet", SCHEMA, {"use_deprecated_int96_timestamps": 1}, False),
        ("a column in the path", "day=2026-11-24/part.parquet", [*SCHEMA][:2], {}, False),
        ("a column is missing", "part.parquet", [*SCHEMA][:2], {}, True),
        ("another type", "part.parquet", [("id", pa.binary()), *[*SCHEMA][1:]], {}, True),
        ("another order", "part.parquet", [*SCHEMA][::-1], {}, True),
    ],
)
def test_differing_schemas(
    tmp_path: Path, case: str, path: str, fields: Any, options: dict[str, Any], differs: bool
) -> None:
    schema = pa.schema(fields)
    table = pa.table({name: ROW[name] for name in schema.names}).cast(schema)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    pq.write_table(table, tmp_path / path, **options)
    destination = Destination(pyarrow.fs.LocalFileSystem(), str(tmp_path))
    assert list(differing_schemas(destination, [path], SCHEMA)) == [path] * differs, case
