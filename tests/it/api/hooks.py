"""What a description can't say of a request that it allows, and that holds for it all the same: when now is, that a cursor comes
from an earlier page and a key from one request alone, and what two browsers say to each other. Requests that it does not allow
are left as they are."""

import base64
import time
import uuid

import schemathesis

HALF_A_DAY = 12 * 3600 * 1000

OFFER = "\r\n".join([
    "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=msid-semantic: WMS",
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0",
    "a=candidate:1 1 udp 2113937151 127.0.0.1 51000 typ host", "a=ice-ufrag:EsAw", "a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y",
    "a=fingerprint:sha-256 " + ":".join(["DA"] * 32), "a=setup:actpass", "a=mid:0", "a=recvonly", "a=rtcp-mux",
    "a=rtpmap:96 H264/90000", "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "",
])


@schemathesis.serializer("application/sdp")
def sdp(_context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def before_call(_context, case, _kwargs):
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    if case.query and isinstance(case.query.get("cursor"), str):
        case.query["cursor"] = base64.urlsafe_b64encode(case.query["cursor"].encode()[:300]).decode().rstrip("=")
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.media_type == "application/sdp":
        case.body = OFFER
    if isinstance(case.body, dict):
        case.body = {**case.body, **in_time(case.body)}


def in_time(body):
    """The fields that name a time, moved into the last hours."""
    if isinstance(body.get("time"), str):
        return {"time": str(now())}
    if "duration" in body:
        return {"timestamp": lately(body["timestamp"])} if is_number(body.get("timestamp")) else {}
    if {"type", "timestamp", "start_timestamp", "end_timestamp"} & body.keys():
        return one_form(body)
    return {}


def one_form(body):
    """A snapshot's times as one of its two forms has them."""
    if body.get("type") == "at_timestamp" or (body.get("type") is None and is_number(body.get("timestamp"))):
        return {"timestamp": lately(body.get("timestamp")), "start_timestamp": None, "end_timestamp": None}
    begins = lately(body.get("start_timestamp"))
    ends = begins + 1_000 if is_number(body.get("end_timestamp")) else None
    return {"timestamp": None, "start_timestamp": begins, "end_timestamp": ends}


def lately(value):
    return now() - 60_000 - (int(abs(value)) % HALF_A_DAY if is_number(value) else 0)


def now():
    return int(time.time() * 1000)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
