"""What people do on the pages, and what they see. `scenarios.py NAME`, with the scene as JSON on standard input."""

import io
import json
import pathlib
import re
import sys
import tarfile
import time
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from browser import Ring, api, at_home, browsing, card, expect, shown, sign_in, until

DOOR, GARDEN = "Front Door", "Garden"


def link(scene):
    """From the simulator's confirm to linked."""
    ring = Ring(scene)
    ring.user("install")
    url = ring.confirm()
    nonce = url.split("nonce=")[1].split("&")[0]
    with browsing(scene) as context:
        page = context.new_page()
        asked = []
        context.on("request", lambda request: asked.append(request))
        page.goto(url)
        shown(page, "Link your Ring account")
        assert page.url == scene["link_url"], page.url
        sign_in(page, scene)
        shown(page, "Is this your Ring account?")
        assert page.url == scene["link_url"], f"the issuer's code has left the address bar: {page.url}"
        expect(page.locator("[data-ring-user]")).to_have_text("J*** D**")
        expect(page.get_by_text(scene["email"]).first).to_be_visible()
        page.get_by_role("button", name="Link this account").click()
        shown(page, "Your Ring account is linked")
        expect(page.get_by_text("2 cameras found.")).to_be_visible()
        # The nonce was in the first address and in what was posted, and nowhere else.
        for request in asked[1:]:
            assert nonce not in request.url, request.url
            assert nonce not in str(request.all_headers()), request.url
        assert nonce not in page.content()
        kept = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")
        assert nonce not in kept, "it is forgotten once it has served"
        assert page.evaluate("JSON.stringify([{...localStorage}, document.cookie])") == '[{},""]', "tokens stay in the tab"
        page.go_back()
        assert nonce not in page.url, "the way back does not lead to it"
        page.goto(scene["home_url"])
        expect(card(page, DOOR)).to_be_visible()


def link_before_the_token(scene):
    ring = Ring(scene)
    ring.user("install", {"push": False})
    url = ring.confirm()
    with browsing(scene) as context:
        page = context.new_page()
        page.goto(url)
        sign_in(page, scene)
        shown(page, "Looking for your Ring account")
        page.wait_for_timeout(3_000)
        shown(page, "Looking for your Ring account")
        ring.user("install")
        # The nonce stands for the account, whichever token it is found by.
        shown(page, "Is this your Ring account?")
        page.get_by_role("button", name="Not mine").click()
        shown(page, "Nothing was linked")
        page.goto(scene["link_url"])
        shown(page, "Start in the Ring app")
        # Where nothing comes, the person is asked after a while.
        account = ring.order("POST", "users", {"devices": ["doorbell"]})["id"]
        ring.user("install", {"push": False}, account=account)
        page.goto(ring.confirm(account=account))
        expect(page.get_by_role("heading", name="It takes longer than usual")).to_be_visible(timeout=45_000)
        expect(page.get_by_role("button", name="Look again")).to_be_visible()


def link_that_does_not_come_about(scene):
    ring = Ring(scene)
    with browsing(scene) as context:
        page = context.new_page()
        page.goto(scene["link_url"])
        shown(page, "Start in the Ring app")

        # One's own once more.
        page.goto(ring.confirm())
        sign_in(page, scene)
        shown(page, "This account is linked to you already")

        url = ring.confirm(account=scene["other_account"])
        old = str(int(url.split("time=")[1]) - 700_000)
        page.goto(url.split("time=")[0] + "time=" + old)
        shown(page, "This request has expired")
        expect(page.get_by_text("Confirm once more")).to_be_visible()
        page.goto(url.split("time=")[0] + "time=yesterday")
        shown(page, "This request can’t be used")

        # Ring does not answer, and then does.
        fault = {"path": "/v1/users/me", "do": "answer", "status": 503, "count": None}
        fault = ring.order("POST", "faults", fault)
        try:
            page.goto(ring.confirm(account=scene["other_account"]))
            shown(page, "Ring can’t be reached")
            expect(page.get_by_text("Trying again in")).to_be_visible()
        finally:
            ring.order("DELETE", "faults")
        shown(page, "Is this your Ring account?")

        # The network goes, and comes back.
        context.set_offline(True)
        page.get_by_role("button", name="Link this account").click()
        shown(page, "You seem to be offline")
        page.get_by_role("button", name="Cancel").click()
        shown(page, "Nothing was linked")
        context.set_offline(False)

        # Somebody else's, installed once more.
        page.evaluate("sessionStorage.clear()")
        ring.user("install")
        page.goto(ring.confirm())
        sign_in(page, scene, scene["other_email"])
        page.get_by_role("button", name="Link this account").click()
        shown(page, "Somebody else has linked this account")


