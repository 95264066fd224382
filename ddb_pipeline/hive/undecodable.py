"""The error for a value that DynamoDB never writes."""


class UndecodableValueError(ValueError):
    """A value is not one that DynamoDB writes.

    Attributes:
        path: attribute path from the item down, such as ``address.lines[2]``; empty for the item.
        reason: what is wrong, without the value itself, which may be personal data.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        where = f"Attribute {self.path!r}" if self.path else "The item"
        return f"{where} cannot be decoded: {self.reason}."

    def within(self, step: str) -> "UndecodableValueError":
        """The same error with the path from one level further up."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return UndecodableValueError(self.reason, f"{step}{joint}{self.path}")
