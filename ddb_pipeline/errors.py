"""The base class of the errors that the command line prints as one line."""


class DdbPipelineError(Exception):
    """An expected failure: the message says what is wrong and what to do."""
