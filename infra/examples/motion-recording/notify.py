"""Tells somebody of a clip: which camera, when, with a picture."""

import json
import os
import urllib.request
from datetime import datetime, timezone

import boto3

PICTURE_SECONDS = 300


def on_clip(event, _context):
    detail = event["detail"]
    notification = {
        # The same however often the clip is told of: whoever shows notifications drops repeats by it.
        "id": detail["medium_id"],
        "title": f"A clip of {detail.get('device_name', 'a camera')}",
        "time": shown_at(detail),
        "picture": signed(detail.get("thumbnail_key")),
        "clip": signed(detail["object_key"]),
    }
    # SNS takes a subject of up to a hundred printable characters, and a device is called what its owner likes.
    boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Subject="A clip is there", Message=json.dumps(notification))
    if os.environ["NOTIFY_URL"]:
        post(os.environ["NOTIFY_URL"], notification)


def shown_at(detail):
    """When it happened, which may be long before the clip was there."""
    if "actual" not in detail:
        return detail["occurred_at"]
    return datetime.fromtimestamp(detail["actual"]["timestamp"] / 1000, timezone.utc).isoformat()


def signed(key):
    if key is None:
        return None
    what = {"Bucket": os.environ["BUCKET"], "Key": key}
    return boto3.client("s3").generate_presigned_url("get_object", Params=what, ExpiresIn=PICTURE_SECONDS)


def post(url, body):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=5):
        pass
