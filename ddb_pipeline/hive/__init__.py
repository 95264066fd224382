"""Hive type strings and the rules for types: parse, print, normalise, infer, widen, name columns.

Standard library only; imports no other sub-package. Does not belong here: Arrow types
(``arrow_types``), catalog tables (``glue``).
"""
