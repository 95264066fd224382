"""A full export and the incremental ones after it, applied in order, are the model's table."""

import gzip
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ddb_pipeline.export.changes import change_rows, key_names, moment
from ddb_pipeline.export.convert import infer_export
from ddb_pipeline.export.layout import NEW_AND_OLD_IMAGES, NEW_IMAGE, Export
from ddb_pipeline.export.source import ExportFolder
from ddb_pipeline.hive.infer import Inference, inferred_schema, merge
from ddb_pipeline.hive.normalize import replace_sets
from ddb_pipeline.hive.types import Column
from ddb_pipeline_tests.support.exports import opened
from ddb_pipeline_tests.support.table_history import random_history, write_chain

Exports = list[tuple[ExportFolder, Export]]


def columns_of(exports: Exports) -> list[Column]:
    found = Inference.empty()
    for open_object, export in exports:
        found = merge(found, infer_export(open_object, export))
    return [Column(c.name, replace_sets(c.type)) for c in inferred_schema(found).columns]


def applied(exports: Exports, columns: list[Column], names: tuple[str, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for open_object, export in exports:
        for rows, rejected in change_rows(open_object, export, columns, key_names=names):
            assert not rejected
            for row in rows.to_pylist():
                if row["ddb_event_name"] == "REMOVE":
                    table.pop(row["ddb_keys"], None)
                else:
                    table[row["ddb_keys"]] = row
    return table


@pytest.mark.parametrize("view", [NEW_AND_OLD_IMAGES, NEW_IMAGE])
@pytest.mark.parametrize("key_types", ["S", "SN", "B", "NB"])
def test_a_chain_is_the_models_table(tmp_path: Path, key_types: str, view: str) -> None:
    history = random_history(random.Random(len(key_types)), key_types=key_types)
    chain = write_chain(tmp_path, history, view=view)
    exports = [opened(folder) for folder in (chain.full, *chain.changes)]
    names = key_names(*exports[1])
    assert sorted(names) == sorted(history.key_names)
    columns = columns_of(exports)
    assert {c.name for c in columns} >= {"n", "note", "tags", "address", "mixed"}
    table = applied(exports, columns, names)
    expected = chain.items(20)
    assert table.keys() == expected.keys()
    for text, item in expected.items():
        assert sorted(table[text]["tags"]) == sorted(item["tags"]["SS"])
        assert table[text]["address"] == {"city": item["address"]["M"]["city"]["S"]}
        assert float(table[text]["n"]) == float(item["n"]["N"])
        assert (table[text]["note"] is None) == ("note" not in item)


def test_the_chain_has_what_dynamodb_leaves_empty(tmp_path: Path) -> None:
    chain = write_chain(tmp_path, random_history(random.Random(1)))
    exports = [opened(folder)[1] for folder in chain.changes]
    assert [export.summary.item_count for export in exports].count(0) == 1
    assert any(file.item_count == 0 for export in exports for file in export.files)
    for one, other in pairwise(exports):
        assert one.summary.to_time == other.summary.from_time
        assert moment(one, one.summary.to_time) > moment(one, one.summary.from_time)
    lines = b"".join(gzip.decompress(p.read_bytes()) for p in tmp_path.rglob("data/*.gz"))
    assert b'order \\"1000000\\"' not in lines
