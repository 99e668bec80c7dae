"""The emulator of AWS, with three things that its checks of rights lack. All lean on the version that is pinned.

- Conditions on `kms:EncryptionContext:…`, by which the template says who may open which kind of token.
- `aws:SecureTransport`: there is no TLS on loopback, and the template's bucket takes nothing without; what comes over
  loopback counts as if it had come over TLS.
- `s3:signatureAge` and `s3:authType` of a signed URL, by which the template's bucket lets none live for long.
"""

import json
from datetime import datetime, timezone

from ministack import app
from ministack.core import iam_actions

request_tag_context = iam_actions.request_tag_context
s3_service_context = iam_actions.s3_service_context
pin_request_origin = app.pin_request_origin


def request_context(service, action, body, parameters):
    context = dict(request_tag_context(service, action, body, parameters) or {})
    if service == "kms":
        try:
            given = json.loads(body or b"{}").get("EncryptionContext") or {}
        except (ValueError, AttributeError):
            given = {}
        context.update({f"kms:EncryptionContext:{key}": value for key, value in given.items()})
    return context


def signed_url_context(action, parameters, *rest):
    context = dict(s3_service_context(action, parameters, *rest))
    signed_at = iam_actions._query_param(parameters or {}, "X-Amz-Date")
    if signed_at:
        age = datetime.now(timezone.utc) - datetime.strptime(signed_at + "+0000", "%Y%m%dT%H%M%SZ%z")
        context.update({"s3:authType": "REST-QUERY-STRING", "s3:signatureAge": str(int(age.total_seconds() * 1000))})
    return context


iam_actions.request_tag_context = request_context
iam_actions.s3_service_context = signed_url_context
app.pin_request_origin = lambda address, _secure: pin_request_origin(address, True)
app.main()
