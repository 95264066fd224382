"""The stacks of the configured pipelines, deployed to the embedded AWS from the one template."""

from filelock import FileLock

from ddb_pipeline.config.settings import Settings
from ddb_pipeline.deploy.bundle import build_bundles
from ddb_pipeline.deploy.stack import deploy_stack, is_deployed, stack_parameters, upload_code
from ddb_pipeline.embedded.clients import shared_client
from ddb_pipeline.embedded.home import FILE_MODE, FOLDER_MODE
from ddb_pipeline.embedded.process import Endpoint, connect

CODE_BUCKET = "embedded-function-code"
CREATED_FILE = "created"
DEPLOY_TIMEOUT_SECONDS = 120


def connect_with_stacks(settings: Settings) -> Endpoint:
    """Start the embedded AWS where it does not run; deploy what changed of each pipeline's stack.

    One process at a time deploys; the others wait for it.

    Raises:
        EmbeddedError: the embedded AWS could not be started.
        DeployError: a stack could not be deployed.
    """
    settings.home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    home = settings.home / "embedded"
    endpoint = connect(home)
    created = home / CREATED_FILE
    if not created.exists():
        created.touch(mode=FILE_MODE)
    cloudformation = shared_client(endpoint, "cloudformation")
    bundles = build_bundles()
    with FileLock(home / "deploy.lock", timeout=DEPLOY_TIMEOUT_SECONDS, mode=FILE_MODE):
        for pipeline in settings.pipelines:
            parameters = stack_parameters(pipeline, CODE_BUCKET, bundles)
            if is_deployed(cloudformation, pipeline.stack, parameters):
                continue
            s3 = shared_client(endpoint, "s3")
            s3.create_bucket(Bucket=CODE_BUCKET)
            upload_code(s3, pipeline, CODE_BUCKET, bundles)
            deploy_stack(cloudformation, pipeline.stack, parameters, delay_seconds=1)
    return endpoint
