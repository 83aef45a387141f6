"""Avro's integers: zigzag, then seven bits a byte, the lowest first; 64 bits at most."""

from __future__ import annotations

_BITS = 64
_CONTINUED = 0x80
_MASK = 0x7F
#: 64 bits in groups of seven.
_LONGEST = 10

#: Lengths, indexes and tries: made once.
_SMALL = range(-1, 1024)
#: Offsets, epochs and times of the moment: each is written several times in a turn.
_RECENT = 8192


class Varints(dict[int, bytes]):
    """``varints[number]`` is its bytes; numbers of late are remembered, 8,192 at most (1 MB).

    Raises:
        OverflowError: The number needs more than 64 bits.
        TypeError: Not an integer.
    """

    def __init__(self) -> None:
        super().__init__((number, encode(number)) for number in _SMALL)

    def __missing__(self, number: int) -> bytes:
        encoded = encode(number)
        if len(self) >= _RECENT:
            self.clear()
            self.update((number, encode(number)) for number in _SMALL)
        self[number] = encoded
        return encoded


def encode(number: int) -> bytes:
    """The bytes of a number; raises as :class:`Varints`."""
    if not isinstance(number, int):
        raise TypeError(f"expected an integer, got {type(number).__name__}")
    if not -(1 << (_BITS - 1)) <= number < 1 << (_BITS - 1):
        raise OverflowError(f"{number:.3g} needs more than 64 bits")
    rest = (number << 1) ^ (number >> (_BITS - 1))
    out = bytearray()
    while rest > _MASK:
        out.append(rest & _MASK | _CONTINUED)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def decode(raw: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position behind it.

    Raises:
        IndexError: The bytes end within it.
        ValueError: It is longer than 64 bits.
    """
    byte = raw[at]
    at += 1
    number = byte & _MASK
    shift = 7
    while byte & _CONTINUED:
        byte = raw[at]
        at += 1
        number |= (byte & _MASK) << shift
        shift += 7
        if shift > 7 * _LONGEST:
            raise ValueError("a number of more than 64 bits")
    if number >> _BITS:
        raise ValueError("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def decode_length(raw: bytes, at: int) -> tuple[int, int]:
    """As :func:`decode`, for what cannot be negative; raises ValueError where it is."""
    number, at = decode(raw, at)
    if number < 0:
        raise ValueError("a negative length")
    return number, at


def decode_count(raw: bytes, at: int) -> tuple[int, int]:
    """The number of items in a block of an array or a map; a negative count is followed by the block's size."""
    count, at = decode(raw, at)
    if count < 0:
        _, at = decode_length(raw, at)
        count = -count
    return count, at
