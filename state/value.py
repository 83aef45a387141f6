"""A table value on the wire and on disk: a fixed header, then the encoded session or partition state.

Header, 20 bytes, big-endian: format (u8), kind (u8: ``S`` session, ``P`` partition), fold version (u16),
epoch (i64), folded (i64). The header alone decides which of two values is newer, without decoding a body.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

from schemas.errors import StoreError
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.fold import FOLD_VERSION

FORMAT: Final = 1
KIND_SESSION: Final = ord("S")
KIND_PARTITION: Final = ord("P")

#: Table key of a partition's own record; no session key can begin with a zero byte.
PARTITION_KEY: Final = b"\x00partition"

#: The least key that a session can have.
FIRST_SESSION_KEY: Final = b"\x01"

_HEADER = Struct(">BBHqq")


class ValueHeader(NamedTuple):
    """What a value says of itself before its body."""

    format: int
    kind: int
    fold_version: int
    epoch: int
    folded: int


def header_of(value: bytes) -> ValueHeader:
    """Read a value's header.

    Raises:
        StoreError: The bytes are too short, or of a format or kind this version does not know.
    """
    try:
        header = ValueHeader._make(_HEADER.unpack_from(value))
    except error:
        msg = f"a table value of {len(value)} bytes has no header"
        raise StoreError(msg) from None
    if header.format != FORMAT or header.kind not in {KIND_SESSION, KIND_PARTITION}:
        msg = f"a table value has format {header.format} and kind {header.kind}; this version reads format {FORMAT}"
        raise StoreError(msg)
    return header


class ValueCodec:
    """Sessions and partition states to table values and back."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, value: Session | PartitionState) -> bytes:
        """Return header and body."""
        if isinstance(value, Session):
            header = _HEADER.pack(FORMAT, KIND_SESSION, FOLD_VERSION, value.epoch, value.folded)
            return header + self._codec.encode_session(value)
        epoch = value.epochs[-1] if value.epochs else -1
        header = _HEADER.pack(FORMAT, KIND_PARTITION, FOLD_VERSION, epoch, value.folded)
        return header + self._codec.encode_partition_state(value)

    def decode_session(self, raw: bytes) -> Session:
        """Return the session of a value.

        Raises:
            StoreError: The value is no session (hazard F16: a foreign record in the table).
        """
        if header_of(raw).kind != KIND_SESSION:
            msg = "a session's key holds another kind of value"
            raise StoreError(msg)
        return self._codec.decode_session(raw[_HEADER.size :])

    def decode_partition(self, raw: bytes) -> PartitionState:
        """Return the partition state of a value.

        Raises:
            StoreError: The value is no partition state.
        """
        if header_of(raw).kind != KIND_PARTITION:
            msg = "the partition's key holds another kind of value"
            raise StoreError(msg)
        return self._codec.decode_partition_state(raw[_HEADER.size :])
