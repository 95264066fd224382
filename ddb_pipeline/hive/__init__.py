"""Hive's type strings and the project's type rules: parse, print, normalise, infer, widen.

Standard library only; imports no other sub-package. Does not belong here: Arrow types
(``arrow_types``), catalog tables (``glue``).
"""
