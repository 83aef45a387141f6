"""Server-sent events, as the WHATWG standard parses them, out of chunks cut anywhere."""

from __future__ import annotations

from schemas.errors import ProviderError

_BOM = b"\xef\xbb\xbf"


class SseParser:
    r"""Turns a byte stream into the ``data`` of its events; one parser a response.

    Lines end in LF, CRLF or CR, several ``data`` lines of an event are joined by LF, comments and other
    fields are skipped, an event the stream breaks off in is dropped. An event over ``limit_bytes``
    raises ``ProviderError``: an endpoint that never ends a line must not fill the memory.
    """

    __slots__ = ("_at_start", "_data", "_limit_bytes", "_size", "_skip_lf", "_tail")

    def __init__(self, *, limit_bytes: int = 1 << 20) -> None:
        self._limit_bytes = limit_bytes
        self._tail = b""
        self._data: list[bytes] = []
        self._size = 0
        self._skip_lf = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; give the data of the events they complete, in order."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[:1] == b"\n":  # the second half of a CRLF whose CR already ended the line
                chunk = chunk[1:]
        content = self._tail + chunk if self._tail else chunk
        if self._at_start:
            if len(content) < len(_BOM) and _BOM.startswith(content):
                self._tail = content
                return []
            content = content.removeprefix(_BOM)
            self._at_start = False
        lines = content.splitlines(keepends=True)
        self._tail = b""
        if lines:
            end = lines[-1][-1:]
            if end == b"\r":
                self._skip_lf = True
            elif end != b"\n":
                self._tail = lines.pop()
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r\n"))) is not None]
        if len(self._tail) + self._size > self._limit_bytes:
            message = f"the model endpoint sent an event of more than {self._limit_bytes} bytes"
            raise ProviderError(message)
        return events

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            if not self._data:
                return None
            event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            self._data = []
            self._size = 0
            return event
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
        elif line == b"data":
            value = b""
        else:
            return None
        self._data.append(value)
        self._size += len(value) + 1
        return None
