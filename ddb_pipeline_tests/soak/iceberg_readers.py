"""The Iceberg tables of the read matrix, read by engines that have Iceberg readers of their own.

    python -m ddb_pipeline_tests.soak.iceberg_readers [--spark PYTHON --jars JARS] [--duckdb PYTHON]

``--spark`` is a Python with pyspark, for whose version ``--jars`` names the iceberg-spark-runtime;
``--duckdb`` one with duckdb, duckdb-extension-iceberg and duckdb-extension-avro. Both read the
tables by their metadata file, in a process of their own, so that they may have other
versions than the tests. Printed is for each table whether every value is read as it was written.
"""

import argparse
import json
import os
import subprocess
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ddb_pipeline.hive.types import parse_type
from ddb_pipeline_tests.lake.iceberg.test_read_matrix import TABLES
from ddb_pipeline_tests.lake.test_read_matrix import NEW, NEW_ROWS, OLD_ROWS, plain
from ddb_pipeline_tests.support.iceberg import table_of

SPARK: Final = """
import json, sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder = builder.config("spark.jars", sys.argv[2]).config("spark.sql.session.timeZone", "UTC")
builder = builder.config("spark.driver.host", "127.0.0.1")
session = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
rows = session.read.format("iceberg").load(sys.argv[1])
form = "map('timestampNTZFormat', 'yyyy-MM-dd HH:mm:ss.SSSSSS')"
print(json.dumps([row[0] for row in rows.selectExpr(f"to_json(struct(*), {form})").collect()]))
"""
DUCKDB: Final = """
import glob, json, os, sys
import duckdb, duckdb_extension_avro, duckdb_extension_iceberg
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for package in (duckdb_extension_avro, duckdb_extension_iceberg):
    folder = os.path.dirname(package.__file__)
    (path,) = glob.glob(folder + "/**/*.duckdb_extension", recursive=True)
    connection.execute(f"LOAD '{path}'")
query = f"SELECT CAST(to_json(t) AS VARCHAR) FROM iceberg_scan('{sys.argv[1]}') t"
print(json.dumps([row[0] for row in connection.execute(query).fetchall()]))
"""


def rows_of(python: str, program: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """The rows that a program prints, by id."""
    done = subprocess.run(
        [python, "-c", program, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    lines = json.loads(done.stdout.splitlines()[-1])
    rows = [json.loads(line, parse_float=Decimal) for line in lines]
    return {row["id"]: row for row in rows}


def differences(found: dict[str, dict[str, Any]]) -> list[str]:
    """The values that are not those that were written."""
    expected = {row["id"]: row for row in (*OLD_ROWS, *NEW_ROWS)}
    if found.keys() != expected.keys():
        return [f"rows {sorted(found)}"]
    return [
        f"{key}, {name}: {found[key].get(name)!r}"
        for key, row in expected.items()
        for name, kind in NEW
        if plain(found[key].get(name), parse_type(kind)) != plain(row.get(name), parse_type(kind))
    ]


def main() -> None:
    """Write the tables and have them read."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spark")
    parser.add_argument("--jars", default="")
    parser.add_argument("--duckdb")
    options = parser.parse_args()
    for name, make in TABLES.items():
        with tempfile.TemporaryDirectory(prefix="ddb-iceberg-") as folder:
            location = table_of(make(Path(folder))).metadata_location
            found = {}
            if options.spark:
                found["Spark"] = rows_of(options.spark, SPARK, location, options.jars)
            if options.duckdb:
                path = location.removeprefix("file://")
                found["DuckDB"] = rows_of(options.duckdb, DUCKDB, path)
            for engine, rows in found.items():
                wrong = differences(rows)
                result = "all values equal" if not wrong else f"NOT EQUAL: {'; '.join(wrong)}"
                print(f"{name}, {engine}: {len(rows)} rows, {result}")  # noqa: T201


if __name__ == "__main__":
    main()
