"""Which requests the server refuses, and that every client of the project can sign its own."""

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pyarrow.fs
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ddb_pipeline.embedded.access import refusal, without_cors
from ddb_pipeline.embedded.clients import client_arguments
from ddb_pipeline.embedded.home import Credentials, EmbeddedError, make_home, read_credentials
from ddb_pipeline.embedded.process import Endpoint
from ddb_pipeline.resources.filesystem import s3_filesystem

HOST = (b"host", b"127.0.0.1:4566")


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ([HOST], False),
        ([(b"host", b"localhost:4566")], False),
        ([(b"Host", b"LOCALHOST:4566")], False),
        ([HOST, (b"sec-fetch-site", b"none")], False),
        ([HOST, (b"sec-fetch-site", b"same-origin")], False),
        ([HOST, (b"sec-fetch-site", b"same-site")], True),
        ([HOST, (b"sec-fetch-site", b"cross-site")], True),
        ([HOST, (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], True),
        ([HOST, (b"origin", b"null")], True),
        ([HOST, (b"origin", b"http://127.0.0.1:4566")], True),
        ([HOST, (b"Origin", b"https://evil.example")], True),
        ([], True),
        ([HOST, HOST], True),
        ([(b"host", b"127.0.0.1")], True),
        ([(b"host", b"127.0.0.1:4567")], True),
        ([(b"host", b"127.0.0.1:4566.evil.example")], True),
        ([(b"host", b"evil.example:4566")], True),
        ([(b"host", b"localhost.evil.example:4566")], True),
        ([(b"host", b"[::1]:4566")], True),
        ([(b"host", b"0.0.0.0:4566")], True),
        ([(b"host", b"abc.execute-api.localhost:4566")], True),
    ],
)
def test_refusal(headers: list[tuple[bytes, bytes]], refused: bool) -> None:
    assert (refusal(headers, 4566) is not None) is refused


def test_no_response_permits_a_page_to_read_it() -> None:
    headers = [(b"Access-Control-Allow-Origin", b"*"), (b"etag", b"1")]
    assert without_cors(headers) == [(b"etag", b"1")]


def test_each_home_folder_has_its_own_credentials(tmp_path: Path) -> None:
    one, other = make_home(tmp_path / "one"), make_home(tmp_path / "other")
    assert one.secret_access_key != other.secret_access_key
    assert make_home(tmp_path / "one") == one
    assert one.secret_access_key not in repr(one)


def test_a_home_folder_of_an_earlier_version_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_home(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"access_key_id": "a"}'])
def test_damaged_credentials_are_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_text(text, "utf-8")
    with pytest.raises(EmbeddedError, match="remove this file"):
        read_credentials(tmp_path)


@pytest.mark.embedded
@pytest.mark.parametrize("service", ["s3", "dynamodb", "sqs", "lambda", "cloudformation"])
def test_a_client_with_another_secret_is_refused(embedded_aws: Endpoint, service: str) -> None:
    key = embedded_aws.credentials.access_key_id
    endpoint = replace(embedded_aws, credentials=Credentials(key, "test"))
    call = {
        "s3": "list_buckets",
        "dynamodb": "list_tables",
        "sqs": "list_queues",
        "lambda": "list_functions",
        "cloudformation": "list_stacks",
    }[service]
    create: Any = boto3.session.Session().client
    with pytest.raises(ClientError) as error:
        getattr(create(service, **client_arguments(endpoint)), call)()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


@pytest.mark.embedded
@pytest.mark.parametrize("path", ["/", "/bucket", "/_ddb_pipeline/status", "/_ministack/health"])
def test_an_unsigned_request_is_refused(embedded_aws: Endpoint, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(embedded_aws.url + path, timeout=10)
    assert error.value.code == 403


KEYS = ("a b/c+d=e&f~.json", "ä/ü%20", "stream/delivery_date=2024-01-01/h,:;@!*'().parquet")


@pytest.mark.embedded
@pytest.mark.parametrize("payload_signing", [True, False])
@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_every_way_in_which_botocore_signs(
    aws_client: Callable[[str], Any],
    embedded_aws: Endpoint,
    payload_signing: bool,
    checksums: Any,
    tmp_path: Path,
) -> None:
    """A body from a file and a checksum of it are sent in chunks (aws-chunked)."""
    aws_client("s3").create_bucket(Bucket="signed")
    arguments = client_arguments(embedded_aws)
    arguments["config"] = arguments["config"].merge(
        Config(
            signature_version="s3v4",
            s3={"payload_signing_enabled": payload_signing, "addressing_style": "path"},
            request_checksum_calculation=checksums,
        )
    )
    create: Any = boto3.session.Session().client
    s3 = create("s3", **arguments)
    (tmp_path / "body").write_bytes(b"body" * 10_000)
    for key in KEYS:
        with (tmp_path / "body").open("rb") as body:
            s3.put_object(Bucket="signed", Key=key, Body=body)
        assert s3.get_object(Bucket="signed", Key=key)["Body"].read() == b"body" * 10_000
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": key})
        with urllib.request.urlopen(url, timeout=10) as response:
            assert response.read() == b"body" * 10_000
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.replace("Signature=", "Signature=0"), timeout=10)
    found = s3.list_objects_v2(Bucket="signed", Prefix="stream/")["Contents"]
    assert [entry["Key"] for entry in found] == [KEYS[2]]


@pytest.mark.embedded
def test_the_file_system_of_pyarrow_signs(
    aws_client: Callable[[str], Any], embedded_aws: Endpoint
) -> None:
    aws_client("s3").create_bucket(Bucket="arrow-signed")
    filesystem = s3_filesystem(client_arguments(embedded_aws))
    for key in KEYS:
        with filesystem.open_output_stream(f"arrow-signed/{key}") as stream:
            stream.write(b"x" * 6_000_000)
            stream.write(b"y" * 6_000_000)
        assert filesystem.open_input_file(f"arrow-signed/{key}").size() == 12_000_000
    selector = pyarrow.fs.FileSelector("arrow-signed/stream", recursive=True)
    files = [info.path for info in filesystem.get_file_info(selector) if info.is_file]
    assert files == [f"arrow-signed/{KEYS[2]}"]
