"""GStreamer, for the recorder's bench: `film FILE` makes the film, `record` records what the first line of the input names, until
it ends, and `decode FILE…` counts the frames of films, which it decodes."""

import json
import sys
import threading
import time
import urllib.request

import gi

for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

WITHIN = 10
# A key frame every two seconds with its parameter sets, one slice a frame; a moving pattern, so that 3 Mbit/s are needed.
FILM = """
    videotestsrc pattern=zone-plate kx2=20 ky2=20 kt=1 num-buffers=240 ! video/x-raw,format=I420,width=1920,height=1080,framerate=15/1
    ! openh264enc bitrate=3000000 max-bitrate=3600000 rate-control=bitrate gop-size=30 multi-thread=1 slice-mode=n-slices num-slices=1
    ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! filesink location={file}
"""
# In groups of two seconds, so that what is there can be played, as ours can.
KEPT = "queue ! rtph264depay ! h264parse ! mp4mux fragment-duration=2000 ! filesink name=file location={file}"
OFFERED = (
    "application/x-rtp,media=video,encoding-name=H264,payload=102,clock-rate=90000,"
    "packetization-mode=(string)1,profile-level-id=(string)42e01f,rtcp-fb-nack=(boolean)true,rtcp-fb-nack-pli=(boolean)true"
)


def run(pipeline):
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        raise SystemExit(message.parse_error()[0].message)


def film(file):
    run(Gst.parse_launch(FILM.format(file=file)))


def decode(files):
    for file in files:
        pipeline = Gst.parse_launch(
            f"filesrc location={file} ! qtdemux ! h264parse ! openh264dec name=decoder ! fakesink sync=false"
        )
        frames = [0]

        def count(pad, info):
            frames[0] += 1
            return Gst.PadProbeReturn.OK

        pipeline.get_by_name("decoder").get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, count)
        run(pipeline)
        print(frames[0], flush=True)


def asked(peer, what, *of):
    promise = Gst.Promise.new()
    peer.emit(what, *of, promise)
    promise.wait()
    return promise


class Recording:
    def __init__(self, told, number, device):
        self.file = f"{told['folder']}/{number}.mp4"
        self.pipeline = Gst.Pipeline.new()
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.peer)
        self.peer.connect("pad-added", self.kept)
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        transceiver = self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(OFFERED))
        transceiver.set_property("do-nack", True)
        self.pipeline.set_state(Gst.State.PLAYING)
        promise = asked(self.peer, "create-offer", None)
        reply = promise.get_reply()
        asked(self.peer, "set-local-description", reply.get_value("offer"))
        late = time.monotonic() + WITHIN
        while self.peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            if time.monotonic() > late:
                raise SystemExit("no candidates were gathered")
            time.sleep(0.02)
        offer = self.peer.get_property("local-description").sdp.as_text()
        self.bearer = {"Authorization": f"Bearer {told['token']}"}
        path = f"{told['api']}/v1/devices/{device}/media/streaming/whep/sessions"
        request = urllib.request.Request(
            path, offer.encode(), {**self.bearer, "Content-Type": "application/sdp"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=WITHIN) as response:
            self.session, answer = response.headers["Location"], response.read()
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(answer, message)
        answered = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        asked(self.peer, "set-remote-description", answered)

    def kept(self, peer, pad):
        kept = Gst.parse_bin_from_description(KEPT.format(file=self.file), True)
        self.pipeline.add(kept)
        kept.sync_state_with_parent()
        pad.link(kept.get_static_pad("sink"))
        self.pad, self.ended = kept.get_static_pad("sink"), threading.Event()

        def look(pad, info):
            if info.get_event().type == Gst.EventType.EOS:
                self.ended.set()
            return Gst.PadProbeReturn.OK

        kept.get_by_name("file").get_static_pad("sink").add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, look)

    def end(self):
        self.pad.send_event(Gst.Event.new_eos())
        # The pipeline itself never ends: it has the sinks of its connection, too.
        ended = self.ended.wait(WITHIN)
        self.pipeline.set_state(Gst.State.NULL)
        urllib.request.urlopen(
            urllib.request.Request(self.session, headers=self.bearer, method="DELETE"), timeout=WITHIN
        ).close()
        if not ended:
            raise SystemExit(f"{self.file} was not finished")
        return {"file": self.file}


def record():
    told = json.loads(sys.stdin.readline())
    recordings = [Recording(told, number, device) for number, device in enumerate(told["devices"])]
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()
    print(json.dumps([recording.end() for recording in recordings]), flush=True)


Gst.init(None)
{"film": lambda: film(*sys.argv[2:]), "record": record, "decode": lambda: decode(sys.argv[2:])}[sys.argv[1]]()
