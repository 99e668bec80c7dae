"""The emulator of AWS, with two things that its checks of rights lack. Both lean on the version that is pinned.

- Conditions on `kms:EncryptionContext:…`, by which the template says who may open which kind of token.
- `aws:SecureTransport`: there is no TLS on loopback, and the template's bucket takes nothing without; what comes over
  loopback counts as if it had come over TLS.
"""

import json

from ministack import app
from ministack.core import iam_actions

request_tag_context = iam_actions.request_tag_context
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


iam_actions.request_tag_context = request_context
app.pin_request_origin = lambda address, _secure: pin_request_origin(address, True)
app.main()
