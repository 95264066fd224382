"""Deployment: the CloudFormation template, the zip files of functions and Spark jobs, the stacks.

Does not belong here: names that follow from a pipeline's name (``config.names``). May import
``config`` and what lies below it.
"""
