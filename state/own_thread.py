"""Long work beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def in_own_thread(name: str, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
    """Run ``work`` in a thread that ends with it; the loop's own few may all be taken."""
    threads = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        return asyncio.wrap_future(threads.submit(work, *args, **kwargs))
    finally:
        threads.shutdown(wait=False)
