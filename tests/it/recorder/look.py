"""Looks at a film as FFmpeg's libraries see it: decodes all of it, and says what there is as JSON."""

import json
import sys

import av
import av.logging

av.logging.set_level(av.logging.WARNING)
with av.logging.Capture(local=False) as said:
    with av.open(sys.argv[1]) as film:
        video = film.streams.video[0]
        # One thread, so that what is said is said in here.
        video.codec_context.thread_count = 1
        times = []
        sizes = []
        for frame in film.decode(video):
            times.append(float(frame.time))
            size = [frame.width, frame.height]
            if not sizes or sizes[-1] != size:
                sizes.append(size)
        seen = {
            "codec": video.codec_context.name,
            "frames": len(times),
            "begins": times[0] if times else None,
            "ends": times[-1] if times else None,
            "sizes": sizes,
            "duration": film.duration / av.time_base if film.duration else None,
        }
seen["said"] = [message for level, name, message in said]
print(json.dumps(seen))
