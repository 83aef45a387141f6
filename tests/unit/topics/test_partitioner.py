"""The key and partition of a session, checked against Java's and aiokafka's murmur2."""

import json
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidMessageError
from topics.partitioner import murmur2, partition_for, session_key, split_key

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "murmur2.json").read_text())["vectors"]


def test_murmur2_java_vectors_are_equal() -> None:
    """A hundred keys of 0 to 420 bytes, hashed by Kafka's own Java client."""
    assert len(GOLDEN) == 100
    for vector in GOLDEN:
        key = bytes.fromhex(vector["key"])
        assert murmur2(key) == vector["murmur2"] & 0xFFFFFFFF
        assert partition_for(key, 16) == vector["of_16"]
        assert partition_for(key, 7) == vector["of_7"]


@given(st.binary(max_size=300))
def test_murmur2_any_bytes_equals_aiokafkas(data: bytes) -> None:
    """Faust's own producer hashes with aiokafka's."""
    assert murmur2(data) == aiokafka_murmur2(data) & 0xFFFFFFFF


@given(st.binary(max_size=60), st.integers(1, 200))
def test_partition_for_any_key_equals_aiokafkas_default_partitioner(key: bytes, partitions: int) -> None:
    """The whole function, not the hash alone."""
    everything = list(range(partitions))
    assert partition_for(key, partitions) == DefaultPartitioner()(key, everything, everything)


def test_partition_for_many_sessions_uses_every_partition_evenly() -> None:
    """No partition gets less than half or more than twice its share."""
    counts = [0] * 16
    for number in range(16_000):
        counts[partition_for(session_key(f"session-{number}"), 16)] += 1
    assert min(counts) > 500
    assert max(counts) < 2000


@pytest.mark.parametrize("partitions", [0, -1])
def test_partition_for_no_partitions_raises(partitions: int) -> None:
    """A topic has at least one."""
    with pytest.raises(ValueError, match="at least one"):
        partition_for(b"k", partitions)


def test_session_key_without_tenant_is_the_session_id() -> None:
    """What a plain Kafka client sends as the key."""
    assert session_key("bär") == "bär".encode()


def test_session_key_with_tenant_joins_both() -> None:
    """Behind a tenant a session id may contain the separator."""
    assert session_key("s/1", "acme") == b"acme/s/1"


@pytest.mark.parametrize(
    ("session_id", "tenant", "reason"),
    [
        ("", None, "invalid_session_id"),
        ("", "t", "invalid_session_id"),
        ("a/b", None, "invalid_session_id"),
        ("\ud800", None, "invalid_session_id"),
        ("s", "", "invalid_tenant"),
        ("s", "a/b", "invalid_tenant"),
        ("s", "\ud800", "invalid_tenant"),
    ],
)
def test_session_key_ambiguous_or_empty_is_refused(session_id: str, tenant: str | None, reason: str) -> None:
    """``a/b`` could be a session, or session ``b`` of tenant ``a``."""
    with pytest.raises(InvalidMessageError) as caught:
        session_key(session_id, tenant)
    assert caught.value.reason == reason


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_no_slash = _text.filter(lambda text: "/" not in text)


@given(st.one_of(st.tuples(st.none(), _no_slash), st.tuples(_no_slash, _text)))
def test_split_key_any_session_key_gives_its_parts_back(parts: tuple[str | None, str]) -> None:
    """So two sessions never share a key."""
    tenant, session_id = parts
    assert split_key(session_key(session_id, tenant)) == parts


@pytest.mark.parametrize("key", [b"", b"/", b"/s", b"t/", b"\xff"])
def test_split_key_names_no_session_is_refused(key: bytes) -> None:
    """A key from a foreign client may be anything."""
    with pytest.raises(InvalidMessageError) as caught:
        split_key(key)
    assert caught.value.reason == "invalid_key"
