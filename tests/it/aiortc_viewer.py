"""Watches a device through our door with aiortc, a WebRTC peer that nobody here wrote: sends its offer by WHEP, decodes what comes,
and closes. Told on its input where; says on its output what it saw."""

import asyncio
import json
import sys
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

FRAMES = 60
PATIENCE_S = 20


def ask(scene, method, path, body=None):
    headers = {"Host": scene["host"], "Authorization": "Bearer " + scene["token"], "Content-Type": "application/sdp"}
    request = urllib.request.Request(scene["url"] + path, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.status, answer.headers, answer.read().decode()


async def watched(scene):
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks = asyncio.Queue()
    connection.on("track", tracks.put_nowait)
    connection.addTransceiver("video", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp.encode()
    status, headers, answer = await asyncio.to_thread(ask, scene, "POST", scene["route"], offer)
    seen = {"status": status, "frames": 0, "moments": 0}
    try:
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        track = await tracks.get()
        moments = set()
        for _ in range(FRAMES):
            frame = await track.recv()
            seen["frames"] += 1
            seen["size"] = [frame.width, frame.height]
            moments.add(frame.pts)
        seen["moments"] = len(moments)
    finally:
        seen["closed"], _, _ = await asyncio.to_thread(ask, scene, "DELETE", headers["Location"])
        await connection.close()
    return seen


print(json.dumps(asyncio.run(asyncio.wait_for(watched(json.load(sys.stdin)), 2 * PATIENCE_S))))
