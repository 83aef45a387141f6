"""``doctor --rebuild`` in a process that kills itself: ``python -m tests.support.rebuild_main SERVERS PREFIX POINT N``.

``POINT`` is a method of the rebuild, ``N`` the call of it at whose end the process gets a SIGKILL; 0 is never.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from state import audit_rebuild
from topics.names import TopicNames


def main() -> None:
    """Run it to its end, or to its death."""
    servers, prefix, point, number = sys.argv[1:]
    method, calls = getattr(audit_rebuild._Rebuild, point), 0

    def counted(self: Any, *args: Any) -> None:
        nonlocal calls
        method(self, *args)
        calls += 1
        if calls == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(audit_rebuild._Rebuild, point, counted)
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    audit_rebuild.rebuild(servers, TopicNames(prefix))


if __name__ == "__main__":
    main()
