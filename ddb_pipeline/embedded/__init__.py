"""The embedded AWS: a local server process that stands in for the cloud.

Belongs here: the process and its lifetime, the server, the stacks deployed into it, and under
``services`` one class for each service that ministack does not implement completely. Does not
belong here: rules of types or conversion; the services call the sub-packages that have them. May
import ``deploy`` and everything below it.
"""
