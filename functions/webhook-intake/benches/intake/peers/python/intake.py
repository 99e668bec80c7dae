"""The intake as it is usually written in Python: clients and keys outside the handler, and one SendMessage within it."""

import base64
import hashlib
import hmac
import json
import os

import boto3
from botocore.config import Config

CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "max_attempts": 3})
SQS = boto3.client("sqs", config=CONFIG)
SECRETS = boto3.client("secretsmanager", config=CONFIG)
QUEUE_URL = os.environ["EVENTS_QUEUE_URL"]


def read_keys():
    """The current signing key and the one before it."""
    answer = SECRETS.get_secret_value(SecretId=os.environ["SIGNING_SECRET_ID"])
    secret = json.loads(answer["SecretString"])
    keys = (secret["hmac_signing_key"], secret.get("hmac_signing_key_previous"))
    return [key.encode() for key in keys if key]


KEYS = read_keys()


def verifies(body, header):
    """Whether one of the keys signed the body. Each is tried."""
    if not header.lower().startswith("sha256="):
        return False
    given = header[len("sha256="):].lower()
    found = [hmac.compare_digest(hmac.new(key, body, hashlib.sha256).hexdigest(), given) for key in KEYS]
    return any(found)


def group_of(body):
    """A hash of the account, so that one busy home delays nobody else."""
    try:
        account = json.loads(body)["meta"]["account_id"]
    except (ValueError, KeyError, TypeError):
        return "unknown"
    return hashlib.sha256(str(account).encode()).hexdigest()


def answer(status, body):
    """An answer as the API gateway takes it."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def handler(event, _context):
    """Answers one webhook."""
    text = event.get("body") or ""
    body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    if not verifies(body, event["headers"].get("x-signature", "")):
        return answer(401, {"type": "/problems/signature-invalid"})
    SQS.send_message(QueueUrl=QUEUE_URL, MessageBody=body.decode(), MessageGroupId=group_of(body))
    return answer(200, {})
