"""A camera by aiortc: reads an offer, up to a line with a dot alone, writes its answer the same way, and sends H.264 until its
input ends. What it sent, in frames, it says at the end."""

import asyncio
import sys
from fractions import Fraction

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender

FRAMES_A_SECOND = 15
WIDTH, HEIGHT = 640, 360
CLOCK = 90_000

# The tests' recorder is reached on the loopback, which aioice leaves out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Pattern(MediaStreamTrack):
    """A bar that moves over a ramp."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.sent = 0
        self.began = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.began = self.began or loop.time()
        await asyncio.sleep(max(0, self.began + self.sent / FRAMES_A_SECOND - loop.time()))
        at = self.sent * 7 % (WIDTH - 40)
        line = bytearray(x * 255 // WIDTH for x in range(WIDTH))
        line[at : at + 40] = bytes([255 - self.sent % 200]) * 40
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        frame.planes[0].update(bytes(line) * HEIGHT)
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = self.sent * CLOCK // FRAMES_A_SECOND, Fraction(1, CLOCK)
        self.sent += 1
        return frame


def read_offer():
    lines = iter(sys.stdin.readline, ".\n")
    return "".join(line.rstrip("\r\n") + "\r\n" for line in lines)


async def main():
    loop = asyncio.get_running_loop()
    connection = RTCPeerConnection()
    track = Pattern()
    offer = await loop.run_in_executor(None, read_offer)
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    connection.addTrack(track)
    h264 = [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType == "video/H264"]
    connection.getTransceivers()[0].setCodecPreferences(h264)
    await connection.setLocalDescription(await connection.createAnswer())
    print(connection.localDescription.sdp + ".", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await connection.close()
    print(track.sent, flush=True)


asyncio.run(main())
