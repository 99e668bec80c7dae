"""A camera by GStreamer's webrtcbin: reads an offer, up to a line with a dot alone, writes its answer the same way, and sends
H.265 until its input ends. What it sent, in frames, it says at the end."""

import sys
import threading
import time

import gi

for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

# What the offer calls H.265, and what is sent.
PIPELINE = """
    webrtcbin name=peer bundle-policy=max-bundle
    videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=15/1
    ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=300 ! h265parse
    ! rtph265pay name=pay config-interval=-1 pt={format}
    ! application/x-rtp,media=video,encoding-name=H265,payload={format},clock-rate=90000 ! peer.
"""
GATHERED_WITHIN = 10


def read_offer():
    lines = iter(sys.stdin.readline, ".\n")
    return "".join(line.rstrip("\r\n") + "\r\n" for line in lines if line.strip())


def asked(peer, what, *of):
    promise = Gst.Promise.new()
    peer.emit(what, *of, promise)
    promise.wait()
    # The reply is the promise's own.
    return promise


def main():
    Gst.init(None)
    offer = read_offer()
    format = next(line for line in offer.splitlines() if " H265/90000" in line).split(":")[1].split()[0]
    pipeline = Gst.parse_launch(PIPELINE.format(format=format))
    peer, sent = pipeline.get_by_name("peer"), [0]

    def count(pad, info):
        sent[0] += 1
        return Gst.PadProbeReturn.OK

    pipeline.get_by_name("pay").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, count)
    pipeline.set_state(Gst.State.PLAYING)
    _, message = GstSdp.SDPMessage.new()
    GstSdp.sdp_message_parse_buffer(offer.encode(), message)
    offered = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
    asked(peer, "set-remote-description", offered)
    created = asked(peer, "create-answer", None)
    # What it has in it is freed with it.
    reply = created.get_reply()
    answer = reply.get_value("answer")
    asked(peer, "set-local-description", answer)
    late = time.monotonic() + GATHERED_WITHIN
    while peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        if time.monotonic() > late:
            raise SystemExit("no candidates were gathered")
        time.sleep(0.02)
    print(peer.get_property("local-description").sdp.as_text().replace("\r\n", "\n") + ".", flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    print(sent[0], flush=True)


main()
