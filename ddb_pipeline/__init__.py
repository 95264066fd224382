"""DynamoDB items to a Parquet lake in S3, run from Dagster; the schema repairs itself.

Each sub-package is one service or one format; its docstring says what belongs in it, what does
not, and what it may import. The import contracts in ``pyproject.toml`` hold the order.

``DynamoDBParquetPipeline`` and ``build_pipeline`` of ``component`` are also names of the package,
which Dagster's ``dg`` lists. They are imported when they are used: the Lambda functions contain
this module, but not Dagster.
"""

from importlib import import_module

_OF_COMPONENT = ("DynamoDBParquetPipeline", "build_pipeline")


def __getattr__(name: str) -> object:
    if name in _OF_COMPONENT:
        return getattr(import_module("ddb_pipeline.component"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_OF_COMPONENT]
