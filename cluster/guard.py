"""Run a command, and end it with everything it started when the process that asked for it is gone.

Run as a script: `python guard.py COMMAND …`, in a process group of its own, with a pipe from the asking process as
stdin. That pipe closes however the asking process ends, be it by SIGKILL. Imports nothing but the standard library.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys

POLL_S = 0.5
GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run the command and return its exit status."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to the whole group: the command ends by itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_restore_signals)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while child.poll() is None:
            if selector.select(POLL_S) and not os.read(sys.stdin.fileno(), 1):
                _end_group(child)
    return child.returncode


def _end_group(child: subprocess.Popen[bytes]) -> None:
    os.killpg(0, signal.SIGTERM)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        os.killpg(0, signal.SIGKILL)  # this process too: nothing of the group may stay


def _restore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
