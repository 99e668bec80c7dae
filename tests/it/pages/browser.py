"""A browser with a person before it: what scenarios share."""

import contextlib
import json
import time
import urllib.parse
import urllib.request

from playwright.sync_api import expect, sync_playwright

# Without these, a browser on a machine without a way out spends its time looking for one.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--mute-audio",
]
PATIENCE_MS = 20_000

expect.set_options(timeout=PATIENCE_MS)


class Ring:
    """The offline Ring, and one of its users."""

    def __init__(self, scene):
        self.control = scene["control_url"] + "/_sim/"
        self.account = urllib.parse.quote(scene["account"], safe="")

    def order(self, method, path, body=None):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.control + path, data=data, method=method, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def user(self, what, body=None, account=None, method="POST"):
        account = self.account if account is None else urllib.parse.quote(account, safe="")
        return self.order(method, f"users/{account}/{what}", body)

    def confirm(self, account=None):
        """Where Ring's app sends its user who confirms."""
        return self.user("confirm", account=account)["url"]

    def happens(self, device, kind="motion_detected", **more):
        return self.user("events", {"type": kind, "device": device, **more})

    def sessions(self, device):
        return self.order("GET", "live?device=" + urllib.parse.quote(device, safe=""))


def api(scene, method, route, body=None):
    """Calls the API as the person's other program would."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"host": scene["api_host"], "authorization": "Bearer " + scene["token"], "content-type": "application/json"}
    request = urllib.request.Request(f"{scene['api_url']}/v1/{route}", data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def until(what, look, seconds=20):
    """Looks until something is so, and says what was seen instead."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"it has not come about in {seconds} s that {what}: {seen!r}"
        time.sleep(0.1)


@contextlib.contextmanager
def browsing(scene, **options):
    """A browser's window. Whatever a page says went wrong in it is an error here."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=scene["chromium"], args=FLAGS)
        options.setdefault("viewport", {"width": 1280, "height": 860})
        context = browser.new_context(locale="en-GB", timezone_id="Europe/London", reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        wrongs = []
        context.on("weberror", lambda error: wrongs.append(str(error.error)))
        # A refused answer is spoken of by the page itself; a broken rule of the page's own is a mistake.
        context.on("console", lambda said: wrongs.append(said.text) if "Content Security Policy" in said.text or "TrustedHTML" in said.text else None)
        try:
            yield context
        finally:
            browser.close()
        assert not wrongs, wrongs


def sign_in(page, scene, email=None):
    """At the issuer's own page, wherever the browser stands now."""
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("#username").fill(email or scene["email"])
    page.locator("#password").fill(scene["password"])
    page.get_by_role("button", name="Sign in").click()


def at_home(context, scene):
    """The console, with its cameras."""
    page = context.new_page()
    page.goto(scene["home_url"])
    sign_in(page, scene)
    expect(page.locator(".camera[data-device]").first).to_be_visible()
    return page


def card(page, name):
    return page.locator(".camera", has=page.get_by_role("heading", name=name))


def shown(page, text):
    expect(page.get_by_role("heading", name=text)).to_be_visible()
