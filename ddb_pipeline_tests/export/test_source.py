"""An export in the layout of DynamoDB itself, read from a folder to which it was copied.

Manifests and lines follow the samples of the Amazon DynamoDB developer guide, "DynamoDB table
export output format"; one data file is empty, the prefix is null, the checksums are of the bytes.
"""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddb_pipeline.export.convert import convert_export
from ddb_pipeline.export.layout import md5_text
from ddb_pipeline.export.manifest import ChecksumError, ExportError, ExportNotFinishedError
from ddb_pipeline.parquet.publish import Destination
from ddb_pipeline_tests.support.exports import LOCAL, opened

ID = "01693685827463-2d8752fd"
LINES = (
    '{"Item":{"Authors":{"SS":["Author1","Author2"]},"Dimensions":{"S":"8.5 x 11.0 x 1.5"},'
    '"ISBN":{"S":"333-3333333333"},"Id":{"N":"103"},"InPublication":{"BOOL":false},'
    '"PageCount":{"N":"600"},"Price":{"N":"2000"},"ProductCategory":{"S":"Book"},'
    '"Title":{"S":"Book 103 Title"}}}',
    '{"Item":{"Id":{"N":"201"},"Color":{"SS":["Red","Black"]},"Price":{"N":"100.50"}}}',
    '{"Item":{"Id":{"N":"202"},"Price":{"N":"1E+2"},"Extra":{"NULL":true}}}',
)
SUMMARY = {
    "version": "2020-06-30",
    "exportArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/ProductCatalog/export/{ID}",
    "startTime": "2020-11-04T07:28:34.028Z",
    "endTime": "2020-11-04T07:33:43.897Z",
    "tableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/ProductCatalog",
    "tableId": "12345a12-abcd-123a-ab12-1234abc12345",
    "exportTime": "2020-11-04T07:28:34.028Z",
    "s3Bucket": "ddb-productcatalog-export",
    "s3Prefix": None,
    "s3SseAlgorithm": "AES256",
    "s3SseKmsKeyId": None,
    "manifestFilesS3Key": f"AWSDynamoDB/{ID}/manifest-files.json",
    "billedSizeBytes": 0,
    "itemCount": 3,
    "outputFormat": "DYNAMODB_JSON",
}
COLUMNS = [
    ("id", "bigint"),
    ("title", "string"),
    ("authors", "array<string>"),
    ("color", "array<string>"),
    ("price", "decimal(9,2)"),
    ("pagecount", "int"),
    ("inpublication", "boolean"),
    ("dimensions", "string"),
    ("isbn", "string"),
    ("productcategory", "string"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The export's folder as ``aws s3 cp --recursive`` leaves it."""
    folder = tmp_path / "copied"
    data = {
        "sgidmvqbbmzuzpomu7rsxhe5ae": gzip.compress("\n".join(LINES[:2]).encode() + b"\n"),
        "iw23mxxz7i3b3cuoimkvyqh4zu": gzip.compress(LINES[2].encode() + b"\n"),
        "ytm5ivgnayspqfqhvbqhl2yqdm": gzip.compress(b""),
    }
    (folder / "data").mkdir(parents=True)
    lines = []
    for (name, body), count in zip(data.items(), (2, 1, 0), strict=True):
        (folder / "data" / f"{name}.json.gz").write_bytes(body)
        lines.append(
            {
                "itemCount": count,
                "md5Checksum": md5_text(body),
                "etag": "8b2a8d9bd6ea5c5d6c7c4b9ad3f5a9f1-1",
                "dataFileS3Key": f"AWSDynamoDB/{ID}/data/{name}.json.gz",
            }
        )
    manifests = {
        "manifest-files": "".join(json.dumps(line) + "\n" for line in lines),
        "manifest-summary": json.dumps(SUMMARY),
    }
    for name, text in manifests.items():
        (folder / f"{name}.json").write_text(text)
        (folder / f"{name}.md5").write_text(md5_text(text.encode()))
    (folder / "_started").touch()
    return folder


def test_each_item_is_a_row(folder: Path, tmp_path: Path) -> None:
    result = convert_export(*opened(folder), COLUMNS, Destination(LOCAL, str(tmp_path / "lake")))
    assert (result.items, result.rows, result.rejected) == (3, 3, 0)
    rows: list[dict[str, Any]] = pq.read_table(tmp_path / "lake").to_pylist()
    by_id = {row["id"]: row for row in rows}
    assert by_id[103]["authors"] == ["Author1", "Author2"]
    assert by_id[103]["pagecount"] == 600
    assert by_id[103]["inpublication"] is False
    assert by_id[201]["price"] == Decimal("100.50")
    assert by_id[202]["price"] == Decimal("100.00")
    assert by_id[202]["title"] is None


def test_an_export_that_is_still_running(folder: Path) -> None:
    (folder / "manifest-summary.json").unlink()
    with pytest.raises(ExportNotFinishedError, match="still running"):
        opened(folder)


def test_a_manifest_that_was_changed(folder: Path) -> None:
    text = (folder / "manifest-files.json").read_text()
    (folder / "manifest-files.json").write_text(text.replace('"itemCount": 2', '"itemCount": 1'))
    with pytest.raises(ChecksumError, match="its MD5 is"):
        opened(folder)


def test_two_exports_in_one_folder(folder: Path) -> None:
    both = folder.parent / "exports" / "AWSDynamoDB"
    both.mkdir(parents=True)
    for name in ("one", "two"):
        (both / name).mkdir()
        for path in folder.glob("manifest-*"):
            (both / name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ExportNotFinishedError, match=r"there are 2 exports \(one, two\)"):
        opened(folder.parent / "exports")


def test_an_object_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    data = max((folder / "data").iterdir())
    data.unlink()
    # Raises OSError as a denied request does; root is denied no local file.
    data.mkdir()
    with pytest.raises(ExportError, match=f"{data.name}.*this requires s3:GetObject"):
        convert_export(*opened(folder), COLUMNS, Destination(LOCAL, str(tmp_path / "lake")))
    assert not (tmp_path / "lake").exists()
