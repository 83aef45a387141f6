"""Cancels that came before their messages."""

import asyncio

from streams.early_cancels import EarlyCancels


async def test_early_cancel_is_taken_once_by_either_id() -> None:
    """By its message or by its turn; the caller acknowledges it."""
    done: list[str] = []
    cancels = EarlyCancels(most=10, keep_s=60)
    cancels.remember(b"s", "m", "why", lambda: done.append("m"))
    assert cancels.take(b"another", "m") is None
    taken = cancels.take(b"s", "t", "m")
    assert taken is not None
    assert taken.reason == "why"
    assert taken.timer.cancelled()
    assert cancels.take(b"s", "m") is None
    assert done == []


async def test_early_cancel_beyond_the_bound_the_oldest_is_acknowledged() -> None:
    """And one for the same message takes the place of the one before."""
    done: list[str] = []
    cancels = EarlyCancels(most=2, keep_s=60)
    for name in ("a", "b", "c"):
        cancels.remember(b"s", name, "", lambda name=name: done.append(name))
    cancels.remember(b"s", "c", "", lambda: done.append("c again"))
    assert done == ["a", "c"]
    assert len(cancels) == 2
    cancels.clear()


async def test_early_cancel_nobody_comes_for_is_acknowledged_in_time() -> None:
    """The commit of its controls goes on."""
    forgotten = asyncio.Event()
    EarlyCancels(most=2, keep_s=0.01).remember(b"s", "m", "", forgotten.set)
    await asyncio.wait_for(forgotten.wait(), 60)


async def test_early_cancels_cleared_nothing_is_acknowledged() -> None:
    """The partition is lost: they are delivered again to its next owner."""
    done: list[str] = []
    cancels = EarlyCancels(most=2, keep_s=0.01)
    cancels.remember(b"s", "m", "", lambda: done.append("m"))
    cancels.clear()
    await asyncio.sleep(0.03)
    assert done == []
    assert not cancels
