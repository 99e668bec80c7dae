#!/usr/bin/env python3
"""Writes the sample events beside it: one folder for each function, one file for each event, as AWS delivers it.

    python3 events/make.py            writes them
    python3 events/make.py --check    writes nothing; names the files that are not as it would write them, and fails

It needs nothing but Python, and writes the same bytes each time. Signatures, nonces and ids are computed here with
Python's own hmac and hashlib, by Ring's documentation and not by our Rust: two readings that check each other.

What a stack alone knows stands here under a name that can be replaced in a file: the key of the Token Exchange URL
(`sample-token-url-key`), a one-time code (`sample-one-time-code`), a link's id (`lnk_sample`).
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import sys
import urllib.parse

EVENTS = pathlib.Path(__file__).resolve().parent
# Ring's six webhooks as its documentation prints them, with "<device_id>" and "<timestamp>" to be filled in.
DOCUMENTED = EVENTS.parent / "shared/ring-partner/tests/samples/webhooks"

# The offline Ring signs with this one, unless it is told otherwise (tests/ring-simulator/src/config.rs).
SIGNING_KEY = b"simulator-signing-key"
TOKEN_URL_KEY = "sample-token-url-key"
CODE = "sample-one-time-code"
LINK = "lnk_sample"
GRANT = "grt_sample"

ACCOUNT = "ava1.ring.account.XXXYYY"
DEVICE = "ava1.ring.device.XXXYYY"
MOTION_AT = 1770989995231
CLIP = {"timestamp": MOTION_AT - 5_000, "duration": 10_000, "video_options": {"codec": "avc"}}
POLICY = {
    "on": {"motion_detected": {"human": ["snapshot", "clip"], "default": []}, "button_press": ["capture"]},
    "duration": 30_000,
    "audio": False,
    "notify": True,
    "privacy_zones": "obscure",
}

SESSION = "live_0123456789abcdef0123456789abcdef"
# A player's, of which nobody is at the other end: only what Ring looks at is true of it.
OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 102",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=recvonly",
        "a=rtcp-mux",
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=rtpmap:102 H264/90000",
        "a=rtcp-fb:102 nack",
        "a=rtcp-fb:102 nack pli",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host",
        "a=end-of-candidates",
        "",
    ]
)

REGION = "us-east-1"
AWS_ACCOUNT = "123456789012"
API_ID = "a1b2c3d4e5"
DOMAIN = f"{API_ID}.execute-api.{REGION}.amazonaws.com"
VISITOR = "203.0.113.10"
# When the API is called and the schedule's minute begins. Webhooks and their messages have the time of their own body.
NOW = "2026-02-14T00:03:00Z"
CLAIMS = {
    "iss": f"https://cognito-idp.{REGION}.amazonaws.com/{REGION}_Sample",
    "sub": "6d1f0a52-7f2c-4c6e-9a3b-0c5e8f1d2a47",
    "aud": "sampleclient",
    "token_use": "id",
    "email": "sample.user@example.com",
    "email_verified": "true",
    "auth_time": "1771027200",
    "iat": "1771027200",
    "exp": "1771030800",
}


def main():
    files = {EVENTS / f"{name}.json": json.dumps(event, indent=2, ensure_ascii=False) + "\n" for name, event in samples()}
    folders = {path.parent for path in files}
    strays = {path for folder in folders for path in folder.glob("[!.]*")} - files.keys()
    for path in sorted(strays):
        print(f"{path.relative_to(EVENTS)}: not made here")
    if "--check" in sys.argv[1:]:
        wrong = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
        for path in sorted(wrong):
            print(f"{path.relative_to(EVENTS)}: not as events/make.py writes it")
        return 1 if wrong or strays else 0
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return 1 if strays else 0


def samples():
    """Each sample's name, which is its path without the ending, and its event."""
    yield from token_exchange()
    yield from account_link()
    yield from webhook_intake()
    yield from event_processor()
    yield from token_refresh()
    yield from canary()
    yield from media_fetch()
    yield from partner_api()
    yield from portal()


# --- What each function is sent ---------------------------------------------------------------------------------------


def token_exchange():
    form = "application/x-www-form-urlencoded"

    def pushed(name, key=TOKEN_URL_KEY, **request):
        return f"token-exchange/{name}", through_gateway(
            "POST /ring/token/{key}", f"/ring/token/{key}", parameters={"key": key}, **request
        )

    yield pushed("code_as_json", body=json.dumps({"code": CODE}))
    # The gateway hands a form over in Base64, as any body that is neither JSON nor text.
    yield pushed("code_as_form", body=f"code={CODE}", media_type=form, in_base64=True)
    yield pushed("code_in_query", query=f"code={CODE}")
    yield pushed("no_code", body=json.dumps({"state": "sample"}))
    yield pushed("wrong_key", key="some-other-token-url-key", body=json.dumps({"code": CODE}))


