"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import resource


def raise_file_limit() -> int:
    """Raise the limit to what the system allows without asking anybody, and return it.

    The customary 1,024 would refuse the thousandth stream; the limit that is left is the administrator's.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
