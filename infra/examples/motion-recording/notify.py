"""Tells somebody of a clip: which camera, when, with a picture."""

import json
import os
import urllib.request

import boto3

PICTURE_SECONDS = 300


def on_clip(event, _context):
    detail = event["detail"]
    notification = {
        # The same for every delivery of the same clip: whoever shows notifications drops repeats by it.
        "id": detail["event_id"],
        "title": f"Motion at {detail.get('device_name', 'a camera')}",
        "time": detail["occurred_at"],
        "picture": signed(detail.get("thumbnail_key")),
        "clip": signed(detail["object_key"]),
    }
    boto3.client("sns").publish(TopicArn=os.environ["TOPIC"], Subject=notification["title"], Message=json.dumps(notification))
    if os.environ["NOTIFY_URL"]:
        post(os.environ["NOTIFY_URL"], notification)


def signed(key):
    if key is None:
        return None
    what = {"Bucket": os.environ["BUCKET"], "Key": key}
    return boto3.client("s3").generate_presigned_url("get_object", Params=what, ExpiresIn=PICTURE_SECONDS)


def post(url, body):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=5):
        pass