def motion(scene):
    ring = Ring(scene)
    with browsing(scene) as context:
        page = at_home(context, scene)
        expect(page.get_by_text("Nothing has happened yet.")).to_be_visible()
        page.reload()
        card(page, DOOR).get_by_role("button", name="Live").click(trial=True)
        took = page.evaluate("performance.now()") / 1000
        print(f"the console could be used {took:.2f} s after it was asked for")
        assert took < 3, f"{took:.2f} s"

        # While nothing happens, nothing is sent again.
        answers = []
        page.on("response", lambda answer: answers.append((answer.url, answer.status)) if "/v1/" in answer.url else None)
        page.wait_for_timeout(8_000)
        again = [status for at, (url, status) in enumerate(answers) if url in [earlier for earlier, _ in answers[:at]]]
        assert len(again) >= 2 and set(again) == {304}, answers

        ring.happens(scene["devices"][DOOR], sub_type="human")
        told = time.monotonic()
        event = page.locator('[data-event="motion_detected"]')
        expect(event).to_be_visible()
        took = time.monotonic() - told
        print(f"motion was on the page after {took:.1f} s")
        assert took < 4, f"{took:.1f} s"
        expect(event.get_by_text("Person")).to_be_visible()

        # Its clip: asked for with the first click; it plays by itself.
        event.get_by_role("button", name="Clip of Person").click()
        video = page.locator("dialog video")
        expect(page.locator('[data-medium="stored"]')).to_be_visible(timeout=60_000)
        until("the clip plays", lambda: video.evaluate("video => video.currentTime > 0.5 && video.videoWidth > 0"))
        expect(page.get_by_text("Recording of the camera")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)

        # A snapshot.
        card(page, DOOR).get_by_role("button", name="Snapshot").click()
        picture = page.locator('dialog [data-medium="stored"] img')
        expect(picture).to_be_visible(timeout=60_000)
        until("the picture is there", lambda: picture.evaluate("image => image.complete && image.naturalWidth > 0"))
        page.keyboard.press("Escape")
        expect(card(page, DOOR).locator(".view img")).to_be_visible()

        # Of a camera with privacy zones there are stills alone, and the page says why.
        card(page, GARDEN).get_by_role("button", name="Clip").click()
        expect(page.get_by_text("This camera has privacy zones")).to_be_visible()
        page.keyboard.press("Escape")

        # Deleted, it is gone.
        card(page, DOOR).get_by_role("button", name="Details").click()
        tiles = page.locator(".gallery .tile")
        expect(tiles).to_have_count(2)
        tiles.first.click()
        page.get_by_role("button", name="Delete").click()
        expect(tiles).to_have_count(1)


