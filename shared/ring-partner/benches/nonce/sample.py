"""The search of Ring's documentation for the account of a nonce (Nonce Validation and Account Linking, Step 4), as it is there.

Reads a key, a time and a nonce, a line each, how many account ids follow, and those. Then for each line it searches once,
and says how many nanoseconds that took and which account it found.
"""

import base64
import hashlib
import hmac
import sys
import time


def compute_nonce(time_param, account_id, hmac_key):
    payload = f"{time_param}:{account_id}"
    mac = hmac.new(hmac_key.encode("utf-8"), payload.encode("utf-8"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode("utf-8")


def match_nonce_to_account(received_nonce, time_param, hmac_key, account_ids):
    for account_id in account_ids:
        computed_nonce = compute_nonce(time_param, account_id, hmac_key)
        if hmac.compare_digest(computed_nonce, received_nonce):
            return account_id
    return None


def line():
    return sys.stdin.readline().rstrip("\n")


key, time_param, nonce, count = line(), line(), line(), int(line())
account_ids = [line() for _ in range(count)]
while line():
    began = time.perf_counter_ns()
    found = match_nonce_to_account(nonce, time_param, key, account_ids)
    print(time.perf_counter_ns() - began, found, flush=True)
