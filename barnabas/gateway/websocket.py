"""``WS /sessions/{id}/ws``: a session's events, and messages and cancels the other way.

The events are those of ``GET /sessions/{id}/stream``, each with its cursor in it. What is no event has a ``type``.

=============  =========================================================================================
client says    ``{"type": "message", "text": …, "message_id"?, "agent"?, "metadata"?, "deadline_ms"?}``
               ``{"type": "cancel", "message_id" | "turn_id": …, "reason"?}``
gateway says   ``open`` (first, with the cursor), ``accepted`` (the message is in Kafka), ``cancelling``,
               ``alive`` (a sign of life, with a cursor), ``problem`` (what the client said, or why it ends)
=============  =========================================================================================

A message or cancel that is wrong, or one too many (429: each counts as a request), is answered with a ``problem`` and
ends nothing. What ends it is closed with 4000 and the problem's status: 4400 (a cursor that is none), 4410 (its records
are gone), 4422, 4503 (cut off for slowness, or Kafka is away: come back with the last cursor). 1012: the gateway is
being restarted; 1003: a binary message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from barnabas.gateway.bodies import read_query, refusal_of
from barnabas.gateway.connection_guard import abort, forget_head
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.messages import (
    Accepted,
    Cancelling,
    CancelOrder,
    NewMessage,
    publish,
    publish_cancel,
)
from barnabas.gateway.naming import principal_of, session_of
from barnabas.gateway.problems import Problem, Refusal, problem_of
from barnabas.gateway.pulse import Pulse
from barnabas.gateway.security.guard import TAKE
from barnabas.gateway.security.principal import Principal
from barnabas.gateway.session_reader import SessionReader, open_reader
from barnabas.gateway.session_route import SessionSocketRoute
from barnabas.gateway.stream_event import StreamEvent, json_text
from schemas.errors import BarnabasError

logger = logging.getLogger(__name__)

_RESTART: Final = 1012
_UNSUPPORTED: Final = 1003

#: A close frame has room for so many bytes of reason.
_REASON_BYTES: Final = 123


class WebSocketQuery(Struct, frozen=True, kw_only=True):
    """What its query may say.

    Attributes:
        after: A cursor to go on from, or ``beginning``; from now on where absent.
    """

    after: str | None = None


class MessageOrder(NewMessage, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="message"):
    """The client says something, as ``POST /sessions/{id}/messages`` takes it."""


class CancellationOrder(
    CancelOrder, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cancel"
):
    """The client wants a turn to end, as ``POST /sessions/{id}/cancel`` takes it."""


class MessageAccepted(Accepted, frozen=True, kw_only=True, tag_field="type", tag="accepted"):
    """What that answers."""


class TurnCancelling(Cancelling, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="cancelling"):
    """What that answers."""


class Place(Struct, frozen=True, kw_only=True):
    """Where the stream is: at its beginning (``open``), or as a sign of life (``alive``).

    Attributes:
        type: Which of the two.
        cursor: What comes lies behind it.
    """

    type: Literal["open", "alive"]
    cursor: str


_orders: Final[msgspec.json.Decoder[MessageOrder | CancellationOrder]] = msgspec.json.Decoder(
    MessageOrder | CancellationOrder
)


async def conversation(websocket: WebSocket) -> None:
    """Serve one WebSocket to its end."""
    # Accepted first: a browser is not told why a handshake failed.
    await websocket.accept()
    gateway, principal = gateway_of(websocket), principal_of(websocket)
    try:
        principal.require("sessions:read")
        session_id, query = session_of(websocket), read_query(websocket, WebSocketQuery)
        reader = await open_reader(gateway.client, session_id, principal.tenant, after=query.after)
    except (BarnabasError, HTTPException) as error:
        with suppress(WebSocketDisconnect):
            await _close_with(websocket, problem_of(error))
        return
    await Conversation(gateway, websocket, reader, session_id, principal).run()


class Conversation:
    """One WebSocket: a task that writes, and one that listens."""

    def __init__(
        self, gateway: Gateway, websocket: WebSocket, reader: SessionReader, session_id: str, principal: Principal
    ) -> None:
        self._gateway = gateway
        self._websocket = websocket
        self._reader = reader
        self._session_id = session_id
        self._principal = principal
        self._count_order: Callable[[], None] = websocket.scope["state"][TAKE]
        self._is_ending = self._is_beat_due = False

    async def run(self) -> None:
        """Speak until the client leaves or the gateway stops."""
        forget_head(self._websocket.scope)
        options = self._gateway.options
        pulse = Pulse(
            self._beat,
            lambda: abort(self._websocket.scope),
            heartbeat_s=options.heartbeat_s,
            send_timeout_s=options.send_timeout_s,
        )
        listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            with self._gateway.streams.opened("websocket", self._end, is_resumable=True), suppress(WebSocketDisconnect):
                await self._write(pulse)
        finally:
            pulse.stop()
            listening.cancel()
            self._reader.close()

    async def _write(self, pulse: Pulse) -> None:
        text: str | None = _text_of("open", self._reader)
        while not self._is_ending:
            if text is not None:
                pulse.writing()
                await self._websocket.send_text(text)
                pulse.written()
            else:
                await self._reader.ready()
            if self._websocket.application_state is not WebSocketState.CONNECTED:
                return
            try:
                text = self._next_text()
            except BarnabasError as error:
                await _close_with(self._websocket, problem_of(error))
                return
            if text is None and self._reader.is_over:
                break
        if self._websocket.client_state is WebSocketState.CONNECTED:
            await self._websocket.close(_RESTART, "the gateway is being restarted; come back with the last cursor")

    def _next_text(self) -> str | None:
        shown = self._reader.take()
        if shown is not None:
            return json_text(StreamEvent.of(shown.token, str(shown.cursor)))
        is_due, self._is_beat_due = self._is_beat_due, False
        return _text_of("alive", self._reader) if is_due else None

    def _beat(self) -> None:
        self._is_beat_due = True
        self._reader.nudge()

    def _end(self) -> None:
        self._is_ending = True
        self._reader.nudge()

    async def _listen(self) -> None:
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                if text is None:
                    await self._websocket.close(_UNSUPPORTED, "messages are text")
                    break
                answer = await self._answer(text)
                if self._websocket.application_state is WebSocketState.CONNECTED:
                    await self._websocket.send_text(answer)
        except WebSocketDisconnect:
            pass
        finally:
            self._end()

    async def _answer(self, text: str) -> str:
        """Do what the client says, and return what is said to that."""
        try:
            self._count_order()
            self._principal.require("sessions:write")
            return json_text(await self._carry_out(_order_of(text)))
        except (BarnabasError, HTTPException) as error:
            return _problem_text(problem_of(error))
        except Exception as error:
            logger.exception("an order over a WebSocket failed")
            return _problem_text(problem_of(error))

    async def _carry_out(self, order: MessageOrder | CancellationOrder) -> MessageAccepted | TurnCancelling:
        to = (self._gateway, self._principal, self._session_id)
        if isinstance(order, CancellationOrder):
            await publish_cancel(*to, order)
            return TurnCancelling(session_id=self._session_id, turn_id=order.turn_id, message_id=order.message_id)
        sent = await publish(*to, order)
        return MessageAccepted(
            session_id=self._session_id, message_id=sent.message_id, turn_id=sent.turn_id, cursor=str(sent.cursor)
        )


def _order_of(text: str) -> MessageOrder | CancellationOrder:
    try:
        return _orders.decode(text)
    except msgspec.ValidationError as error:
        raise refusal_of(error, status=422) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, "malformed_json", f"the message is no JSON: {error}") from error


def _text_of(kind: Literal["open", "alive"], reader: SessionReader) -> str:
    return json_text(Place(type=kind, cursor=str(reader.cursor)))


def _problem_text(problem: Problem) -> str:
    # The kind that the problem's own ``type`` names stands in its ``code`` as well.
    return msgspec.json.encode({**msgspec.to_builtins(problem), "type": "problem"}).decode()


async def _close_with(websocket: WebSocket, problem: Problem) -> None:
    await websocket.send_text(_problem_text(problem))
    reason = problem.code if problem.earliest is None else f"{problem.code}: begin at {problem.earliest}"
    await websocket.close(4000 + problem.status, reason[:_REASON_BYTES])


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [SessionSocketRoute("/sessions/{id}/ws", conversation)]