def account_link():
    time = str(epoch_ms(NOW) - 20_000)
    asked = {"nonce": nonce(time, ACCOUNT), "time": time}

    def called(name, route, proxy=None, body=None):
        path = "/v1/links" + (f"/{proxy}" if proxy else "")
        parameters = {"proxy": proxy} if proxy else None
        body = None if body is None else json.dumps(body)
        return f"account-link/{name}", through_gateway(route, path, parameters=parameters, body=body, claims=CLAIMS)

    yield called("preview", "POST /v1/links/{proxy+}", "preview", asked)
    yield called("create", "POST /v1/links", body=asked)
    yield called("create_with_unknown_field", "POST /v1/links", body=asked | {"account_id": ACCOUNT})
    yield called("list", "GET /v1/links")
    yield called("patch", "PATCH /v1/links/{proxy+}", LINK, {"status": "completed"})
    yield called("delete", "DELETE /v1/links/{proxy+}", LINK)


def webhook_intake():
    def delivered(name, body, key=SIGNING_KEY, **request):
        headers = {"x-signature": signature(body, key)}
        return f"webhook-intake/{name}", through_gateway(
            "POST /ring/webhook", "/ring/webhook", body=body, headers=headers, at=sent_at(body), **request
        )

    for kind in sorted(path.stem for path in DOCUMENTED.glob("*.json")):
        yield delivered(kind, documented(kind))
    yield delivered("unknown_type", unknown_type())
    yield delivered("version_1_0", version_1_0())
    yield delivered(
        "in_base64", documented("button_press"), media_type="application/vnd.api+json", in_base64=True
    )
    yield delivered("wrong_signature", documented("motion_detected"), key=b"another-key")


def event_processor():
    def batch(name, *messages):
        return f"event-processor/{name}", from_queue("events", messages)

    group = derived("acc", ACCOUNT)
    in_base64 = {"encoding": "base64"}
    poison = message("no webhook at all: \N{SNOWMAN}", epoch_ms(NOW), group="unknown")
    yield batch("plain", webhook_message(documented("motion_detected")), webhook_message(documented("button_press")))
    online = documented("device_online")
    yield batch(
        # The intake leaves a blank behind Base64, so that an empty body is none.
        "in_base64", message(as_base64(online) + " ", sent_at(online), group=group, attributes=in_base64)
    )
    yield batch(
        "mixed",
        webhook_message(documented("device_offline")),
        poison,
        webhook_message(unknown_type()),
        message("%%% ", epoch_ms(NOW), group="unknown", attributes=in_base64),
        webhook_message(version_1_0(), group="unknown"),
    )
    # What a new link sends for each event that waited for it.
    parked = event_id(documented("motion_detected"))
    yield batch("resume", message(parked, epoch_ms(NOW), attributes={"resume": parked}))
    # What an operator sends who has an event published again.
    yield batch("replay", message(parked, epoch_ms(NOW) + 1, attributes={"replay": parked}))


def schedule(rule):
    return {
        "version": "0",
        "id": uuid("schedule"),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": AWS_ACCOUNT,
        "time": NOW,
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{AWS_ACCOUNT}:rule/{rule}"],
        "detail": {},
    }


def canary():
    yield "canary/schedule", schedule("ring-CanaryEachFiveMinutes-SAMPLE")


def token_refresh():
    yield "token-refresh/schedule", schedule("ring-TokenRefreshEachMinute-SAMPLE")
    yield "token-refresh/one_grant", {"grant": GRANT, "generation": 1}


def media_fetch():
    wanted = json.dumps({"medium_id": medium_id(CLIP)}, separators=(",", ":"))
    yield "media-fetch/medium", from_queue("media", [message(wanted, epoch_ms(NOW), group=derived("acc", ACCOUNT))])
    # What the hourly rule sends.
    # What is sent before a live session is opened, and comes when its time is over.
    close = json.dumps({"close_session": {"account_id": ACCOUNT, "session_id": SESSION}}, separators=(",", ":"))
    yield "media-fetch/close_session", from_queue("media", [message(close, epoch_ms(NOW), group=derived("acc", ACCOUNT))])
    yield "media-fetch/sweep", from_queue("media", [message('{"sweep":"due"}', epoch_ms(NOW))])


