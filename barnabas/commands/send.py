"""``barnabas send`` and ``barnabas cancel``: publish, and read the answer as it comes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption
from barnabas.commands.printing import AnswerPrinter, print_token, silence_hint

if TYPE_CHECKING:
    from barnabas.client import Part

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
    """Send a message and print the answer's tokens as they come; exit code 1 where it has none.

    Example: barnabas send ada "What is an event log?"
    """
    from barnabas.client import SyncClient
    from schemas.errors import MessageRejectedError, TurnCancelledError, TurnFailedError

    with SyncClient(context.settings()) as client:
        sent = client.send(session, text, message_id=message_id, agent=agent, tenant=tenant)
        if as_json:
            context.print_json({"event": "published", **dataclasses.asdict(sent), "cursor": str(sent.cursor)})
        elif no_wait:
            typer.echo(f"{sent.message_id} ({sent.topic}-{sent.partition}@{sent.offset})")
        if no_wait:
            return
        write: Callable[[Part], None] = print_token if as_json else AnswerPrinter()
        try:
            with silence_hint() as heard:

                def show(part: Part) -> None:
                    heard()
                    write(part)

                client.answer(sent, timeout=timeout, on_token=show)
        except TurnCancelledError:  # which is shown
            raise typer.Exit(1) from None
        except (TurnFailedError, MessageRejectedError) as error:
            context.say(f"failed: {error}")
            raise typer.Exit(1) from None


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
    from barnabas.client import SyncClient

    with SyncClient(context.settings()) as client:
        client.cancel(session, message_id=message_id, tenant=tenant, reason=reason)
    if as_json:
        context.print_json({"event": "published", "message_id": message_id})
    else:
        typer.echo("asked for")
