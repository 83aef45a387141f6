"""What a worker keeps on purpose is bounded: the soak empties these caches, so that nothing hides in them."""

from schemas.session import Session
from schemas.varint import _RECENT, Varints
from state.decoded import DecodedSessions
from topics.partitioner import partition_for


def test_decoded_sessions_beyond_bound_oldest_leaves() -> None:
    """Three times as many sessions as are kept."""
    kept = DecodedSessions(kept=100)
    for number in range(300):
        kept.put(0, b"s%d" % number, Session(session_id=f"s{number}"), 10)
    assert len(kept._sessions) == 100
    assert kept.get(0, b"s0") is None
    assert kept.get(0, b"s299") is not None


def test_decoded_sessions_beyond_size_oldest_leave() -> None:
    """Long memories: few are kept; a session that grows counts once, a partition that goes counts no more."""
    kept = DecodedSessions(kept_bytes=1000)
    for number in range(8):
        kept.put(number % 2, b"s%d" % number, Session(session_id=f"s{number}"), 100)
    kept.put(1, b"s7", Session(session_id="s7"), 500)
    assert [key for _, key in kept._sessions] == [b"s2", b"s3", b"s4", b"s5", b"s6", b"s7"]
    assert kept._bytes == 1000
    kept.forget(0)
    kept.forget(1)
    assert (kept._bytes, len(kept._sessions)) == (0, 0)


def test_varints_beyond_bound_begin_anew() -> None:
    """Three times as many numbers as are remembered."""
    varints = Varints()
    for number in range(3 * _RECENT):
        assert varints[number]
    assert len(varints) <= _RECENT


def test_partitions_of_keys_are_a_bounded_cache() -> None:
    """Keys are remembered, not all of them."""
    assert partition_for.cache_info().maxsize is not None
