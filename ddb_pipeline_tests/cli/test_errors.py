"""Errors of access to AWS and of the file system end every command with one line."""

import errno
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from ddb_pipeline.cli.errors import one_line
from ddb_pipeline.cli.main import COMMANDS, main
from ddb_pipeline.errors import DdbPipelineError

CONFIGURATION = '[[pipelines]]\nname = "search_logs"\nbucket = "a-bucket-of-ours"\n'
AWS_COMMANDS = {
    "preflight": ("preflight", "search-logs", "--catalog-table", "d.t"),
    "crawl": ("crawl", "search-logs", "d"),
    "fix": ("fix", "d", "t"),
    "ddl": ("ddl", "d", "t"),
    "export": ("export", "search-logs", "s3://bucket/prefix"),
    "vacuum": ("vacuum", "search_logs"),
    "deploy": ("deploy", "--code-bucket", "bucket"),
    "remove": ("remove", "search_logs", "--yes"),
    "enable-stream": ("enable-stream", "search-logs", "--yes"),
    "init": ("init", "search-logs", "--output", "-"),
    "check": ("check",),
    "policy": ("policy",),
    "verify": ("verify", "--yes"),
}
WITHOUT_BOTO3 = {"convert-export", "current", "package", "demo"}
VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "DDB_PIPELINE_HOME"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_DEFAULT_PROFILE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def on_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the environment of a command with the target AWS."""
    (tmp_path / "pipelines.toml").write_text(CONFIGURATION)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def set_environment(**variables: str) -> None:
        common = {
            "DDB_PIPELINE_TARGET": "aws",
            "DDB_PIPELINE_CONFIG": str(tmp_path / "pipelines.toml"),
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in (common | variables).items():
            monkeypatch.setenv(name, value)

    return set_environment


def line_of(capsys: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The one line that a failing command prints on standard error."""
    monkeypatch.setattr(sys, "argv", ["ddb-pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error: str = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    return error


def test_all_commands_are_tried() -> None:
    assert set(COMMANDS) == set(AWS_COMMANDS) | WITHOUT_BOTO3


@pytest.mark.parametrize("command", AWS_COMMANDS)
def test_no_credentials(
    command: str, on_aws: Callable[..., None], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_aws()
    error = line_of(capsys, monkeypatch, *AWS_COMMANDS[command])
    assert "Unable to locate credentials" in error
    assert "aws sso login" in error


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}, "both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody"}, "Correct AWS_PROFILE"),
        ({**KEYS, "AWS_REGION": "not a region"}, "for example to eu-central-1"),
        ({**KEYS, "AWS_DEFAULT_REGION": "-"}, "AWS_DEFAULT_REGION is '-'"),
        ({**KEYS, "AWS_ENDPOINT_URL": "nowhere"}, "nowhere"),
    ],
)
def test_access_that_is_not_configured(
    variables: dict[str, str],
    expected: str,
    on_aws: Callable[..., None],
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_aws(**variables)
    assert expected in line_of(capsys, monkeypatch, "fix", "d", "t")


def test_no_connection(
    on_aws: Callable[..., None], closed_port: int, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_aws(**KEYS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{closed_port}")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert "Check the network" in line_of(capsys, monkeypatch, "fix", "d", "t")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (exceptions.TokenRetrievalError(provider="sso", error_msg="expired"), "aws sso login"),
        (exceptions.UnauthorizedSSOTokenError(), "aws sso login"),
        (exceptions.CredentialRetrievalError(provider="x", error_msg="a\nb"), "aws sso login"),
        (exceptions.ConfigParseError(path="p", error="e"), "~/.aws/config"),
        (exceptions.NoRegionError(), "AWS_REGION"),
        (exceptions.ConnectTimeoutError(endpoint_url="u"), "Check the network"),
        (exceptions.SSLError(endpoint_url="u", error=OSError("e")), "certificates"),
        (exceptions.ProxyConnectionError(proxy_url="u"), "proxy"),
        (exceptions.ParamValidationError(report="r"), "AWS: Parameter validation failed"),
    ],
)
def test_advice(error: BotoCoreError, advice: str) -> None:
    text = one_line(error)
    assert advice in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExpiredToken", "Log in again"),
        ("AccessDeniedException", "Grant this permission"),
        ("NoSuchBucket", "Create the bucket"),
        ("InternalError", "PutObject failed: InternalError: why."),
    ],
)
def test_errors_of_services(code: str, advice: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "why"}}, "PutObject")
    assert advice in one_line(error)
    assert code in one_line(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), "/d/x: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/d/x"), "DDB_PIPELINE_HOME"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/d/x"), "A folder is needed"),
        (OSError("When reading:\n AWS Error"), "When reading: AWS Error"),
        (DdbPipelineError("do this"), "do this"),
    ],
)
def test_errors_of_files(error: Exception, expected: str) -> None:
    assert expected in one_line(error)


def test_a_defect_of_the_program_is_no_expected_error() -> None:
    assert one_line(RuntimeError("x")) == ""


def test_a_folder_that_is_a_file(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    line_of(capsys, monkeypatch, "package", str(tmp_path / "file" / "dist"))


@pytest.mark.parametrize("command", ["fix", "demo"])
def test_a_home_that_is_a_file(
    command: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DDB_PIPELINE_TARGET", "embedded")
    monkeypatch.setenv("DDB_PIPELINE_HOME", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    arguments = ("fix", "d", "t") if command == "fix" else ("demo", "--items", "50", "--json")
    assert str(tmp_path / "file") in line_of(capsys, monkeypatch, *arguments)


def test_a_full_disk(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("ddb_pipeline.cli.deploy.write_bundles", write)
    error = line_of(capsys, monkeypatch, "package", str(tmp_path))
    assert json.dumps(str(tmp_path))[1:-1] in error
    assert "Free space" in error
