"""How a dead letter looks: a row, a line of JSON, or all of it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from barnabas.history.moment import clock
from schemas.errors import BarnabasError
from schemas.serdes import Codec

if TYPE_CHECKING:
    from barnabas.dead_letters import PlacedLetter
    from schemas.dead_letters import DeadLetter

_LONGEST: Final = 100

#: Of bytes that are no text, so many are shown.
_DUMPED: Final = 512
_DUMP_WIDTH: Final = 16


def summary(placed: PlacedLetter) -> dict[str, Any]:
    """Return what a list says of a dead letter; no more than some hundred bytes."""
    letter, resolved = placed.letter, placed.resolved
    return {
        "position": str(placed.position),
        "occurred_at": letter.occurred_at,
        "cause": letter.cause,
        "detail": letter.detail,
        "session_id": letter.session_id,
        "message_id": letter.message_id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "value_bytes": None if letter.value is None else len(letter.value),
        "retry_of": letter.retry_of,
        "resolved": resolved and {"how": resolved.how, "by": resolved.by, "occurred_at": resolved.occurred_at},
    }


def row(line: dict[str, Any]) -> str:
    """Return a summary as a row for people."""
    resolved = line["resolved"]
    notes = [
        f"retry of {line['retry_of']}" if line["retry_of"] else "",
        f"{resolved['how']} by {resolved['by']}" if resolved else "",
    ]
    note = "".join(f" [{text}]" for text in notes if text)
    detail = _one_line(line["detail"])
    return (
        f"{line['position']:>8}  {clock(line['occurred_at'])}  {line['cause']:<20} {line['session_id'] or '-':<16} "
        f"{detail}{note}"
    )


def print_whole(placed: PlacedLetter, codec: Codec) -> None:
    """Print a dead letter with all that is kept of its record, decoded as far as that goes."""
    letter, resolved = placed.letter, placed.resolved
    fields: list[tuple[str, Any]] = [
        ("position", placed.position),
        ("put aside", clock(letter.occurred_at)),
        ("cause", letter.cause),
        ("detail", _one_line(letter.detail, longest=1000)),
        ("lay at", f"{letter.topic}-{letter.partition}@{letter.offset}"),
        ("session", letter.session_id),
        ("message id", letter.message_id),
        ("retry of", letter.retry_of),
        ("left out", f"{letter.bytes_left_out} bytes" if letter.bytes_left_out else None),
        ("resolved", resolved and f"{resolved.how} by {resolved.by} at {clock(resolved.occurred_at)}"),
        ("as", resolved and resolved.published_to),
        ("key", None if letter.key is None else _text(letter.key)),
        *(("header", f"{_text(h.raw_name or h.name.encode())}: {_value(h.value)}") for h in letter.headers),
    ]
    for label, content in fields:
        if content is not None:
            sys.stdout.write(f"{label + ':':<12}{content}\n")
    sys.stdout.write(f"value, {_decoded(letter, codec)}\n")
    sys.stdout.flush()


def editable(letter: DeadLetter, codec: Codec) -> str:
    """Return the value as text to correct: the message as JSON, or the bytes as far as they are text."""
    value = letter.value or b""
    try:
        command = codec.decode_command(value, topic=letter.topic, partition=letter.partition, offset=letter.offset)
    except BarnabasError:
        return value.decode(errors="replace")
    return json.dumps(json.loads(codec.to_json(command)), indent=2, ensure_ascii=False) + "\n"


def _decoded(letter: DeadLetter, codec: Codec) -> str:
    """Return the value: as what it decodes to, else as text, else as a dump."""
    value = letter.value
    if value is None:
        return "none"
    size = f"{len(value)} bytes"
    for decode in (codec.decode_command, codec.decode_control):
        try:
            record = decode(value, topic=letter.topic, partition=letter.partition, offset=letter.offset)
        except BarnabasError:
            continue
        return f"{size}:\n{json.dumps(json.loads(codec.to_json(record)), indent=2, ensure_ascii=False)}"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"{size}, neither a message nor text:\n{_dump(value)}"
    return f"{size} of text:\n{_printable(text)}"


def _dump(value: bytes) -> str:
    rows = []
    for at in range(0, min(len(value), _DUMPED), _DUMP_WIDTH):
        part = value[at : at + _DUMP_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)  # noqa: PLR2004 -- ASCII
        rows.append(f"{at:08x}  {part.hex(' '):<48} {text}")
    if len(value) > _DUMPED:
        rows.append(f"... and {len(value) - _DUMPED} bytes; --raw writes all")
    return "\n".join(rows)


def _value(value: bytes | None) -> str:
    return "(none)" if value is None else _text(value)


def _text(raw: bytes) -> str:
    """Return bytes as text, what is none of it escaped: a terminal must not obey a stranger's bytes."""
    return _one_line(raw.decode("utf-8", "backslashreplace"), longest=1000)


def _one_line(text: str, longest: int = _LONGEST) -> str:
    line = _printable(text).replace("\n", "\\n")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
