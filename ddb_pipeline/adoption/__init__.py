"""Adopting tables that exist: what an account holds, and what a pipeline needs of it.

Belongs here: facts about tables and the configuration proposed for them, the IAM policy of
Dagster's role, checks of a configuration against an account, and what a pipeline costs. Does not
belong here: the commands that print them (``cli``), clients, Dagster. May import ``deploy``,
``config`` and what lies below them.
"""
