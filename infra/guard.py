"""Runs a program and ends it when the process that asked for it is gone, however that went.

``python guard.py OUTPUT PROGRAM ARGUMENT...`` with the read end of a pipe as stdin: end of file there means that the
asker has died or let go. (Linux's parent-death signal alone is not enough: it follows the *thread* that started the
child, and does not exist elsewhere.) The program's pid is printed on stdout, its output goes to the file OUTPUT.

Run as a script with ``-I -S``, so that it starts in 15 ms: nothing but the standard library here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    """In the child: should the guard itself be killed, follow it (Linux; this guard's main thread lives as long)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(output: str, program: list[str]) -> int:
    """Run ``program`` until it ends or stdin does; return its exit status."""
    with open(output, "ab") as log:  # noqa: PTH123 - importing pathlib would double the start time
        # No thread runs yet, so that preexec_fn is safe.
        child = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_guard,  # noqa: PLW1509
        )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_asker, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_asker(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]) and 1)
