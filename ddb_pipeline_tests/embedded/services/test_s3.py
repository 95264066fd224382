"""Events of a bucket reach a queue, as the template connects them; ministack emits them itself."""

import json
import uuid
from collections.abc import Callable
from typing import Any

from ddb_pipeline.lake.object_events import object_key
from ddb_pipeline.queues import Queue
from ddb_pipeline_tests.support.polling import wait_until


def test_objects_written_and_deleted_under_the_prefix_are_named(
    aws_client: Callable[[str], Any],
) -> None:
    name = f"b{uuid.uuid4().hex[:12]}"
    s3, sqs, rules = aws_client("s3"), aws_client("sqs"), aws_client("events")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {"bucket": {"name": [name]}, "object": {"key": [{"prefix": "stream/"}]}},
    }
    rules.put_rule(Name=name, EventPattern=json.dumps(pattern))
    rules.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])
    queue = Queue(sqs, name)
    found: list[tuple[str, str]] = []

    def received(count: int) -> Callable[[], bool]:
        def receive() -> bool:
            for body in queue.take():
                found.append((json.loads(body)["detail-type"], object_key(body)))
            return len(found) == count

        return receive

    s3.put_object(Bucket=name, Key="errors/x", Body=b"x")
    s3.put_object(Bucket=name, Key="stream/a b+ü.parquet", Body=b"x")
    s3.copy_object(Bucket=name, Key="stream/copy", CopySource={"Bucket": name, "Key": "errors/x"})
    upload = s3.create_multipart_upload(Bucket=name, Key="stream/parts")
    part = {"Bucket": name, "Key": "stream/parts", "UploadId": upload["UploadId"]}
    etag = s3.upload_part(**part, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(
        **part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    wait_until(received(3), "three events of written objects")
    s3.delete_object(Bucket=name, Key="stream/copy")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "stream/parts"}]})
    wait_until(received(5), "two events of deleted objects")
    assert sorted(found) == [
        ("Object Created", "stream/a b+ü.parquet"),
        ("Object Created", "stream/copy"),
        ("Object Created", "stream/parts"),
        ("Object Deleted", "stream/copy"),
        ("Object Deleted", "stream/parts"),
    ]
