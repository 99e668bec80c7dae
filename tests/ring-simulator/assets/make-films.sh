#!/bin/sh
# Makes the films that live sessions send: Annex B streams of a test pattern with a clock in it, a key frame every two seconds
# with its parameter sets before it, no B-frames, one slice a frame. Needs ffmpeg (apt-get install ffmpeg). The results are in
# the repository: tests and simulator need no ffmpeg.
set -eu
cd "$(dirname "$0")"
QUIET="-hide_banner -loglevel error -y"
film() { # name, size, seconds
  SOURCE="-f lavfi -i testsrc2=size=$2:rate=15:duration=$3 -pix_fmt yuv420p -threads 1 -fflags +bitexact -flags:v +bitexact"
  ffmpeg $QUIET $SOURCE -c:v libx264 -profile:v baseline -preset veryslow -tune zerolatency -g 30 -sc_threshold 0 -b:v 200k -maxrate 300k -bufsize 300k \
    -x264-params sliced-threads=0:slices=1:threads=1 -bsf:v filter_units=remove_types=6 -f h264 "$1-avc.h264"
  ffmpeg $QUIET $SOURCE -c:v libx265 -preset slow \
    -x265-params log-level=none:keyint=30:min-keyint=30:scenecut=0:repeat-headers=1:bframes=0:open-gop=0:bitrate=180:vbv-maxrate=280:vbv-bufsize=280:frame-threads=1:slices=1:info=0 \
    -bsf:v filter_units=remove_types=39-40 -f hevc "$1-hevc.h265"
}
film film 640x360 6
film film-small 480x270 4 # other parameter sets, for a stream that changes them
