"""The demo's data: anonymised search logs, and the traffic that writes them to DynamoDB.

Does not belong here: anything that a pipeline over other data needs. May import boto3 only.
"""