def live(scene):
    ring = Ring(scene)
    door = scene["devices"][DOOR]
    # A session of a few seconds, so that its limit comes soon.
    ring.user(f"devices/{door}", {"live": {"limit_ms": 7_000}}, method="PATCH")
    sessions = lambda: ring.sessions(door)
    with browsing(scene) as context:
        page = at_home(context, scene)
        card(page, DOOR).get_by_role("button", name="Live").click()
        showing = page.locator(".live")
        expect(showing).to_have_attribute("data-live", "live")
        video = page.locator(".live video")
        frames = lambda: video.evaluate("video => video.getVideoPlaybackQuality().totalVideoFrames")
        first = until("frames come", lambda: frames() > 20 and frames())
        assert video.evaluate("video => [video.videoWidth, video.videoHeight]") == [640, 360]
        sent = sessions()["items"][-1]["frames"]
        print(f"{frames()} of {sent} frames were shown")
        assert first <= sent + 1
        # Ring ends it; who still looks gets the next one.
        until("a second session is opened", lambda: len(sessions()["items"]) >= 2, 25)
        expect(showing).to_have_attribute("data-live", "live")
        until("frames come again", lambda: frames() > 10)

        # Nobody sees the page: it is closed, and comes back with whoever does.
        hide = """state => {
            Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
        page.evaluate(hide, "hidden")
        until("it is closed while nobody looks", lambda: sessions()["open"] == 0)
        assert sessions()["items"][-1]["over"]["by"] == "delete", "by the page, and not at its limit"
        opened = len(sessions()["items"])
        page.wait_for_timeout(5_000)
        assert len(sessions()["items"]) == opened, "none is opened for nobody"
        page.evaluate(hide, "visible")
        until("it comes back", lambda: sessions()["open"] == 1)
        expect(showing).to_have_attribute("data-live", "live")

        # Stopped by its button; then left with the page.
        page.get_by_role("button", name="Stop watching").click()
        until("it is closed when it is stopped", lambda: sessions()["open"] == 0)
        page.get_by_role("button", name="Watch live").click()
        expect(showing).to_have_attribute("data-live", "live")
        page.goto("about:blank")
        until("it is closed when the page is left", lambda: sessions()["open"] == 0)
        over = {item["over"]["by"] for item in sessions()["items"][-2:]}
        assert over == {"delete"}, over


def account(scene):
    ring = Ring(scene)
    ring.happens(scene["devices"][DOOR], sub_type="human")
    with browsing(scene) as context:
        page = at_home(context, scene)
        expect(page.locator(".event[data-event]")).to_be_visible()
        page.get_by_role("button", name="Your account").click()
        page.get_by_role("button", name="Get a copy of everything").click()
        archive = page.get_by_role("link", name="Download the archive")
        expect(archive).to_be_visible(timeout=60_000)
        with urllib.request.urlopen(archive.get_attribute("href"), timeout=30) as answer:
            copy = answer.read()
        names = tarfile.open(fileobj=io.BytesIO(copy)).getnames()
        print(f"an archive of {len(copy)} bytes: {names}")
        assert any("events" in name for name in names), names

        erase = page.get_by_role("button", name="Erase everything")
        expect(erase).to_be_disabled()
        page.get_by_role("textbox").fill("erase")
        erase.click()
        shown(page, "Everything is erased")
        receipt = page.locator("[data-erased] code")
        expect(receipt).to_have_text(re.compile("^rcp_"))
        page.get_by_role("button", name="Done").click()
        # Signed out; who signs in again begins anew.
        sign_in(page, scene)
        shown(page, "No Ring account is linked yet")


def console(scene):
    ring = Ring(scene)
    door = scene["devices"][DOOR]
    with browsing(scene) as context:
        page = at_home(context, scene)

        # A policy, set and found again.
        card(page, DOOR).get_by_role("button", name="Details").click()
        sheet = page.locator("dialog.device")
        expect(sheet.get_by_text("1 motion zone")).to_be_visible()
        expect(sheet.locator(".zones polygon.motion")).to_have_count(1)
        box = sheet.get_by_role("checkbox", name="A person: Snapshot")
        box.check()
        sheet.get_by_role("button", name="Save").click()
        expect(sheet.get_by_text("Saved.")).to_be_visible()
        page.keyboard.press("Escape")
        card(page, DOOR).get_by_role("button", name="Details").click()
        expect(box).to_be_checked()
        page.keyboard.press("Escape")
        # And it is kept: motion brings its picture with it.
        ring.happens(door, sub_type="human")
        expect(page.locator('[data-event="motion_detected"] .thumb img')).to_be_visible(timeout=60_000)

        # A camera that goes offline says so by itself.
        ring.user(f"devices/{door}", {"online": False, "announce": True}, method="PATCH")
        expect(card(page, DOOR).locator(".state")).to_have_text("Offline")
        expect(card(page, DOOR).get_by_role("button", name="Live")).to_be_disabled()
        ring.user(f"devices/{door}", {"online": True, "announce": True}, method="PATCH")
        expect(card(page, DOOR).locator(".state")).to_have_text("Online")

        # A set-up that is not completed is completed here.
        links = api(scene, "GET", "links")["items"]
        api(scene, "PATCH", f"links/{links[0]['id']}", {"status": "awaiting"})
        banner = page.locator('[data-banner="awaiting"]')
        expect(banner).to_be_visible()
        banner.get_by_role("button", name="Complete the set-up").click()
        expect(banner).to_have_count(0)
        links = api(scene, "GET", "links")["items"]
        assert links[0]["status"] == "completed", links

        # No network, and again; what is known stays.
        context.set_offline(True)
        expect(page.locator('[data-banner="offline"]')).to_be_visible()
        expect(card(page, DOOR)).to_be_visible()
        context.set_offline(False)
        expect(page.locator('[data-banner="offline"]')).to_have_count(0)

        # What Ring has not told for long is said to be old.
        def older(route):
            devices = api(scene, "GET", "devices")
            for device in devices["items"]:
                device["ring"] = "degraded"
            route.fulfill(json=devices)
        page.route("**/v1/devices?*", older)
        page.reload()
        expect(page.locator('[data-banner="degraded"]')).to_contain_text("You see what was known last.")
        page.unroute("**/v1/devices?*")

        # Unlinked, nothing is left to see, and the page says how to begin.
        page.reload()
        page.get_by_role("button", name="Your account").click()
        page.get_by_role("button", name="Unlink").click()
        page.get_by_role("button", name="Yes, unlink").click()
        expect(page.get_by_text("No Ring account is linked.", exact=True)).to_be_visible()
        page.keyboard.press("Escape")
        shown(page, "No Ring account is linked yet")
        # A token that is refused ends in the sign-in, and not in an error.
        page.route("**/v1/**", lambda route: route.fulfill(status=401, json={"message": "Unauthorized"}))
        expect(page.get_by_text("You were signed out.")).to_be_visible()


def held_to_the_rules(page, where):
    """No serious finding, and none worse."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).response["violations"]
    serious = [
        (violation["id"], violation["help"], [node["html"][:160] for node in violation["nodes"][:3]])
        for violation in found if violation["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{where}: {json.dumps(serious, indent=1)}"
    print(f"{where}: {len(found)} minor")


def accessible(scene):
    ring = Ring(scene)
    ring.happens(scene["devices"][DOOR], sub_type="human")
    windows = [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
    ]
    for options in windows:
        where = f"{options['color_scheme']}, {options.get('viewport', {}).get('width', 1280)}"
        # The rules are run from within the page, which its own policy would not let in.
        with browsing(scene, bypass_csp=True, **options) as context:
            page = context.new_page()
            page.goto(scene["home_url"])
            expect(page.get_by_role("button", name="Sign in")).to_be_visible()
            held_to_the_rules(page, f"{where}: signed out")
            sign_in(page, scene)
            expect(page.locator(".event[data-event]").first).to_be_visible()
            held_to_the_rules(page, f"{where}: console")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where}: nothing hangs over the side"
            card(page, DOOR).get_by_role("button", name="Details").click()
            expect(page.locator(".policy")).to_be_visible()
            held_to_the_rules(page, f"{where}: a camera")
            page.keyboard.press("Escape")
            card(page, DOOR).get_by_role("button", name="Snapshot").click()
            expect(page.locator('[data-medium="stored"]')).to_be_visible(timeout=60_000)
            held_to_the_rules(page, f"{where}: a snapshot")
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Your account").click()
            expect(page.locator(".links li strong")).to_be_visible()
            held_to_the_rules(page, f"{where}: the account")
            page.keyboard.press("Escape")
            page.goto(ring.confirm())
            shown(page, "This account is linked to you already")
            held_to_the_rules(page, f"{where}: linked")
            page.goto(scene["link_url"])
            shown(page, "Start in the Ring app")
            held_to_the_rules(page, f"{where}: nothing to link")


def keyboard(scene):
    ring = Ring(scene)
    with browsing(scene) as context:
        page = context.new_page()

        def press(name):
            """Goes there by the Tab key, and presses Enter."""
            for _ in range(60):
                page.keyboard.press("Tab")
                focused = page.evaluate("(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()")
                if focused.startswith(name):
                    seen = page.evaluate("(style => style.outlineStyle + ' ' + style.outlineWidth)(getComputedStyle(document.activeElement))")
                    assert seen == "solid 3px", f"{name} shows that it is meant: {seen}"
                    page.keyboard.press("Enter")
                    return
            raise AssertionError(f"the keyboard does not come to {name}")

        page.goto(ring.confirm())
        shown(page, "Link your Ring account")
        press("Sign in")
        page.locator("#username").wait_for()
        page.keyboard.type(scene["email"])
        page.keyboard.press("Tab")
        page.keyboard.type(scene["password"])
        page.keyboard.press("Enter")
        shown(page, "Is this your Ring account?")
        press("Link this account")
        shown(page, "Your Ring account is linked")
        press("Go to your cameras")
        expect(card(page, DOOR)).to_be_visible()
        press("Skip to the cameras")
        assert page.evaluate("document.activeElement.id") == "page"
        press("Live: Front Door")
        expect(page.locator(".live")).to_have_attribute("data-live", "live")
        press("Stop watching")
        press("Save")
        expect(page.get_by_text("Saved.")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        assert page.evaluate("document.activeElement.ariaLabel") == "Live: Front Door", "one is back where one was"
        ring.happens(page.locator(".camera", has_text=DOOR).get_attribute("data-device"))
        expect(page.locator(".event[data-event]")).to_be_visible()
        press("Clip of ")
        expect(page.locator('[data-medium="stored"]')).to_be_visible(timeout=60_000)
        page.keyboard.press("Escape")


def pictures(scene):
    """Each page as a person sees it, for the documents."""
    ring = Ring(scene)
    devices = scene["devices"]
    folder = pathlib.Path(scene["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    policy = {"on": {"motion_detected": {"human": ["snapshot", "clip"], "default": ["snapshot"]}, "button_press": ["snapshot"]}, "duration": 10_000}
    api(scene, "PUT", "policies", {"devices": [devices[name] for name in (DOOR, GARDEN, "Living Room")], "policy": policy})
    for name, kind, moved in [
        ("Garden", "motion_detected", "animal"), ("Living Room", "motion_detected", "human"), (DOOR, "motion_detected", "package"),
        (DOOR, "button_press", None), (GARDEN, "motion_detected", "human"), (DOOR, "motion_detected", "human"),
    ]:
        ring.happens(devices[name], kind, **({"sub_type": moved} if moved else {}))
        time.sleep(1.2)

    def shot(page, name):
        path = folder / f"{name}.png"
        page.wait_for_timeout(400)
        page.screenshot(path=path)
        assert 4_000 < path.stat().st_size < 400_000, f"{name}: {path.stat().st_size} bytes"

    def ready(context):
        page = at_home(context, scene)
        expect(page.locator(".view img")).to_have_count(3, timeout=60_000)
        expect(page.locator(".event .thumb img")).to_have_count(6, timeout=60_000)
        page.locator("body").click(position={"x": 4, "y": 400})
        return page

    with browsing(scene, viewport={"width": 1200, "height": 800}) as context:
        page = context.new_page()
        page.goto(ring.confirm(account=scene["other_account"]))
        shown(page, "Link your Ring account")
        shot(page, "link-sign-in")
        sign_in(page, scene)
        shown(page, "Is this your Ring account?")
        shot(page, "link-confirm")
        page.get_by_role("button", name="Not mine").click()
        page.goto(ring.confirm())
        shown(page, "This account is linked to you already")
        shot(page, "link-done")
        page.goto(scene["link_url"] + "?nonce=" + "m0hVxkW1rV7Gx0jQpD0Yw3XlGJ0y8o3Zb1cFv6qk2sE" + "&time=1770989995231")
        shown(page, "This request has expired")
        shot(page, "link-expired")
    with browsing(scene, viewport={"width": 1200, "height": 800}) as context:
        page = ready(context)
        shot(page, "console")
        card(page, DOOR).get_by_role("button", name="Live").click()
        expect(page.locator(".live")).to_have_attribute("data-live", "live")
        page.wait_for_timeout(1_500)
        shot(page, "live")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Your account").click()
        expect(page.locator(".links li strong")).to_be_visible()
        shot(page, "account")
    with browsing(scene, viewport={"width": 1200, "height": 800}, color_scheme="dark") as context:
        page = ready(context)
        shot(page, "console-dark")
        page.locator(".event").first.get_by_role("button").click()
        expect(page.locator('[data-medium="stored"]')).to_be_visible(timeout=60_000)
        page.wait_for_timeout(1_000)
        shot(page, "clip-dark")
    with browsing(scene, viewport={"width": 390, "height": 780}) as context:
        page = ready(context)
        shot(page, "console-phone")
        card(page, GARDEN).get_by_role("button", name="Details").click()
        expect(page.locator(".zones polygon.privacy")).to_have_count(2)
        expect(page.locator("dialog .stage img")).to_be_visible()
        shot(page, "camera-phone")


if __name__ == "__main__":
    globals()[sys.argv[1]](json.load(sys.stdin))
