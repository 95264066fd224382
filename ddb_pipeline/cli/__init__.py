"""The command line ``ddb-pipeline``: one module for each command.

Belongs here: options, output for a terminal or as JSON, one line for each expected error. Does
not belong here: anything an asset or a function needs too. May import every other sub-package; a
command's module is imported only when that command runs.
"""
