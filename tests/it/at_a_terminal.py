"""Runs a program at a terminal of its own, types an answer to each prompt, and prints all that the terminal shows.

The first argument is JSON: a list of a prompt and its answer. The rest is the program. Its status is the status.
"""

import json
import os
import pty
import select
import sys
import time

PATIENCE = 30

answers = json.loads(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""


def read():
    """More of what is shown; nothing at its end."""
    if not select.select([terminal], [], [], PATIENCE)[0]:
        sys.exit(f"nothing is shown any more, after {shown.decode()!r}")
    try:
        return os.read(terminal, 4096)
    except OSError:  # the end of a terminal on Linux
        return b""


for prompt, answer in answers:
    since = len(shown)
    while prompt.encode() not in shown[since:]:
        more = read()
        if not more:
            sys.exit(f"it ended before {prompt!r}, after {shown.decode()!r}")
        shown += more
    time.sleep(0.3)  # nobody types before the echo is off
    os.write(terminal, answer.encode() + b"\n")
while more := read():
    shown += more
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
