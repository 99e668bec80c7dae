"""Runs a program for as long as somebody holds the other end of this process's standard input.

The runner may end in any way, also by a signal that nobody can catch: then the kernel closes that pipe, and whatever the
program left running is ended here. Arguments: the program and its arguments. Exits with the program's status.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_SECONDS = 3.0


def prctl(option, value):
    """Linux alone; elsewhere the process group is all that is ended."""
    try:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def orphans():
    """Children of this process, among them those that the program's own children left behind."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append(int(entry))
    return found


def end(program):
    """Asks the program and all that it started to end, and insists after a while."""

    def tell(what):
        try:
            os.killpg(program.pid, what)
        except (ProcessLookupError, PermissionError):
            pass

    tell(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    tell(signal.SIGKILL)
    program.wait()
    for _ in range(50):
        left = orphans()
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def main():
    # A terminal's Ctrl-C goes to the whole foreground group; it is the runner's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    program = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    once = threading.Lock()

    def finish():
        with once:
            end(program)
            os._exit(program.returncode if program.returncode >= 0 else 1)

    def outlived():
        program.wait()
        finish()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=finish).start())
    threading.Thread(target=outlived, daemon=True).start()
    while True:
        try:
            if not os.read(0, 4096):
                break
        except InterruptedError:
            continue
        except OSError:
            break
    finish()


main()
