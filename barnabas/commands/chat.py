"""``barnabas chat``: a conversation in the terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption
from barnabas.commands.printing import AnswerPrinter, print_token, silence_hint
from barnabas.commands.progress import progress

if TYPE_CHECKING:
    from barnabas.chat import Chat
    from barnabas.client import Part, Sent
    from schemas.session import Session

_HELP = """\
Enter sends; Alt-Enter begins a new line. Ctrl-C cancels the answer that is being written, or clears the line.
Ctrl-D leaves; an answer that is not finished goes on, and is shown when you come back.
/erase forgets the conversation, /help shows this, /quit leaves."""

#: Questions and answers shown when a conversation is taken up again.
SHOWN: Final = 3

#: What became of an answer, beside the outcomes of a turn: the user left, or its records are gone.
LEFT, GONE = "left", "gone"


def chat(
    session: Annotated[
        str, typer.Argument(help="The session's id; the same one goes on with its conversation.")
    ] = "me",
    agent: Annotated[str | None, typer.Option(help="Which agent answers; else the default one.")] = None,
    tenant: TenantOption = None,
    *,
    history: Annotated[int, typer.Option(min=0, help="Earlier exchanges to show first.")] = SHOWN,
    as_json: Json = False,
) -> None:
    """Talk to an agent: answers as they are written, Ctrl-C cancels one, what was unfinished is taken up again.

    Lines are read from standard input where that is no terminal, one message each; exit code 1 then where one of them
    has no answer.

    Example: barnabas chat ada
    """
    import asyncio  # 20 ms of the command line's start

    if not asyncio.run(_converse(session, agent, tenant, history=history, as_json=as_json)):
        raise typer.Exit(1)


class ChatPrinter(AnswerPrinter):
    """Says as well why there is no answer: the conversation goes on."""

    def __call__(self, part: Part) -> None:
        """Write what changed."""
        super().__call__(part)
        if part.outcome == "failed":
            context.say(f"failed: {part.token.cause}: {part.token.detail}")


async def _converse(session: str, agent: str | None, tenant: str | None, *, history: int, as_json: bool) -> bool:
    """Hold it; False where messages of a pipe have no answer."""
    from barnabas.chat import Chat
    from barnabas.client import Client
    from barnabas.commands.input_lines import texts

    settings = context.settings()
    folder = settings.data_dir / "chat"
    if history and not as_json and sys.stdin.isatty():
        with progress("reading") as bar:
            async with Client(settings, on_progress=bar) as client:
                found = await client.session(session, tenant=tenant)
        _show_history(found, history)
    async with Client(settings) as client:
        talk = Chat(client, session, folder, tenant=tenant, agent=agent)
        unfinished = talk.unfinished()
        if unfinished is not None:
            await _follow(talk, unfinished, as_json=as_json)
        is_answered = True
        async for text in texts(folder):
            if text in {"/quit", "/exit"}:
                break
            if text == "/help":
                context.say(_HELP)
                continue
            if text == "/erase":
                with silence_hint():
                    await client.answer(await talk.erase())
                context.say("forgotten")
                continue
            sent = await talk.send(text)
            outcome = await _follow(talk, sent, as_json=as_json)
            is_answered &= outcome == "completed"
            if outcome == LEFT:
                break
        return is_answered or sys.stdin.isatty()


def _show_history(session: Session, count: int) -> None:
    for entry in session.memory[-2 * count :]:
        sys.stdout.write(f"{'> ' if entry.role == 'user' else ''}{entry.text}\n")
    if not session.memory:
        context.say("A new conversation; /help says how.")


async def _follow(talk: Chat, sent: Sent, *, as_json: bool) -> str:
    """Show an answer; Ctrl-C cancels it, a second one leaves. Returns its outcome, ``left`` or ``gone``."""
    import asyncio

    from schemas.errors import CursorError

    write: Callable[[Part], None] = print_token if as_json else ChatPrinter()
    outcome = GONE

    def show(part: Part) -> None:
        nonlocal outcome
        heard()
        outcome = part.outcome or outcome
        write(part)

    loop = asyncio.get_running_loop()
    following = asyncio.ensure_future(talk.follow(sent, show))
    cancelling: list[asyncio.Future[None]] = []

    def interrupt() -> None:
        if cancelling:
            following.cancel()
        else:
            cancelling.append(asyncio.ensure_future(talk.cancel(sent)))

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        with silence_hint() as heard:
            await following
    except CursorError:
        context.say("the unfinished answer is gone; what was said is shown by: barnabas transcript")
    except asyncio.CancelledError:
        if not cancelling:
            raise
        talk.forget()
        return LEFT
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        await asyncio.gather(*cancelling, return_exceptions=True)
    return outcome
