"""The header that every table value begins with."""

from __future__ import annotations

import pytest

from schemas.errors import StoreError
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.fold import FOLD_VERSION
from state.value import FORMAT, KIND_PARTITION, KIND_SESSION, ValueCodec, header_of

CODEC = ValueCodec(Codec())
SESSION = Session(session_id="s1", folded=41, epoch=7)
STATE = PartitionState(partition=2, folded=9, epochs=(3, 9), owner="w")


def test_header_of_a_session_says_how_far_it_is_folded_without_a_body() -> None:
    """The first 20 bytes decide which of two values is newer."""
    raw = CODEC.encode(SESSION)

    assert header_of(raw[:20]) == (FORMAT, KIND_SESSION, FOLD_VERSION, 7, 41)
    assert CODEC.decode_session(raw) == SESSION


def test_header_of_a_partition_state_carries_its_epoch() -> None:
    """The partition's own record has the same header, of another kind."""
    raw = CODEC.encode(STATE)

    assert header_of(raw) == (FORMAT, KIND_PARTITION, FOLD_VERSION, 9, 9)
    assert CODEC.decode_partition(raw) == STATE


@pytest.mark.parametrize(
    "raw", [b"", b"\x01S", b"\x02" + CODEC.encode(SESSION)[1:], b"\x01X" + CODEC.encode(SESSION)[2:]]
)
def test_header_of_foreign_bytes_is_refused(raw: bytes) -> None:
    """Too short, another format, another kind: one typed error. Mutant: the check of format and kind removed."""
    with pytest.raises(StoreError):
        header_of(raw)


def test_decode_of_the_other_kind_is_refused() -> None:
    """F16: a record of another table is never taken for a session. Mutant: the kind not checked in ``decode_*``."""
    with pytest.raises(StoreError):
        CODEC.decode_session(CODEC.encode(STATE))
    with pytest.raises(StoreError):
        CODEC.decode_partition(CODEC.encode(SESSION))