def partner_api():
    def called(name, method, rest, body=None, **request):
        body = body if body is None or isinstance(body, str) else json.dumps(body)
        return f"partner-api/{name}", through_gateway(
            method + " /v1/{proxy+}", f"/v1/{rest}", parameters={"proxy": rest}, body=body, claims=CLAIMS, **request
        )

    device, medium = f"devices/{DEVICE}", f"media/{medium_id(CLIP)}"
    image_options = {"image_options": {"format": "jpeg"}}
    yield called("devices", "GET", "devices", query="online=true&country=US&limit=10")
    yield called("device", "GET", device)
    yield called("device_of_another", "GET", "devices/ava1.ring.device.ZZZ")
    yield called("device_events", "GET", f"{device}/events", query="type=motion_detected&from=2026-02-13T00:00:00Z")
    yield called("events", "GET", "events", query="limit=10")
    yield called("clip", "POST", f"{device}/clips", CLIP)
    yield called(
        "snapshot", "POST", f"{device}/snapshots", image_options, headers={"idempotency-key": "sample-snapshot-1"}
    )
    # Ring keeps images for 180 days.
    old = {"type": "at_timestamp", "timestamp": epoch_ms("2020-01-01T00:00:00Z")}
    yield called("snapshot_too_old", "POST", f"{device}/snapshots", old | image_options)
    yield called(
        "capture", "POST", f"{device}/captures", {"duration": 20_000}, headers={"idempotency-key": "sample-capture-1"}
    )
    yield called("policy", "GET", f"{device}/policy")
    yield called("set_policy", "PUT", f"{device}/policy", POLICY)
    yield called("set_policies", "PUT", "policies", {"devices": [DEVICE], "policy": POLICY})
    yield called("set_policy_too_long", "PUT", f"{device}/policy", POLICY | {"duration": 900_001})
    yield called("live", "POST", f"{device}/live", OFFER, media_type="application/sdp", in_base64=True)
    yield called("live_without_candidates", "POST", f"{device}/live", OFFER.replace("a=candidate", "a=x-candidate"), media_type="application/sdp", in_base64=True)
    yield called("live_as_json", "POST", f"{device}/live", {"sdp": OFFER})
    yield called("close_live", "DELETE", f"live/{SESSION}")
    yield called("device_media", "GET", f"{device}/media", query="limit=10")
    yield called("medium", "GET", medium)
    yield called("delete_medium", "DELETE", medium)
    yield called("unknown_route", "GET", "no/such/route")
    yield called("wrong_method", "DELETE", device)


def portal():
    yield "portal/link", through_gateway(
        "GET /ring/link", "/ring/link", query=f"nonce={nonce(str(MOTION_AT), ACCOUNT)}&time={MOTION_AT}"
    )
    yield "portal/home", through_gateway("GET /ring/home", "/ring/home")
    for name, file in [("asset", "any/portal.css"), ("unknown_asset", "any/portal.exe")]:
        yield f"portal/{name}", through_gateway(
            "GET /ring/assets/{proxy+}", f"/ring/assets/{file}", parameters={"proxy": file}
        )


# --- Ring's side ------------------------------------------------------------------------------------------------------


def documented(kind):
    """The body of one of Ring's six webhooks, for our device."""
    body = (DOCUMENTED / f"{kind}.json").read_text("utf-8").rstrip("\n")
    timestamp = json.loads(body)["data"]["attributes"]["timestamp"]
    return body.replace("<device_id>", DEVICE).replace("<timestamp>", str(timestamp))


def unknown_type():
    """A webhook of a type that the documentation does not list: motion, changed."""
    body = json.loads(documented("motion_detected"))
    body["meta"]["request_id"] = uuid("unknown type")
    del body["data"]["subType"]
    body["data"] |= {"id": f"{DEVICE}_package_delivered_{MOTION_AT}", "type": "package_delivered"}
    return json.dumps(body)


def version_1_0():
    """The documentation's body of version 1.0, which names no account (API Use Cases, Smart Home Integration), in the
    days of the others."""
    meta = {"version": "1.0", "time": "2026-02-13T13:39:57Z", "request_id": "abc123"}
    attributes = {"source": DEVICE, "source_type": "devices", "timestamp": MOTION_AT + 1_000}
    return json.dumps({"meta": meta, "data": {"id": "event123", "type": "motion_detected", "attributes": attributes}})


