"""The walks over DynamoDB JSON in C: lines of an export to the buffers of typed columns.

Plain C, called through ctypes with the memory of numpy arrays: one library serves every version of
Python, and the interpreter's lock is released while it runs. Knows neither Hive nor Arrow types:
``export.rows`` makes the layouts and the arrays. May import nothing of this package and needs numpy
only; where the library is missing, ``export.rows`` reads without it.
"""
