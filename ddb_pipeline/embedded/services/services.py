"""What the pipeline needs of AWS and ministack lacks, put in by replacing its functions.

Each service's part lies in a module of its own and calls the project's rooms; none of them
decides a type, converts a record or infers a schema itself.
"""

from types import ModuleType

from ddb_pipeline.embedded.services import dynamodb, glue, lambda_
from ddb_pipeline.embedded.services.firehose import service as firehose


def install(endpoint: str) -> ModuleType:
    """Import ministack with the overlay in place; answers with ``ministack.app``.

    ``endpoint`` is where it is going to listen, for what speaks to it as a client would.
    """
    import ministack.app

    glue.install(endpoint)
    firehose.install(endpoint)
    dynamodb.install(endpoint)
    lambda_.install()
    application: ModuleType = ministack.app
    return application


def resume() -> None:
    """Begin what runs in the background."""
    firehose.resume()


def suspend() -> None:
    """End what runs in the background, so that the state saved last is the last state."""
    firehose.suspend()
