"""The embedded AWS: a local server process in place of AWS.

Belongs here: the process as its clients see it, the server, its clients, the stacks that are
deployed to it, and under ``services`` one class for each service that ministack does not implement
completely. Does not belong here: rules of types or conversion, which the services call. May import
``deploy`` and everything below it.
"""
