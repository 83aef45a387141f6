"""``barnabas send`` and ``barnabas cancel``: publish, and read the answer as it comes."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption

if TYPE_CHECKING:
    from barnabas.publishing import Published
    from barnabas.settings import Settings
    from barnabas.stream_fold import Change
    from schemas.commands import Command
    from schemas.controls import Control
    from schemas.serdes import Codec

MessageIdOption = Annotated[
    str | None, typer.Option(help="Idempotency key: a message sent twice is answered once; a new one unless given.")
]


def send(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    text: Annotated[str, typer.Argument(help="What to say.")],
    agent: Annotated[str | None, typer.Option(help="Which agent answers; else the default one.")] = None,
    message_id: MessageIdOption = None,
    tenant: TenantOption = None,
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 180.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the answer.")] = False,
    as_json: Json = False,
) -> None:
    """Send a message and print the answer's tokens as they come; exit code 1 where the turn fails.

    Example: barnabas send ada "What is an event log?"
    """
    from barnabas.commands.reading import codec_for, open_reader
    from barnabas.reader import Start
    from barnabas.turn_reader import read_turn
    from schemas.commands import UserMessage
    from schemas.ids import turn_id_for
    from topics.partitioner import session_key

    settings = context.settings()
    codec = codec_for(settings)
    key = session_key(session, tenant)
    known = message_id or uuid.uuid4().hex
    # Before the message is there: no token can be missed.
    reader = (
        None
        if no_wait
        else open_reader(settings, settings.names.tokens, start=Start.END, session=session, tenant=tenant)
    )
    message = UserMessage(text=text, message_id=known, agent=agent, tenant=tenant)
    place = _publish(settings, codec, settings.names.messages, key, message)
    turn_id = turn_id_for(key.decode(), known)
    if as_json:
        ids = {"session_id": key.decode(), "message_id": known, "turn_id": turn_id}
        context.print_json({"event": "published", **ids, **place._asdict()})
    elif reader is None:
        typer.echo(f"{known} ({place.topic}-{place.partition}@{place.offset})")
    if reader is not None:
        with reader:
            show = _print_json if as_json else AnswerPrinter()
            outcome = read_turn(reader, codec, key=key, turn_id=turn_id, timeout_s=timeout, show=show)
        if outcome.kind == "failed":
            context.say(f"failed: {outcome.cause}: {outcome.detail}")
            raise typer.Exit(1)


def cancel(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    message_id: Annotated[str, typer.Argument(help="Of the message whose turn is to end.")],
    reason: Annotated[str | None, typer.Option(help="Kept in the log.")] = None,
    tenant: TenantOption = None,
    *,
    as_json: Json = False,
) -> None:
    """Cancel a message's turn, running or not begun; nothing happens to one that is over.

    Example: barnabas cancel ada 0f3c9a
    """
    from barnabas.commands.reading import codec_for
    from schemas.controls import CancelTurn
    from topics.partitioner import session_key

    settings = context.settings()
    order = CancelTurn(message_id=message_id, reason=reason)
    place = _publish(settings, codec_for(settings), settings.names.control, session_key(session, tenant), order)
    if as_json:
        context.print_json({"event": "published", "message_id": message_id, **place._asdict()})
    else:
        typer.echo(f"asked for ({place.topic}-{place.partition}@{place.offset})")


class AnswerPrinter:
    """Writes an answer's text as it comes."""

    def __init__(self) -> None:
        self._is_written = False

    def __call__(self, change: Change) -> None:
        """Write what changed."""
        from barnabas.stream_fold import ChangeKind

        if change.kind is ChangeKind.TEXT:
            self._write(change.text)
        elif change.kind is ChangeKind.RESET and self._is_written:
            self._write("\n[a worker was lost; the answer begins again]\n")
            self._is_written = False
        elif change.kind is ChangeKind.ENDED:
            if change.is_repaired and self._is_written:
                self._write("\n[some tokens were missed; the whole answer]\n")
            if change.is_repaired:
                self._write(change.text)
            if change.token.kind == "cancelled":
                self._write(" [cancelled]")
            if self._is_written:
                self._write("\n")

    def _write(self, text: str) -> None:
        self._is_written = True
        sys.stdout.write(text)
        sys.stdout.flush()


def _print_json(change: Change) -> None:
    from barnabas.stream_fold import ChangeKind
    from schemas.serdes import Codec

    if change.kind is not ChangeKind.RESET:  # the record that follows says so itself
        sys.stdout.write(Codec.to_json(change.token).decode() + "\n")
        sys.stdout.flush()


def _publish(settings: Settings, codec: Codec, topic: str, key: bytes, record: Command | Control) -> Published:
    from barnabas.publishing import MessagePublisher

    publisher = MessagePublisher(
        context.bootstrap_servers(settings), codec, partitions=settings.partitions, client_config=settings.kafka
    )
    return publisher.publish(topic, key, record)