def signature(body, key):
    return "sha256=" + hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def nonce(time, account):
    digest = hmac.new(SIGNING_KEY, f"{time}:{account}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def sent_at(body):
    """When Ring made this webhook, in epoch milliseconds."""
    return epoch_ms(json.loads(body)["meta"]["time"])


# --- Our ids, as shared/src/edge/key.rs derives them ------------------------------------------------------------------


def derived(prefix, *parts):
    digest = hashlib.sha256()
    for part in map(str.encode, parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"{prefix}_" + base64.urlsafe_b64encode(digest.digest()[:20]).decode().rstrip("=")


def event_id(body):
    """The event of a webhook: shared/src/event/mod.rs."""
    body = json.loads(body)
    return derived("evt", body["meta"]["account_id"], body["data"]["attributes"]["source"], "id", body["data"]["id"])


def medium_id(clip):
    """The medium of a clip of our device: shared/src/media/mod.rs."""
    return derived("med", ACCOUNT, DEVICE, json.dumps({"kind": "clip", "of": clip}, separators=(",", ":")))


# --- AWS's side -------------------------------------------------------------------------------------------------------


def through_gateway(
    route, path, *, parameters=None, query="", body=None, media_type="application/json", in_base64=False, headers=None,
    claims=None, at=None,
):
    """A request as an HTTP API hands it to a function, in payload format 2.0."""
    method = route.split(" ")[0]
    at = epoch_ms(NOW) if at is None else at
    seed = f"{route} {path} {query} {body} {headers}"
    sent = {
        "accept": "*/*",
        "host": DOMAIN,
        "user-agent": "sample/1.0",
        "x-amzn-trace-id": f"Root=1-{at // 1000:08x}-{digest_of(seed)[:24]}",
        "x-forwarded-for": VISITOR,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    if body is not None:
        sent |= {"content-type": media_type, "content-length": str(len(body.encode()))}
    elif method == "POST":
        sent["content-length"] = "0"
    if claims:
        sent["authorization"] = "Bearer sample.id.token"
    event = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(sorted((sent | (headers or {})).items())),
    }
    if query:
        event["queryStringParameters"] = dict(urllib.parse.parse_qsl(query))
    context = {"accountId": AWS_ACCOUNT, "apiId": API_ID}
    if claims:
        context["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
    context |= {
        "domainName": DOMAIN,
        "domainPrefix": API_ID,
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": VISITOR,
            "userAgent": sent["user-agent"],
        },
        "requestId": as_base64(seed_bytes(seed)[:11]),
        "routeKey": route,
        "stage": "$default",
        "time": moment(at).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": at,
    }
    event["requestContext"] = context
    if parameters:
        event["pathParameters"] = parameters
    if body is not None:
        event["body"] = as_base64(body) if in_base64 else body
    event["isBase64Encoded"] = in_base64
    return event


def from_queue(queue, messages):
    """A batch of messages as the queue's event source mapping hands it to a function."""
    arn = f"arn:aws:sqs:{REGION}:{AWS_ACCOUNT}:{queue}"
    source = {"eventSource": "aws:sqs", "eventSourceARN": arn, "awsRegion": REGION}
    return {"Records": [message | source for message in messages]}


def webhook_message(body, group=None):
    """What the intake queues of a webhook."""
    return message(body, sent_at(body) + 400, group=group or derived("acc", ACCOUNT))


def message(body, at, *, group=None, attributes=None):
    attributes = attributes or {}
    seed = f"{body} {at} {attributes}"
    event = {
        "messageId": uuid(seed),
        "receiptHandle": "sample" + as_base64(seed_bytes(seed)),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(at),
            "SenderId": "AROASAMPLESAMPLESAMPL:webhook-intake",
            "ApproximateFirstReceiveTimestamp": str(at + 25),
        },
        "messageAttributes": {
            name: {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
            for name, value in attributes.items()
        },
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
    }
    if group:
        event["attributes"]["MessageGroupId"] = group
    return event


def epoch_ms(text):
    """RFC 3339 in UTC, with as many digits as there may be behind the second."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp()) * 1000 + int(fraction[:3].ljust(3, "0") or 0)


def moment(at):
    return datetime.datetime.fromtimestamp(at // 1000, datetime.timezone.utc)


def seed_bytes(seed):
    return hashlib.sha256(seed.encode()).digest()


def digest_of(seed):
    return seed_bytes(seed).hex()


def uuid(seed):
    """A version 4 UUID that is the same each time."""
    digits = digest_of(seed)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def as_base64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


if __name__ == "__main__":
    sys.exit(main())
