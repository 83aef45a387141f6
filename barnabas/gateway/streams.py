"""``GET /sessions/{id}/stream``: a session's events as Server-Sent Events, resumable on any instance.

What ids mean, and why a stream that was broken off goes on byte for byte: :mod:`~barnabas.gateway.session_reader`.
Each stream is one task that writes and one that waits for the client to leave. That, not sse-starlette, whose four
tasks a stream take more memory than all the rest of it (``benchmarks/README.md``).
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from barnabas.gateway.bodies import read_query
from barnabas.gateway.connection_guard import abort, forget_head
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.naming import principal_of, session_of
from barnabas.gateway.operation import Header, Reply, operation
from barnabas.gateway.problems import Refusal, problem_of
from barnabas.gateway.pulse import Pulse
from barnabas.gateway.session_reader import SessionReader, open_reader
from barnabas.gateway.session_route import SessionRoute
from barnabas.gateway.stream_event import StreamEvent, sse_frame
from schemas.errors import BarnabasError
from schemas.ids import turn_id_for
from topics.partitioner import session_key

#: Events that wait are written together up to about so many bytes.
_CHUNK_BYTES: Final = 16 * 1024

#: A browser's pause before it comes back: short, since the instance it left may have been told to end.
_RETRY_MS: Final = 1000

#: Tells a client how long a silence may be.
HEARTBEAT_HEADER: Final = "Barnabas-Heartbeat"

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx: pass it on as it comes
)


class StreamQuery(Struct, frozen=True, kw_only=True):
    """What a stream's query may say.

    Attributes:
        after: A cursor to go on from, or ``beginning``, the oldest that is kept; from now on where absent.
        turn: This turn alone; the stream ends with it.
        message_id: ... or the turn that answers this message.
    """

    after: str | None = None
    turn: str | None = None
    message_id: str | None = None


@operation(
    "Stream a session's events",
    tag="sessions",
    scope="sessions:read",
    query=StreamQuery,
    headers=(Header(name="Last-Event-ID", text="The id of the last event that was taken; it stands above `after`."),),
    replies={
        200: Reply(
            StreamEvent,
            "Events as they come, each with its cursor as its id.",
            media=("text/event-stream",),
            headers={HEARTBEAT_HEADER: "Longest silence while all is well, in seconds."},
        ),
        204: Reply(None, "The turn that is asked for had ended at the cursor: there is nothing to come back for."),
    },
    refusals=(400, 410, 422, 503),
)
async def stream(request: Request) -> Response:
    """Streams go on over crashes of workers, of Kafka and of this gateway.

    `Last-Event-ID` or `after` says where to go on: exactly what is missing follows, on any instance. Without either,
    what is written from now on. Events are named after their kind; `data` is a JSON object. Leaving cancels nothing.
    A cursor whose records are gone is answered with 410 and `earliest`, the cursor to begin at.
    """
    gateway, principal = gateway_of(request), principal_of(request)
    principal.require("sessions:read")
    session_id, query = session_of(request), read_query(request, StreamQuery)
    if query.turn is not None and query.message_id is not None:
        raise Refusal(422, "invalid_parameter", "name the turn or the message, not both", field="turn")
    turn_id = query.turn
    if query.message_id is not None:
        turn_id = turn_id_for(session_key(session_id, principal.tenant).decode(), query.message_id)
    reader = await open_reader(
        gateway.client,
        session_id,
        principal.tenant,
        after=request.headers.get("last-event-id") or query.after,
        turn_id=turn_id,
    )
    try:
        is_over = request.method == "HEAD" or await reader.has_ended()
    except BaseException:
        reader.close()  # else its partition would be read for nobody
        raise
    if is_over:
        reader.close()
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return EventStream(gateway, reader)


class EventStream(Response):
    """Writes a reader's events until its turn ends, the client leaves, or the gateway stops."""

    def __init__(self, gateway: Gateway, reader: SessionReader) -> None:
        # Not Starlette's: there is no body, and headers are as they are.
        self.status_code, self.background = 200, None
        self.raw_headers = [*_HEADERS, (HEARTBEAT_HEADER.lower().encode(), b"%g" % gateway.options.heartbeat_s)]
        self._gateway = gateway
        self._reader = reader
        self._is_ending = self._is_beat_due = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it; an ASGI response."""
        options, reader = self._gateway.options, self._reader
        pulse = Pulse(
            self._beat,
            lambda: abort(scope),
            heartbeat_s=options.heartbeat_s,
            send_timeout_s=options.send_timeout_s,
        )
        leaving = asyncio.get_running_loop().create_task(self._client_leaves(receive))
        try:
            with self._gateway.streams.opened("sse", self._end, is_resumable=True):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                forget_head(scope)  # not before: what is between here and the server answers to some of it
                await self._write(send, pulse)
        except OSError:
            pass  # the client left; some servers say so
        finally:
            pulse.stop()
            leaving.cancel()
            reader.close()

    async def _write(self, send: Send, pulse: Pulse) -> None:
        chunk = b"retry: %d\nid: %b\n\n" % (_RETRY_MS, str(self._reader.cursor).encode())
        while True:
            if chunk:
                pulse.writing()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                pulse.written()
            elif self._reader.is_over or self._is_ending:
                break
            else:
                await self._reader.ready()
            chunk = b"" if self._is_ending else self._next_chunk()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _next_chunk(self) -> bytes:
        """Return what there is to write: events, else a sign of life where one is due, else nothing."""
        frames: list[bytes] = []
        length = 0
        try:
            while length < _CHUNK_BYTES and (shown := self._reader.take()) is not None:
                frames.append(sse_frame(StreamEvent.of(shown.token), str(shown.cursor)))
                length += len(frames[-1])
        except BarnabasError as error:
            self._is_ending = True
            frames.append(b"event: problem\ndata: %b\n\n" % msgspec.json.encode(problem_of(error)))
        if not frames and self._is_beat_due:
            # Not only a comment: where the partition was read to, that is where the client may go on.
            frames.append(b": alive\nid: %b\n\n" % str(self._reader.cursor).encode())
        self._is_beat_due = False
        return b"".join(frames)

    def _beat(self) -> None:
        self._is_beat_due = True
        self._reader.nudge()

    def _end(self) -> None:
        self._is_ending = True
        self._reader.nudge()

    async def _client_leaves(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._end()


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [SessionRoute("/sessions/{id}/stream", stream, methods=["GET"])]
