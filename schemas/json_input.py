"""Commands and controls as people write them: one JSON object, of which unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct


class _Tag(Struct):
    """The only field that is read first."""

    type: str = ""


class JsonReader:
    """Reads one family of records by their ``type``.

    Args:
        types: The structs by ``type``.
        default: The type of an object that names none; None where it has to.
    """

    def __init__(self, types: Mapping[str, type[Struct]], default: str | None = None) -> None:
        self._decoders = {tag: msgspec.json.Decoder(cls) for tag, cls in types.items()}
        self._tag = msgspec.json.Decoder(_Tag)
        self._default = default

    def read(self, raw: bytes) -> Struct:
        """The record in ``raw`` (UTF-8, a byte order mark is skipped).

        Raises:
            ValueError: Not UTF-8, no JSON object, an unknown ``type``, a field of a wrong type or a number out of
                range; the text says which.
            RecursionError: Nested too deeply.
        """
        if raw.startswith(b"\xef\xbb\xbf"):
            raw = raw[3:]
        tag = self._tag.decode(raw).type or self._default or ""
        decoder = self._decoders.get(tag)
        if decoder is None:
            found = f"unknown type {tag[:64]!r}" if tag else "no type"
            raise ValueError(f"{found}; known types: {', '.join(self._decoders)}")
        record: Struct = decoder.decode(raw)
        return record
