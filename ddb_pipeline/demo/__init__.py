"""The demo's data: simulated, anonymised search logs, and their writing to DynamoDB.

Belongs here: what imitates the application that owns the table. Does not belong here: anything that
a pipeline over other data needs. May import ``dynamodb`` and boto3.
"""
