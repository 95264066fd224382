"""DynamoDB items to a Parquet lake in S3, run from Dagster; the schema repairs itself.

Each sub-package is one service or one format; its docstring says what belongs in it, what does
not, and what it may import. The import contracts in ``pyproject.toml`` hold the order.
"""
