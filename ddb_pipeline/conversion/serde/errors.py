"""Errors of record format conversion: Firehose's codes, and the texts of its messages."""

from typing import Final

PARSE_ERROR: Final = "DataFormatConversion.ParseError"
MALFORMED_DATA: Final = "DataFormatConversion.MalformedData"
INVALID_SCHEMA: Final = "DataFormatConversion.InvalidSchema"


class ConversionError(Exception):
    """A record, or a whole schema, cannot be converted.

    Attributes:
        code: Firehose's error code, one of the three above.
        message: the message that Firehose writes to the error object.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


def empty_record() -> ConversionError:
    """The error of a record without a document."""
    return ConversionError(MALFORMED_DATA, "The record was empty or contained only whitespace.")


def malformed_json(reason: object) -> ConversionError:
    """The error of a record that is not JSON."""
    return ConversionError(PARSE_ERROR, f"Encountered malformed JSON. {reason}")


def malformed_data(reason: object) -> ConversionError:
    """The error of a document with a value that its column does not take."""
    return ConversionError(MALFORMED_DATA, f"Data does not match the schema. {reason}")


def invalid_schema(reason: object) -> ConversionError:
    """The error of every record under columns that cannot be used."""
    return ConversionError(INVALID_SCHEMA, f"The schema is invalid. {reason}")


def unsupported_types(serde_class: str) -> ConversionError:
    """The error of a schema with a type that the SerDe's class refuses in any schema."""
    return invalid_schema(f"One or more columns have types that are not supported by {serde_class}")
