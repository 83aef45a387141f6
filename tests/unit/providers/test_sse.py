"""The event-stream parser gives the same events however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ProviderError
from streams.providers.sse import SseParser

STREAM = (
    "\ufeff: comment\n\ndata: one\n\nevent: x\r\ndata: two é\r\nid: 3\r\n\r\n"
    'data:three\rdata: and more\r\rretry: 10\n\ndata\n\ndata:  spaced\n\ndata: {"a": 1}\r\n\r\ndata: [DONE]\n\n'
    "data: cut"
).encode()
EVENTS = [b"one", "two é".encode(), b"three\nand more", b"", b" spaced", b'{"a": 1}', b"[DONE]"]


def _parse(chunks: list[bytes]) -> list[bytes]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_feed_whole_stream_gives_every_complete_event() -> None:
    """Comments, other fields, all line ends, multi-line data and a cut last event."""
    assert _parse([STREAM]) == EVENTS


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_feed_cut_at_any_byte_gives_the_same_events(at: int) -> None:
    """A CRLF, a character or a field name may be split between two reads."""
    assert _parse([STREAM[:at], STREAM[at:]]) == EVENTS


def test_feed_byte_by_byte_gives_the_same_events() -> None:
    """The slowest network."""
    assert _parse([STREAM[at : at + 1] for at in range(len(STREAM))]) == EVENTS


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_feed_any_events_any_line_end_any_cuts(texts: list[str], end: str, data: st.DataObject) -> None:
    """Whatever was sent is what arrives."""
    content = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    assert _parse(chunks) == [text.encode() for text in texts]


@given(st.lists(st.binary()))
def test_feed_any_bytes_never_fails(chunks: list[bytes]) -> None:
    """Noise gives events or nothing."""
    _parse(chunks)


def test_feed_event_is_given_when_its_blank_line_arrives_not_later() -> None:
    """A lone CR ends a line at once: the next token is not waited for."""
    parser = SseParser()
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 60, b"data: x\n" * 10, b"data:\n" * 60])
def test_feed_endless_event_is_refused(chunk: bytes) -> None:
    """Neither an endless line nor endless lines fill the memory."""
    parser = SseParser(limit_bytes=100)
    with pytest.raises(ProviderError, match="100 bytes"):
        [parser.feed(chunk) for _ in range(10)]
